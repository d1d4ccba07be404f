/* What libjpeg calls when something is wrong. */
#include "fast.h"

static void on_error(j_common_ptr jpeg) {
  Trap *trap = jpeg->client_data;
  char text[JMSG_LENGTH_MAX];
  jpeg->err->format_message(jpeg, text);
  snprintf(trap->why, WHY, "is damaged (%.*s)", WHY - 20, text);
  longjmp(trap->escape, 1);
}

static void on_message(j_common_ptr jpeg, int level) {
  if (level < 0) on_error(jpeg); /* a warning: libjpeg would go on with invented pixels */
}

/* A scan may be a few bytes for all of the picture, so that they, not the file's length, bound the time. */
static void on_progress(j_common_ptr given) {
  j_decompress_ptr jpeg = (j_decompress_ptr)given;
  Trap *trap = jpeg->client_data;
  int64_t limit = MAX_WORK / ((int64_t)jpeg->image_width * jpeg->image_height);
  if (limit > MAX_SCANS) limit = MAX_SCANS;
  if (jpeg->input_scan_number <= limit) return;
  snprintf(trap->why, WHY, "has more than %d scans", (int)limit);
  longjmp(trap->escape, 1);
}

/* Before jpeg_create_...(), which keeps both. */
void set_trap(Trap *trap, j_common_ptr jpeg) {
  jpeg->err = jpeg_std_error(&trap->errors);
  trap->errors.error_exit = on_error, trap->errors.emit_message = on_message;
  jpeg->client_data = trap;
}

/* Behind jpeg_create_decompress(), which forgets it. */
void watch_scans(Trap *trap, j_decompress_ptr jpeg) {
  trap->progress.progress_monitor = on_progress;
  jpeg->progress = &trap->progress;
}
