/* Payloads: their headers, and the way from a record in a file to decoded planes. */
#include "fast.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PEEK 2048 /* bytes; most headers are shorter */
#define HEAD 32   /* bytes of a record's head: two words, and the header of a picture */
#define AHEAD 512
#define MAGIC 0xced7230a /* a record's first word, see framing.py; the second is the length of what follows */

/* Read `length` bytes of a file from `offset` on. Return false if they are not there. */
static bool read_file(int fd, int64_t offset, size_t length, uint8_t* out) {
  while (length > 0) {
    ssize_t bytes = pread(fd, out, length, offset);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return false;
    length -= bytes;
    offset += bytes;
    out += bytes;
  }
  return true;
}

/* Read the HEAD bytes at each of `count` offsets, as the records' heads lie in a file. Return 0 if a file ends before.
   The kernel is told of AHEAD of them at a time, because a cold disk answers many together. */
EXPORT int fast_record_heads(int fd, const int64_t* offsets, int count, uint8_t* out) {
  for (int i = 0; i < count; i++, out += HEAD) {
#ifdef POSIX_FADV_WILLNEED
    if (i % AHEAD == 0)
      for (int soon = i; soon < count && soon < i + AHEAD; soon++)
        posix_fadvise(fd, offsets[soon], HEAD, POSIX_FADV_WILLNEED);
#endif
    if (!read_file(fd, offsets[i], HEAD, out)) return 0;
  }
  return 1;
}

/* Point `data` to the beginning of a payload, read into `room` if the payload is in a file. Return the number of bytes:
   all of a payload in memory; 0: it cannot be read. */
static size_t peek(const Payload* payload, uint8_t room[PEEK], const uint8_t** data) {
  *data = payload->data ? payload->data : room;
  if (payload->data) return payload->length;
  size_t bytes = payload->length < PEEK ? payload->length : PEEK;
  return read_file(payload->fd, payload->offset + payload->start, bytes, room) ? bytes : 0;
}

/* Return the orientation that a payload is turned by. */
static int orientation_of(const Payload* payload, const Header* header) {
  return payload->as_stored ? 1 : header->orientation;
}

/* Return the width of a payload's upright picture. */
static int upright_width(const Payload* payload, const Header* header) {
  return swaps_sides(orientation_of(payload, header)) ? header->height : header->width;
}

/* Return the height of a payload's upright picture. */
static int upright_height(const Payload* payload, const Header* header) {
  return swaps_sides(orientation_of(payload, header)) ? header->width : header->height;
}

/* Set width, height and kind of a JPEG by its header; `data` is all of it or its beginning. A BROKEN one gets a `why`.
 */
static void set_size(Payload* payload, const uint8_t* data, size_t length, char* why) {
  Header header;
  HeaderState state = payload->data ? read_header(data, length, &header) : walk_header(data, length, &header);
  payload->kind = JPEG;
  payload->width = upright_width(payload, &header);
  payload->height = upright_height(payload, &header);
  if (state == HEADER_CUT_OFF && !payload->data) {
    payload->kind = UNREAD;
  } else if (state == HEADER_CUT_OFF) {
    snprintf(why, WHY, "is truncated");
  } else if (state == HEADER_WRONG) {
    snprintf(why, WHY, "cannot be decoded");
  } else if ((int64_t)header.width * header.height > MAX_PIXELS) {
    snprintf(why, WHY, "has %dx%d pixels, more than %d are refused", header.width, header.height, MAX_PIXELS);
  }
  if (why[0]) payload->kind = BROKEN;
}

/* Set width, height and kind of each payload by its header. why: (count, WHY), empty before; filled for BROKEN ones. */
EXPORT void fast_heads(Payload* payloads, int count, char* why) {
  for (int i = 0; i < count; i++, why += WHY) {
    Payload* payload = payloads + i;
    uint8_t room[PEEK];
    const uint8_t* data;
    if (payload->stride > 0 || payload->kind == BROKEN) continue;
    size_t length = peek(payload, room, &data);
    if (length == 0 && !payload->data)
      payload->kind = UNREAD;
    else if (length < 2 || data[0] != 0xff || data[1] != 0xd8)
      payload->kind = FOREIGN;
    else
      set_size(payload, data, length, why);
  }
}

/* Read the record of a payload that is in a file. This is done just before decoding, so that the caches still hold it.
 */
static bool fetch(Decoder* decoder, Payload* payload) {
  uint32_t frame[2];
  size_t bytes = (size_t)payload->start + payload->length;
  if (!reserve(&decoder->record, bytes)) return fail(decoder, NO_MEMORY);
  if (!read_file(payload->fd, payload->offset, bytes, decoder->record.at)) return fail(decoder, CHANGED);
  memcpy(frame, decoder->record.at, sizeof frame);
  if (frame[0] != MAGIC || frame[1] != bytes - sizeof frame) return fail(decoder, CHANGED);
  payload->data = decoder->record.at + payload->start;
  return true;
}

/* Return the planes of a payload that is decoded already. They are only read. */
static Planes decoded_planes(const Payload* payload) {
  uint8_t* at = (uint8_t*)payload->data;
  size_t plane = (size_t)payload->stride * payload->height;
  return (Planes){
      .count = 3,
      .ycc = false,
      .sub_x = 1,
      .sub_y = 1,
      .width = payload->width,
      .height = payload->height,
      .full_width = payload->width,
      .full_height = payload->height,
      .at = {at, at + plane, at + 2 * plane},
      .stride = {payload->stride, payload->stride, payload->stride},
  };
}

/* Decode at least `box` of a payload. Return false with decoder->trap.why if that cannot be done. */
bool open_part(Decoder* decoder, const Payload* given, Box box, Planes* planes) {
  Payload payload = *given;
  Header header;
  if (payload.stride > 0) {
    *planes = decoded_planes(&payload);
    return true;
  }
  if (!payload.data && !fetch(decoder, &payload)) return false;
  HeaderState state = read_header(payload.data, payload.length, &header);
  if (state == HEADER_CUT_OFF) return fail(decoder, "is truncated");
  if (state == HEADER_WRONG) return fail(decoder, "cannot be decoded");
  if (upright_width(&payload, &header) != payload.width || upright_height(&payload, &header) != payload.height)
    return fail(decoder, CHANGED);
  header.orientation = orientation_of(&payload, &header);
  return decode_part(decoder, &payload, &header, box, planes);
}
