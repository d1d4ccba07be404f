/* What libjpeg calls when something is wrong. */
#include "fast.h"

/* The end of the work, with libjpeg's own words. */
static void on_error(j_common_ptr jpeg) {
  Trap* trap = jpeg->client_data;
  char text[JMSG_LENGTH_MAX];
  jpeg->err->format_message(jpeg, text);
  snprintf(trap->why, WHY, "is damaged (%.*s)", WHY - 20, text);
  longjmp(trap->escape, 1);
}

/* A warning (level < 0) is an error too, because libjpeg would go on with invented pixels. */
static void on_message(j_common_ptr jpeg, int level) {
  if (level < 0) on_error(jpeg);
}

/* The end of a JPEG with too many scans. A scan of the whole picture may be a few bytes long, so that the number of
   scans bounds the time, not the file's length. */
static void on_progress(j_common_ptr common) {
  j_decompress_ptr jpeg = (j_decompress_ptr)common;
  Trap* trap = jpeg->client_data;
  int64_t limit = MAX_WORK / ((int64_t)jpeg->image_width * jpeg->image_height);
  if (limit > MAX_SCANS) limit = MAX_SCANS;
  if (jpeg->input_scan_number <= limit) return;
  snprintf(trap->why, WHY, "has more than %d scans", (int)limit);
  longjmp(trap->escape, 1);
}

/* Catch errors and warnings. Call it before jpeg_create_...(), which leaves both fields alone. */
void set_trap(Trap* trap, j_common_ptr jpeg) {
  jpeg->err = jpeg_std_error(&trap->errors);
  trap->errors.error_exit = on_error;
  trap->errors.emit_message = on_message;
  jpeg->client_data = trap;
}

/* Count scans. Call it after jpeg_create_decompress(), which clears the field. */
void watch_scans(Trap* trap, j_decompress_ptr jpeg) {
  trap->progress.progress_monitor = on_progress;
  jpeg->progress = &trap->progress;
}
