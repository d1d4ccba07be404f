/* The header of a JPEG: its markers up to the first scan. */
#include "fast.h"

#include <string.h>

/* The bytes that markers are made of. */
enum {
  FILL = 0xff,        /* a marker is this byte and another */
  BASELINE = 0xc0,    /* SOF0 */
  EXTENDED = 0xc1,    /* SOF1 */
  PROGRESSIVE = 0xc2, /* SOF2 */
  LAST_FRAME = 0xcf,  /* SOF15 */
  HUFFMAN_TABLES = 0xc4,
  RESERVED = 0xc8,
  ARITHMETIC = 0xcc,
  BEGIN = 0xd8,    /* SOI */
  END = 0xd9,      /* EOI */
  SCAN = 0xda,     /* SOS */
  INTERVAL = 0xdd, /* DRI */
  EXIF = 0xe1,     /* APP1 */
};

/* Return the two bytes at `at` as a number. */
static int word(const uint8_t* at) { return at[0] << 8 | at[1]; }

/* Return true for the marker of a frame's header (SOFn), which holds the picture's size. */
static bool is_frame(int marker) {
  return marker >= BASELINE && marker <= LAST_FRAME && marker != HUFFMAN_TABLES && marker != RESERVED &&
         marker != ARITHMETIC;
}

/* Read the frame's header at `frame`, whose own length field says `bytes`. Return false if it makes no sense.

   frame:  ff c0 | bytes (2) | bits | height (2) | width (2) | components | then 3 bytes a component:
           number, sampling (across << 4 | down), table */
static bool read_frame(const uint8_t* frame, size_t frame_at, int bytes, Header* header) {
  if (bytes < 8) return false;
  int marker = frame[1], components = frame[9];
  if (bytes != 8 + 3 * components || components < 1) return false;
  header->height = word(frame + 5);
  header->width = word(frame + 7);
  header->components = components;
  header->size_at = frame_at + 5;
  header->sub_x = frame[11] >> 4;
  header->sub_y = frame[11] & 15;
  bool usual = components == 1 ? frame[11] == 0x11 : components == 3 ? frame[14] == 0x11 && frame[17] == 0x11 : false;
  if (header->sub_x == 2 && header->width < 5) usual = false; /* libjpeg does not interpolate so few samples */
  bool huffman = marker == BASELINE || marker == EXTENDED || marker == PROGRESSIVE;
  header->regular = usual && huffman && frame[4] == 8 && (header->sub_x == 1 || header->sub_x == 2) &&
                    (header->sub_y == 1 || header->sub_y == 2);
  return header->width > 0 && header->height > 0;
}

/* Return the number of segments in a row of MCUs; 0 if a segment reaches from one row into the next. */
static int count_segments(const Header* header) {
  int columns = divide_up(header->width, 8 * header->sub_x);
  return columns % header->interval ? 0 : columns / header->interval;
}

/* Read the orientation from an APP1 segment, if it is the first. XMP data are passed over, which use APP1, too. */
static void read_app1(const uint8_t* segment, size_t length, Header* header) {
  static const char xmp[] = "http://ns.adobe.com/x";
  size_t name = sizeof xmp - 1;
  if (header->orientation || (length >= name && !memcmp(segment, xmp, name))) return;
  header->orientation = exif_orientation(segment, length);
}

/* Read the markers up to the first scan. HEADER_CUT_OFF: they go on behind `length`. */
HeaderState walk_header(const uint8_t* data, size_t length, Header* header) {
  memset(header, 0, sizeof *header);
  int interval = 0;
  bool sequential = false;
  size_t at = 2;
  if (length < 4 || data[0] != FILL || data[1] != BEGIN) return HEADER_WRONG;
  while (at + 4 <= length && data[at] == FILL) {
    int marker = data[at + 1], bytes = word(data + at + 2);
    if (marker == FILL) {
      at++;
      continue;
    }
    if (marker == END || bytes < 2) return HEADER_WRONG;
    if (at + 2 + bytes > length) return HEADER_CUT_OFF;
    if (is_frame(marker)) {
      if (header->width || !read_frame(data + at, at, bytes, header)) return HEADER_WRONG;
      sequential = marker == BASELINE || marker == EXTENDED;
    } else if (marker == INTERVAL && bytes == 4) {
      interval = word(data + at + 4);
    } else if (marker == EXIF) {
      read_app1(data + at + 4, bytes - 2, header);
    } else if (marker == SCAN) {
      if (!header->width || bytes < 6) return HEADER_WRONG;
      header->scan_at = at + 2 + bytes;
      header->interval = interval;
      header->orientation = most(header->orientation, 1);
      bool together = data[at + 4] == header->components; /* one scan holds all components */
      if (header->regular && sequential && interval && together) header->segments = count_segments(header);
      return HEADER_WHOLE;
    }
    at += 2 + bytes;
  }
  return at + 4 > length ? HEADER_CUT_OFF : HEADER_WRONG;
}

/* Read the header of a whole JPEG. HEADER_CUT_OFF: the header goes on behind `length`, or the end marker is missing. */
HeaderState read_header(const uint8_t* data, size_t length, Header* header) {
  HeaderState state = walk_header(data, length, header);
  if (state != HEADER_WHOLE) return state;
  for (size_t end = length - 1; end > header->scan_at; end--) /* from behind: whole files answer at once */
    if (data[end] == END && data[end - 1] == FILL) return HEADER_WHOLE;
  return HEADER_CUT_OFF;
}
