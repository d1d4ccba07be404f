/* Restart markers for a JPEG that has none: its coefficients are written anew, not one of them is changed. */
#include "fast.h"

#include <stdlib.h>
#include <string.h>

/* A JPEG that is read and one that is written. */
typedef struct {
  struct jpeg_decompress_struct from;
  struct jpeg_compress_struct to;
  Trap trap;
  unsigned char* out;
  unsigned long length;
} Rewriter;

/* Return true if libjpeg writes a marker by itself: JFIF or Adobe. */
static bool is_written(const struct jpeg_compress_struct* to, jpeg_saved_marker_ptr marker) {
  if (marker->data_length < 5) return false;
  if (marker->marker == JPEG_APP0 && !memcmp(marker->data, "JFIF", 5)) return to->write_JFIF_header;
  if (marker->marker == JPEG_APP0 + 14 && !memcmp(marker->data, "Adobe", 5)) return to->write_Adobe_marker;
  return false;
}

/* Write the JPEG anew. Return false with trap.why if it is damaged. */
static bool rewrite(Rewriter* self, const uint8_t* data, size_t length, int interval) {
  if (setjmp(self->trap.escape)) return false;
  jpeg_mem_src(&self->from, data, length);
  for (int i = 0; i < 16; i++) jpeg_save_markers(&self->from, JPEG_APP0 + i, 0xffff);
  jpeg_save_markers(&self->from, JPEG_COM, 0xffff);
  jpeg_read_header(&self->from, TRUE);
  if ((int64_t)self->from.image_width * self->from.image_height > MAX_PIXELS) {
    snprintf(self->trap.why, WHY, "has %ux%u pixels, more than %d are refused", self->from.image_width,
             self->from.image_height, MAX_PIXELS);
    return false;
  }
  jvirt_barray_ptr* coefficients = jpeg_read_coefficients(&self->from);
  jpeg_copy_critical_parameters(&self->from, &self->to);
  jpeg_mem_dest(&self->to, &self->out, &self->length);
  self->to.restart_interval = interval;
  self->to.optimize_coding = TRUE; /* tables that fit the picture: most of what the markers add is won back */
  jpeg_write_coefficients(&self->to, coefficients);
  for (jpeg_saved_marker_ptr marker = self->from.marker_list; marker; marker = marker->next) {
    if (is_written(&self->to, marker)) continue;
    jpeg_write_marker(&self->to, marker->marker, marker->data, marker->data_length);
  }
  jpeg_finish_compress(&self->to);
  jpeg_finish_decompress(&self->from);
  return true;
}

/* Create both JPEGs of libjpeg. */
static bool begin(Rewriter* self) {
  set_trap(&self->trap, (j_common_ptr)&self->from);
  set_trap(&self->trap, (j_common_ptr)&self->to);
  if (setjmp(self->trap.escape)) return false;
  jpeg_create_decompress(&self->from);
  jpeg_create_compress(&self->to);
  watch_scans(&self->trap, &self->from);
  return true;
}

/* Return the JPEG with a restart marker after every `interval` MCUs, to be freed by fast_release(). Progressive JPEGs
   become sequential. NULL: `why` tells what is wrong. */
EXPORT uint8_t* fast_restart(const uint8_t* data, int64_t length, int interval, int64_t* out_length, char* why) {
  Rewriter self;
  memset(&self, 0, sizeof self);
  bool done = begin(&self) && rewrite(&self, data, length, interval);
  if (!done && self.to.dest) self.to.dest->term_destination(&self.to); /* sets self.out, which libjpeg may have moved */
  jpeg_destroy_compress(&self.to);
  jpeg_destroy_decompress(&self.from);
  if (!done) {
    memcpy(why, self.trap.why, WHY);
    free(self.out);
    return NULL;
  }
  *out_length = self.length;
  return self.out;
}

/* Free a JPEG of fast_restart(). */
EXPORT void fast_release(uint8_t* data) { free(data); }
