/* The orientation of a JPEG, as its EXIF gives it. exif.py reads the same bytes in the same way, and so does OpenCV.

   segment:  Exif 0 0 | block                       block:  II or MM | 42 (2) | place of the entries (4)
   entries:  their number (2), then 12 bytes each:  tag (2), type (2), count (4), value or its place (4) */
#include "fast.h"

#include <string.h>

enum { ORIENTATION = 0x112, NAME_BYTES = 6, ENTRY_BYTES = 12, INLINE_BYTES = 4 };

/* The bytes of an EXIF block. */
typedef struct {
  const uint8_t* data;
  size_t length;
  bool little; /* the low byte of a number comes first */
} Block;

/* Return the two bytes at `at` as a number. */
static uint32_t two(const Block* block, size_t at) {
  const uint8_t* byte = block->data + at;
  return block->little ? byte[0] | byte[1] << 8 : byte[0] << 8 | byte[1];
}

/* Return the four bytes at `at` as a number. */
static uint32_t four(const Block* block, size_t at) {
  uint32_t first = two(block, at), second = two(block, at + 2);
  return block->little ? first | second << 16 : first << 16 | second;
}

/* Return true for the tag of a text. */
static bool is_text(uint32_t tag) {
  return (tag >= 0x10e && tag <= 0x110) || tag == 0x131 || tag == 0x132 || tag == 0x8298;
}

/* Return true for the tag of one or more fractions. */
static bool is_fraction(uint32_t tag) {
  return tag == 0x11a || tag == 0x11b || tag == 0x13e || tag == 0x13f || tag == 0x211 || tag == 0x214;
}

/* Return true if the value of the entry at `at` lies within the block. OpenCV stops at a text or a fraction that does
   not, and reads other values only if it needs them. */
static bool fits(const Block* block, size_t at) {
  uint32_t tag = two(block, at);
  if (!is_text(tag) && !is_fraction(tag)) return true;
  if (at + ENTRY_BYTES > block->length) return false;
  size_t bytes = four(block, at + 4), start = four(block, at + 8);
  if (is_fraction(tag)) return start + 8 <= block->length;
  return (bytes > INLINE_BYTES ? start : 8) + bytes <= block->length;
}

/* Return the orientation that a segment of EXIF declares, 1 to 8. 1: upright, or it declares none. */
int exif_orientation(const uint8_t* segment, size_t length) {
  if (length < NAME_BYTES + 8) return 1;
  Block block = {.data = segment + NAME_BYTES, .length = length - NAME_BYTES};
  block.little = block.data[0] == 'I' && block.data[1] == 'I';
  if (two(&block, 2) != 42) return 1;
  size_t at = four(&block, 4);
  if (at + 2 > block.length) return 1;
  for (uint32_t left = two(&block, at), place = at + 2; left > 0; left--, place += ENTRY_BYTES) {
    if ((size_t)place + 10 > block.length) return 1;
    uint32_t value = two(&block, place + 8);
    if (two(&block, place) == ORIENTATION) return value >= 1 && value <= 8 ? (int)value : 1;
    if (!fits(&block, place)) return 1;
  }
  return 1;
}
