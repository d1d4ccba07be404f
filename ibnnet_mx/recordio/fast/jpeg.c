/* JPEG to planes: only the part that is asked for is decoded, in full resolution, chroma as it is stored.

   A JPEG with restart markers falls into segments that decode alone. Those that a box touches, behind the JPEG's own
   header with another size in it, are a small valid JPEG. Without markers all rows down to the box must be parsed,
   but those above it are not transformed. */
#include "fast.h"

#include <stdlib.h>
#include <string.h>

#define MARGIN 2 /* pixels around a box, for the chroma between samples */

int grow(Buffer *buffer, size_t bytes) {
  if (buffer->room >= bytes) return 1;
  free(buffer->at);
  buffer->room = (bytes + 4095) & ~(size_t)4095;
  buffer->at = aligned_alloc(64, buffer->room);
  if (!buffer->at) buffer->room = 0;
  return buffer->at != NULL;
}

int fail(Decoder *decoder, const char *why) {
  snprintf(decoder->trap.why, WHY, "%s", why);
  return 0;
}

static int word(const uint8_t *at) { return at[0] << 8 | at[1]; }

static int frame_of(const uint8_t *data, size_t at, int length, int marker, Head *head) {
  if (length < 8) return 0;
  int parts = data[at + 9];
  if (length != 8 + 3 * parts || parts < 1) return 0;
  head->height = word(data + at + 5), head->width = word(data + at + 7), head->parts = parts, head->size_at = at + 5;
  head->hs = data[at + 11] >> 4, head->vs = data[at + 11] & 15;
  int usual = parts == 1 ? data[at + 11] == 0x11 : parts == 3 && data[at + 14] == 0x11 && data[at + 17] == 0x11;
  if (head->hs == 2 && head->width < 5) usual = 0; /* libjpeg does not interpolate so little */
  int huffman = marker == 0xc0 || marker == 0xc1 || marker == 0xc2;
  head->regular = usual && huffman && data[at + 4] == 8 && (head->hs == 1 || head->hs == 2) &&
                  (head->vs == 1 || head->vs == 2);
  return head->width > 0 && head->height > 0;
}

/* 1: the header makes sense, up to the first scan; 0: it does not; -1: it goes on behind `length`. */
int walk_head(const uint8_t *data, size_t length, Head *head) {
  memset(head, 0, sizeof *head);
  int interval = 0, sequential = 0;
  size_t at = 2;
  if (length < 4 || data[0] != 0xff || data[1] != 0xd8) return 0;
  while (at + 4 <= length && data[at] == 0xff) {
    int marker = data[at + 1], bytes = word(data + at + 2);
    if (marker == 0xff) { /* a fill byte */
      at++;
      continue;
    }
    if (marker == 0xd9 || bytes < 2) return 0;
    if (at + 2 + bytes > length) return -1;
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
      if (head->width || !frame_of(data, at, bytes, marker, head)) return 0;
      sequential = marker == 0xc0 || marker == 0xc1;
    } else if (marker == 0xdd && bytes == 4) {
      interval = word(data + at + 4);
    } else if (marker == 0xda) {
      if (!head->width || bytes < 6) return 0;
      head->scan_at = at + 2 + bytes, head->interval = interval;
      if (head->regular && sequential && interval && data[at + 4] == head->parts) {
        int columns = (head->width + 8 * head->hs - 1) / (8 * head->hs);
        head->segments = columns % interval ? 0 : columns / interval;
      }
      return 1;
    }
    at += 2 + bytes;
  }
  return at + 4 > length ? -1 : 0;
}

/* The same of a whole JPEG; -1 also where its end marker is missing. */
int read_head(const uint8_t *data, size_t length, Head *head) {
  int found = walk_head(data, length, head);
  if (found <= 0) return found;
  for (size_t end = length - 1; end > head->scan_at; end--) /* from behind: whole files answer at once */
    if (data[end] == 0xd9 && data[end - 1] == 0xff) return 1;
  return -1;
}

/* NULL where there is no memory. */
EXPORT Decoder *fast_new(void) {
  Decoder *decoder = calloc(1, sizeof *decoder);
  if (decoder) set_trap(&decoder->trap, (j_common_ptr)&decoder->jpeg);
  return decoder;
}

static Buffer *buffers(Decoder *decoder, int i) {
  Buffer *all[] = {&decoder->record,  &decoder->marks, &decoder->segments, &decoder->planes,
                   &decoder->between, &decoder->seen,  &decoder->axes,     &decoder->rows};
  return i < (int)(sizeof all / sizeof *all) ? all[i] : NULL;
}

/* Gives back what only an exceptional picture needed. */
void trim(Decoder *decoder, size_t most) {
  for (int i = 0; buffers(decoder, i); i++)
    if (buffers(decoder, i)->room > most) {
      free(buffers(decoder, i)->at);
      memset(buffers(decoder, i), 0, sizeof(Buffer));
    }
}

EXPORT void fast_free(Decoder *decoder) {
  if (!decoder) return;
  trim(decoder, 0);
  free(decoder);
}

/* A JPEG of the segments in columns first..last-1 of the MCU rows top..bottom-1; its bytes, 0: markers are wrong. */
static size_t cut(Decoder *decoder, const Source *source, const Head *head, const int columns[2], const int rows[2],
                  int width, int height) {
  int last = (rows[1] - 1) * head->segments + columns[1], kept = 0;
  int all = head->segments * ((head->height + 8 * head->vs - 1) / (8 * head->vs));
  if (!grow(&decoder->segments, source->length + SLACK) || !grow(&decoder->marks, last * sizeof(uint32_t))) return 0;
  const uint8_t *data = source->data + head->scan_at;
  uint8_t *out = decoder->segments.at;
  uint32_t *ends = (uint32_t *)decoder->marks.at; /* of the segments, where their markers begin */
  size_t used = head->scan_at;
  if (decoder->kernels->markers(data, source->length - used, last, ends) < last) return 0;
  for (int n = 0; n < last; n++)
    if (data[ends[n] + 1] != (n == all - 1 ? 0xd9 : 0xd0 + (n & 7))) return 0;
  memcpy(out, source->data, used);
  out[head->size_at] = height >> 8, out[head->size_at + 1] = height;
  out[head->size_at + 2] = width >> 8, out[head->size_at + 3] = width;
  for (int row = rows[0]; row < rows[1]; row++) {
    int first = row * head->segments + columns[0], behind = row * head->segments + columns[1];
    size_t start = first ? ends[first - 1] + 2 : 0, bytes = ends[behind - 1] + 2 - start;
    memcpy(out + used, data + start, bytes);
    for (int n = first; n < behind; n++) out[used + ends[n] + 1 - start] = 0xd0 + (kept++ & 7);
    used += bytes;
  }
  out[used - 1] = 0xd9;
  return used;
}

static int lay_out(Decoder *decoder, Planes *planes, const int widths[3], const int heights[3]) {
  size_t start[3], bytes = 0;
  for (int k = 0; k < planes->count; k++) {
    planes->stride[k] = (widths[k] + 15) & ~15;
    start[k] = bytes;
    bytes += (size_t)planes->stride[k] * (heights[k] + 1) + SLACK;
  }
  if (!grow(&decoder->planes, bytes)) return fail(decoder, "needs more memory than there is");
  for (int k = 0; k < planes->count; k++) planes->at[k] = decoder->planes.at + start[k];
  return 1;
}

/* Rows of all components as they are stored. Above `from` only entropy decoding is done, below `to` nothing. */
static void read_planes(Decoder *decoder, const Planes *planes, int from, int to) {
  struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
  JSAMPROW rows[3][16];
  JSAMPARRAY arrays[3] = {rows[0], rows[1], rows[2]};
  int step = 8 * planes->vs;
  jpeg->raw_data_out = TRUE, jpeg->do_fancy_upsampling = FALSE, jpeg->out_color_space = jpeg->jpeg_color_space;
  jpeg_start_decompress(jpeg);
  for (int y = 0; y < to; y += step) {
    for (int k = 0; k < planes->count; k++) {
      int high = k ? 8 : step;
      jpeg->comp_info[k].component_needed = y + step > from;
      for (int i = 0; i < high; i++)
        rows[k][i] = planes->at[k] + (size_t)(y / step * high + i) * planes->stride[k];
    }
    jpeg_read_raw_data(jpeg, arrays, step);
  }
}

/* What libjpeg makes of rarer kinds, as RGB planes; CMYK as OpenCV converts it. */
static void read_pixels(Decoder *decoder, const Planes *planes, uint8_t *line) {
  struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
  int cmyk = jpeg->num_components == 4;
  jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(jpeg);
  for (int y = 0; y < planes->height; y++) {
    jpeg_read_scanlines(jpeg, &line, 1);
    for (int k = 0; k < 3; k++) {
      uint8_t *out = planes->at[k] + (size_t)y * planes->stride[k];
      if (cmyk)
        for (int x = 0; x < planes->width; x++) out[x] = line[4 * x + 3] - ((255 - line[4 * x + k]) * line[4 * x + 3] >> 8);
      else
        for (int x = 0; x < planes->width; x++) out[x] = line[3 * x + k];
    }
  }
}

static int read_regular(Decoder *decoder, Planes *planes, const Head *head, int from, int to) {
  int high = 8 * head->vs, wide = 8 * head->hs;
  int width = (planes->width + wide - 1) / wide * wide, height = (planes->height + high - 1) / high * high;
  int widths[3] = {width, width / head->hs, width / head->hs}, heights[3] = {height, height / head->vs, height / head->vs};
  planes->count = head->parts, planes->ycc = 1, planes->hs = head->hs, planes->vs = head->vs;
  if (!lay_out(decoder, planes, widths, heights)) return 0;
  read_planes(decoder, planes, from, to);
  return 1;
}

static int read_other(Decoder *decoder, Planes *planes) {
  int widths[3] = {planes->width, planes->width, planes->width}, heights[3] = {planes->height, planes->height, planes->height};
  planes->count = 3, planes->ycc = 0, planes->hs = planes->vs = 1;
  if (!lay_out(decoder, planes, widths, heights)) return 0;
  if (!grow(&decoder->rows, (size_t)planes->width * 4 + SLACK)) return fail(decoder, "needs more memory than there is");
  read_pixels(decoder, planes, decoder->rows.at);
  return 1;
}

/* Whether libjpeg found the header that read_head() did; it passes over markers without a length, which we do not, and
   so may see another picture, for which there is no room. */
static int same_header(const struct jpeg_decompress_struct *jpeg, const Head *head, const Planes *planes) {
  int same = (int)jpeg->image_width == planes->width && (int)jpeg->image_height == planes->height &&
             jpeg->num_components == head->parts;
  for (int k = 0; same && head->regular && k < head->parts; k++)
    same = jpeg->comp_info[k].h_samp_factor == (k ? 1 : head->hs) && jpeg->comp_info[k].v_samp_factor == (k ? 1 : head->vs);
  return same;
}

static int least(int a, int b) { return a < b ? a : b; }
static int most(int a, int b) { return a > b ? a : b; }

static int decode(Decoder *decoder, const uint8_t *data, size_t length, const Head *head, int from, int to,
                  Planes *planes) {
  struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
  if (setjmp(decoder->trap.escape)) {
    jpeg_destroy_decompress(jpeg);
    return 0;
  }
  jpeg_create_decompress(jpeg); /* anew, as it keeps tables, and a picture that has none would be seen through others' */
  watch_scans(&decoder->trap, jpeg);
  jpeg_mem_src(jpeg, data, length);
  jpeg_read_header(jpeg, TRUE);
  jpeg->dct_method = JDCT_ISLOW;
  int as_stored = head->regular && (jpeg->jpeg_color_space == JCS_YCbCr || jpeg->jpeg_color_space == JCS_GRAYSCALE);
  int done = !same_header(jpeg, head, planes) ? fail(decoder, "is damaged (its headers contradict each other)")
             : as_stored ? read_regular(decoder, planes, head, from, to) : read_other(decoder, planes);
  jpeg_destroy_decompress(jpeg);
  return done;
}

/* The segments that `box` touches, as a JPEG of planes->width x height; its bytes, 0: it cannot be cut. */
static size_t cut_out(Decoder *decoder, const Source *source, const Head *head, Box box, Planes *planes) {
  if (!head->segments) return 0;
  int wide = 8 * head->hs * head->interval, high = 8 * head->vs;
  int columns[2] = {most(box.left - MARGIN, 0) / wide, least((box.right + MARGIN - 1) / wide + 1, head->segments)};
  int rows[2] = {most(box.top - MARGIN, 0) / high, (least(box.bottom + MARGIN, head->height) - 1) / high + 1};
  int width = least(columns[1] * wide, head->width) - columns[0] * wide;
  int height = least(rows[1] * high, head->height) - rows[0] * high;
  size_t used = cut(decoder, source, head, columns, rows, width, height);
  if (used)
    planes->x = columns[0] * wide, planes->y = rows[0] * high, planes->width = width, planes->height = height;
  return used;
}

/* The planes of at least `box`, which is within the picture. 0 with decoder->trap.why: damaged. */
int decode_part(Decoder *decoder, const Source *source, const Head *head, Box box, Planes *planes) {
  memset(planes, 0, sizeof *planes);
  planes->width = planes->full_width = head->width, planes->height = planes->full_height = head->height;
  size_t used = cut_out(decoder, source, head, box, planes);
  if (used) return decode(decoder, decoder->segments.at, used, head, 0, planes->height, planes);
  int from = most(box.top - MARGIN, 0), to = least(box.bottom + MARGIN, head->height);
  return decode(decoder, source->data, source->length, head, from, to, planes);
}
