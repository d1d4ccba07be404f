/* Restart markers for a JPEG that has none: its coefficients are written anew, not one of them is changed. */
#include "fast.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  struct jpeg_decompress_struct from;
  struct jpeg_compress_struct to;
  Trap trap;
  unsigned char *out;
  unsigned long length;
} Rewriter;

static int rewrite(Rewriter *self, const uint8_t *data, size_t length, int interval) {
  if (setjmp(self->trap.escape)) return 0;
  jpeg_mem_src(&self->from, data, length);
  for (int i = 0; i < 16; i++) jpeg_save_markers(&self->from, JPEG_APP0 + i, 0xffff);
  jpeg_save_markers(&self->from, JPEG_COM, 0xffff);
  jpeg_read_header(&self->from, TRUE);
  if ((int64_t)self->from.image_width * self->from.image_height > MAX_PIXELS) {
    snprintf(self->trap.why, WHY, "has %ux%u pixels, more than %d are refused", self->from.image_width,
             self->from.image_height, MAX_PIXELS);
    return 0;
  }
  jvirt_barray_ptr *coefficients = jpeg_read_coefficients(&self->from);
  jpeg_copy_critical_parameters(&self->from, &self->to);
  jpeg_mem_dest(&self->to, &self->out, &self->length);
  self->to.restart_interval = interval;
  self->to.optimize_coding = TRUE; /* tables that fit the picture: most of what the markers add is won back */
  jpeg_write_coefficients(&self->to, coefficients);
  for (jpeg_saved_marker_ptr marker = self->from.marker_list; marker; marker = marker->next) {
    int jfif = marker->marker == JPEG_APP0 && marker->data_length >= 5 && !memcmp(marker->data, "JFIF", 5);
    int adobe = marker->marker == JPEG_APP0 + 14 && marker->data_length >= 5 && !memcmp(marker->data, "Adobe", 5);
    if ((jfif && self->to.write_JFIF_header) || (adobe && self->to.write_Adobe_marker)) continue; /* written already */
    jpeg_write_marker(&self->to, marker->marker, marker->data, marker->data_length);
  }
  jpeg_finish_compress(&self->to);
  jpeg_finish_decompress(&self->from);
  return 1;
}

static int begin(Rewriter *self) {
  set_trap(&self->trap, (j_common_ptr)&self->from);
  set_trap(&self->trap, (j_common_ptr)&self->to);
  if (setjmp(self->trap.escape)) return 0;
  jpeg_create_decompress(&self->from);
  jpeg_create_compress(&self->to);
  watch_scans(&self->trap, &self->from);
  return 1;
}

/* A JPEG with a restart marker after every `interval` MCUs, freed by fast_release(); NULL with `why`. Progressive ones
   become sequential. */
EXPORT uint8_t *fast_restart(const uint8_t *data, int64_t length, int interval, int64_t *out_length, char *why) {
  Rewriter self;
  memset(&self, 0, sizeof self);
  int done = begin(&self) && rewrite(&self, data, length, interval);
  if (!done && self.to.dest) self.to.dest->term_destination(&self.to); /* until then self.out may be what was freed */
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

EXPORT void fast_release(uint8_t *data) { free(data); }
