/* From a JPEG to planes: only the part that is asked for is decoded, in full resolution, chroma as it is stored.

   A JPEG with restart markers is cut by segments.c first. Without markers all rows of MCUs down to the box are parsed,
   because the entropy coder has no other way in; those above the box are not transformed:

       rows above the box      entropy decoding only (component_needed is false)
       rows of the box         entropy decoding and inverse DCT
       rows below the box      not read */
#include "fast.h"

#include <string.h>

/* The rows of a JPEG that are wanted: from..to-1. */
typedef struct {
  int from, to;
} Rows;

/* Allot the planes, plane k with widths[k] x heights[k] samples, a row and SLACK behind them. */
static bool lay_out(Decoder* decoder, Planes* planes, const int widths[3], const int heights[3]) {
  size_t start[3], bytes = 0;
  for (int k = 0; k < planes->count; k++) {
    planes->stride[k] = (widths[k] + 15) & ~15;
    start[k] = bytes;
    bytes += (size_t)planes->stride[k] * (heights[k] + 1) + SLACK;
  }
  if (!reserve(&decoder->planes, bytes)) return fail(decoder, NO_MEMORY);
  for (int k = 0; k < planes->count; k++) planes->at[k] = decoder->planes.at + start[k];
  return true;
}

/* Read rows of all components as they are stored. */
static void read_planes(Decoder* decoder, const Planes* planes, Rows wanted) {
  struct jpeg_decompress_struct* jpeg = &decoder->jpeg;
  JSAMPROW rows[3][16];
  JSAMPARRAY arrays[3] = {rows[0], rows[1], rows[2]};
  int step = 8 * planes->sub_y;
  jpeg->raw_data_out = TRUE;
  jpeg->do_fancy_upsampling = FALSE;
  jpeg->out_color_space = jpeg->jpeg_color_space;
  jpeg_start_decompress(jpeg);
  for (int y = 0; y < wanted.to; y += step) {
    for (int k = 0; k < planes->count; k++) {
      int high = k ? 8 : step;
      jpeg->comp_info[k].component_needed = y + step > wanted.from;
      for (int i = 0; i < high; i++) rows[k][i] = planes->at[k] + (size_t)(y / step * high + i) * planes->stride[k];
    }
    jpeg_read_raw_data(jpeg, arrays, step);
  }
}

/* Read a picture of a rarer kind as RGB planes, through `line`. CMYK is converted as OpenCV does it. */
static void read_pixels(Decoder* decoder, const Planes* planes, uint8_t* line) {
  struct jpeg_decompress_struct* jpeg = &decoder->jpeg;
  bool cmyk = jpeg->num_components == 4;
  jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(jpeg);
  for (int y = 0; y < planes->height; y++) {
    jpeg_read_scanlines(jpeg, &line, 1);
    for (int k = 0; k < 3; k++) {
      uint8_t* out = planes->at[k] + (size_t)y * planes->stride[k];
      if (cmyk) {
        for (int x = 0; x < planes->width; x++) {
          int ink = line[4 * x + k], black = line[4 * x + 3];
          out[x] = black - ((255 - ink) * black >> 8);
        }
      } else {
        for (int x = 0; x < planes->width; x++) out[x] = line[3 * x + k];
      }
    }
  }
}

/* Decode a regular JPEG: grey or YCbCr, as it is stored. */
static bool read_regular(Decoder* decoder, Planes* planes, const Header* header, Rows wanted) {
  int mcu_width = 8 * header->sub_x, mcu_height = 8 * header->sub_y;
  int width = divide_up(planes->width, mcu_width) * mcu_width;
  int height = divide_up(planes->height, mcu_height) * mcu_height;
  int widths[3] = {width, width / header->sub_x, width / header->sub_x};
  int heights[3] = {height, height / header->sub_y, height / header->sub_y};
  planes->count = header->components;
  planes->ycc = true;
  planes->sub_x = header->sub_x;
  planes->sub_y = header->sub_y;
  if (!lay_out(decoder, planes, widths, heights)) return false;
  read_planes(decoder, planes, wanted);
  return true;
}

/* Decode any other JPEG: all of it, as RGB. */
static bool read_other(Decoder* decoder, Planes* planes) {
  int widths[3] = {planes->width, planes->width, planes->width};
  int heights[3] = {planes->height, planes->height, planes->height};
  planes->count = 3;
  planes->ycc = false;
  planes->sub_x = planes->sub_y = 1;
  if (!lay_out(decoder, planes, widths, heights)) return false;
  if (!reserve(&decoder->rows, (size_t)planes->width * 4 + SLACK)) return fail(decoder, NO_MEMORY);
  read_pixels(decoder, planes, decoder->rows.at);
  return true;
}

/* Return true if libjpeg sees the header that read_header() saw. libjpeg passes over markers without a length, which
   read_header() does not, so that it may see another picture, for which there is no room. */
static bool same_header(const struct jpeg_decompress_struct* jpeg, const Header* header, const Planes* planes) {
  if ((int)jpeg->image_width != planes->width || (int)jpeg->image_height != planes->height) return false;
  if (jpeg->num_components != header->components) return false;
  for (int k = 0; header->regular && k < header->components; k++) {
    if (jpeg->comp_info[k].h_samp_factor != (k ? 1 : header->sub_x)) return false;
    if (jpeg->comp_info[k].v_samp_factor != (k ? 1 : header->sub_y)) return false;
  }
  return true;
}

/* Decode a JPEG of planes->width x planes->height pixels. libjpeg is created anew for each JPEG: it remembers tables,
   and a JPEG without tables of its own would be decoded by those of another. */
static bool decode(Decoder* decoder, const uint8_t* data, size_t length, const Header* header, Rows wanted,
                   Planes* planes) {
  struct jpeg_decompress_struct* jpeg = &decoder->jpeg;
  if (setjmp(decoder->trap.escape)) {
    jpeg_destroy_decompress(jpeg);
    return false;
  }
  jpeg_create_decompress(jpeg);
  watch_scans(&decoder->trap, jpeg);
  jpeg_mem_src(jpeg, data, length);
  jpeg_read_header(jpeg, TRUE);
  jpeg->dct_method = JDCT_ISLOW;
  bool stored = jpeg->jpeg_color_space == JCS_YCbCr || jpeg->jpeg_color_space == JCS_GRAYSCALE, done;
  if (!same_header(jpeg, header, planes))
    done = fail(decoder, "is damaged (its headers contradict each other)");
  else if (header->regular && stored && header->orientation == 1)
    done = read_regular(decoder, planes, header, wanted);
  else
    done = read_other(decoder, planes);
  jpeg_destroy_decompress(jpeg);
  return done;
}

/* Decode at least `box`, which lies within the picture. Return false if the JPEG is damaged; decoder->trap.why tells
   how. */
bool decode_part(Decoder* decoder, const Payload* payload, const Header* header, Box box, Planes* planes) {
  *planes = (Planes){
      .width = header->width,
      .height = header->height,
      .full_width = header->width,
      .full_height = header->height,
  };
  if (header->orientation != 1) { /* a rare kind of picture, which is decoded as a whole and then turned */
    Rows all = {.from = 0, .to = header->height};
    return decode(decoder, payload->data, payload->length, header, all, planes) &&
           turn_planes(decoder, header->orientation, planes);
  }
  size_t used = cut_segments(decoder, payload, header, box, planes);
  if (used) {
    Rows all = {.from = 0, .to = planes->height};
    return decode(decoder, decoder->segments.at, used, header, all, planes);
  }
  Rows wanted = {.from = most(box.top - MARGIN, 0), .to = least(box.bottom + MARGIN, header->height)};
  return decode(decoder, payload->data, payload->length, header, wanted, planes);
}
