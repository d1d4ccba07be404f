/* Parts of a JPEG with restart markers, as JPEGs of their own.

   The entropy coder begins anew behind each restart marker, so that a segment decodes alone. The segments that a box
   touches are copied behind the JPEG's own header, in which another size is written. Here a row of MCUs has 4 segments
   of 3 MCUs, and the box touches 2 segments in each of 2 rows:

                   segment 0     segment 1     segment 2     segment 3

       row 0      [  .   .  ]   [  .   .  ]   [  .   .  ]   [  .   .  ]     passed over
       row 1      [  .   .  ]   [  . ##.##]   [##.#  .  ]   [  .   .  ]     segments 1 and 2 are copied
       row 2      [  .   .  ]   [  . ##.##]   [##.#  .  ]   [  .   .  ]     segments 1 and 2 are copied
       row 3      [  .   .  ]   [  .   .  ]   [  .   .  ]   [  .   .  ]     not looked at

       [  .   .  ]: a segment of 3 MCUs       ##: the box and its margin

   The copy is a JPEG of 6 x 2 MCUs. Its restart markers are numbered anew, its last marker is the end of the JPEG. */
#include "fast.h"

#include <string.h>

/* A rectangle of segments, and the size of the JPEG that they make. */
typedef struct {
  int left, right;   /* columns of segments; `right` is behind the last */
  int top, bottom;   /* rows of MCUs; `bottom` is behind the last */
  int width, height; /* pixels */
} Cut;

/* Return the segments that `box` and its margin touch. segment_width, row_height: pixels. */
static Cut touched_segments(const Header* header, Box box, int segment_width, int row_height) {
  Cut cut = {
      .left = most(box.left - MARGIN, 0) / segment_width,
      .right = least((box.right + MARGIN - 1) / segment_width + 1, header->segments),
      .top = most(box.top - MARGIN, 0) / row_height,
      .bottom = (least(box.bottom + MARGIN, header->height) - 1) / row_height + 1,
  };
  cut.width = least(cut.right * segment_width, header->width) - cut.left * segment_width;
  cut.height = least(cut.bottom * row_height, header->height) - cut.top * row_height;
  return cut;
}

/* Find the markers that end the first `count` segments. Return false if a marker is missing or has a wrong number. */
static bool find_ends(Decoder* decoder, const Payload* payload, const Header* header, int count) {
  int all = header->segments * divide_up(header->height, 8 * header->sub_y);
  const uint8_t* data = payload->data + header->scan_at;
  uint32_t* ends = (uint32_t*)decoder->marks.at;
  if (decoder->kernels->markers(data, payload->length - header->scan_at, count, ends) < count) return false;
  for (int n = 0; n < count; n++)
    if (data[ends[n] + 1] != (n == all - 1 ? 0xd9 : 0xd0 + (n & 7))) return false;
  return true;
}

/* Write the JPEG of a cut into decoder->segments. Return its bytes; 0 if the markers are wrong. */
static size_t write_cut(Decoder* decoder, const Payload* payload, const Header* header, const Cut* cut) {
  int count = (cut->bottom - 1) * header->segments + cut->right, written = 0;
  if (!reserve(&decoder->segments, payload->length + SLACK)) return 0;
  if (!reserve(&decoder->marks, count * sizeof(uint32_t))) return 0;
  if (!find_ends(decoder, payload, header, count)) return 0;
  const uint8_t* data = payload->data + header->scan_at;
  const uint32_t* ends = (const uint32_t*)decoder->marks.at; /* bytes from the scan's beginning to each marker */
  uint8_t* out = decoder->segments.at;
  size_t used = header->scan_at;
  memcpy(out, payload->data, used);
  out[header->size_at] = cut->height >> 8;
  out[header->size_at + 1] = cut->height;
  out[header->size_at + 2] = cut->width >> 8;
  out[header->size_at + 3] = cut->width;
  for (int row = cut->top; row < cut->bottom; row++) {
    int first = row * header->segments + cut->left, behind = row * header->segments + cut->right;
    size_t start = first ? ends[first - 1] + 2 : 0, bytes = ends[behind - 1] + 2 - start;
    memcpy(out + used, data + start, bytes);
    for (int n = first; n < behind; n++) out[used + ends[n] + 1 - start] = 0xd0 + (written++ & 7);
    used += bytes;
  }
  out[used - 1] = 0xd9;
  return used;
}

/* Write the segments that `box` touches as a JPEG into decoder->segments, and its place and size into `planes`.
   Return its bytes; 0: the JPEG cannot be cut. */
size_t cut_segments(Decoder* decoder, const Payload* payload, const Header* header, Box box, Planes* planes) {
  if (!header->segments) return 0;
  int segment_width = 8 * header->sub_x * header->interval, row_height = 8 * header->sub_y;
  Cut cut = touched_segments(header, box, segment_width, row_height);
  size_t used = write_cut(decoder, payload, header, &cut);
  if (!used) return 0;
  planes->x = cut.left * segment_width;
  planes->y = cut.top * row_height;
  planes->width = cut.width;
  planes->height = cut.height;
  return used;
}
