/* A Decoder: its memory, and how its errors are told. */
#include "fast.h"

#include <stdlib.h>
#include <string.h>

/* Make room for `bytes`. What the buffer had is lost where it must be larger. */
bool reserve(Buffer* buffer, size_t bytes) {
  if (buffer->room >= bytes) return true;
  free(buffer->at);
  buffer->room = (bytes + 4095) & ~(size_t)4095;
  buffer->at = aligned_alloc(64, buffer->room);
  if (!buffer->at) buffer->room = 0;
  return buffer->at != NULL;
}

/* Set the error's text and return false. */
bool fail(Decoder* decoder, const char* why) {
  snprintf(decoder->trap.why, WHY, "%s", why);
  return false;
}

/* Give back all buffers of more than `most_bytes`, which only an exceptional picture needed. */
void trim(Decoder* decoder, size_t most_bytes) {
  Buffer* all[] = {
      &decoder->record,  &decoder->marks, &decoder->segments, &decoder->planes, &decoder->turned,
      &decoder->between, &decoder->seen,  &decoder->axes,     &decoder->rows,
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    if (all[i]->room <= most_bytes) continue;
    free(all[i]->at);
    *all[i] = (Buffer){.at = NULL, .room = 0};
  }
}

/* Return a new Decoder, NULL without memory. */
EXPORT Decoder* fast_new(void) {
  Decoder* decoder = calloc(1, sizeof *decoder);
  if (decoder) set_trap(&decoder->trap, (j_common_ptr)&decoder->jpeg);
  return decoder;
}

/* Free a Decoder and its memory. */
EXPORT void fast_free(Decoder* decoder) {
  if (!decoder) return;
  trim(decoder, 0);
  free(decoder);
}
