/* Sources: their headers, and the way from a record in a file to decoded planes. */
#include "fast.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PEEK 2048        /* bytes; most headers are shorter */
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

/* Point `data` to the beginning of a source, read into `room` if the source is in a file. Return the number of bytes:
   all of a source in memory; 0: it cannot be read. */
static size_t peek(const Source* source, uint8_t room[PEEK], const uint8_t** data) {
  *data = source->data ? source->data : room;
  if (source->data) return source->length;
  size_t bytes = source->length < PEEK ? source->length : PEEK;
  return read_file(source->fd, source->offset + source->start, bytes, room) ? bytes : 0;
}

/* Set width, height and kind of a JPEG by its header; `data` is all of it or its beginning. A BROKEN one gets a `why`.
 */
static void set_size(Source* source, const uint8_t* data, size_t length, char* why) {
  Header header;
  HeaderState state = source->data ? read_header(data, length, &header) : walk_header(data, length, &header);
  source->kind = JPEG;
  source->width = header.width;
  source->height = header.height;
  if (state == HEADER_CUT_OFF && !source->data) {
    source->kind = UNREAD;
  } else if (state == HEADER_CUT_OFF) {
    snprintf(why, WHY, "is truncated");
  } else if (state == HEADER_WRONG) {
    snprintf(why, WHY, "cannot be decoded");
  } else if ((int64_t)header.width * header.height > MAX_PIXELS) {
    snprintf(why, WHY, "has %dx%d pixels, more than %d are refused", header.width, header.height, MAX_PIXELS);
  }
  if (why[0]) source->kind = BROKEN;
}

/* Set width, height and kind of each source by its header. why: (count, WHY), empty before; it tells of BROKEN ones. */
EXPORT void fast_heads(Source* sources, int count, char* why) {
  for (int i = 0; i < count; i++, why += WHY) {
    Source* source = sources + i;
    uint8_t room[PEEK];
    const uint8_t* data;
    if (source->stride > 0 || source->kind == BROKEN) continue;
    size_t length = peek(source, room, &data);
    if (length == 0 && !source->data)
      source->kind = UNREAD;
    else if (length < 2 || data[0] != 0xff || data[1] != 0xd8)
      source->kind = FOREIGN;
    else
      set_size(source, data, length, why);
  }
}

/* Read the record of a source that is in a file. This is done just before decoding, so that the caches still hold it.
 */
static bool fetch(Decoder* decoder, Source* source) {
  uint32_t frame[2];
  size_t bytes = (size_t)source->start + source->length;
  if (!reserve(&decoder->record, bytes)) return fail(decoder, NO_MEMORY);
  if (!read_file(source->fd, source->offset, bytes, decoder->record.at)) return fail(decoder, CHANGED);
  memcpy(frame, decoder->record.at, sizeof frame);
  if (frame[0] != MAGIC || frame[1] != bytes - sizeof frame) return fail(decoder, CHANGED);
  source->data = decoder->record.at + source->start;
  return true;
}

/* Return the planes of a source that is decoded already. They are only read. */
static Planes decoded_planes(const Source* source) {
  uint8_t* at = (uint8_t*)source->data;
  size_t plane = (size_t)source->stride * source->height;
  return (Planes){
      .count = 3,
      .ycc = false,
      .sub_x = 1,
      .sub_y = 1,
      .width = source->width,
      .height = source->height,
      .full_width = source->width,
      .full_height = source->height,
      .at = {at, at + plane, at + 2 * plane},
      .stride = {source->stride, source->stride, source->stride},
  };
}

/* Decode at least `box` of a source. Return false with decoder->trap.why if that cannot be done. */
bool open_part(Decoder* decoder, const Source* given, Box box, Planes* planes) {
  Source source = *given;
  Header header;
  if (source.stride > 0) {
    *planes = decoded_planes(&source);
    return true;
  }
  if (!source.data && !fetch(decoder, &source)) return false;
  HeaderState state = read_header(source.data, source.length, &header);
  if (state == HEADER_CUT_OFF) return fail(decoder, "is truncated");
  if (state == HEADER_WRONG) return fail(decoder, "cannot be decoded");
  if (header.width != source.width || header.height != source.height) return fail(decoder, CHANGED);
  return decode_part(decoder, &source, &header, box, planes);
}
