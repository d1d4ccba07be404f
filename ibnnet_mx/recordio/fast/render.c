/* What Python calls: views of a slice of a batch, and whole decoding. All of it without the GIL. */
#include "fast.h"

#include <math.h>
#include <string.h>

#define LONG_LIVED (64 << 20) /* bytes; a larger buffer is given back after its picture */

/* Return the highest level that the processor has, at most `limit`. */
static Level best_level(Level limit) {
#if defined(__x86_64__)
  bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  Level level = avx512 ? LEVEL_AVX512 : __builtin_cpu_supports("avx2") ? LEVEL_AVX2 : LEVEL_PLAIN;
  return limit < level ? limit : level;
#else
  (void)limit;
  return LEVEL_PLAIN;
#endif
}

/* Return the kernels of the highest level that the processor has, at most `limit`. */
static const Kernels* kernels_of(Level limit) {
#if defined(__x86_64__)
  const Kernels* all[] = {
      [LEVEL_PLAIN] = &kernels_plain,
      [LEVEL_AVX2] = &kernels_avx2,
      [LEVEL_AVX512] = &kernels_avx512,
  };
  return all[best_level(limit)];
#else
  (void)limit;
  return &kernels_plain;
#endif
}

/* Return the level of the kernels that this processor runs. */
EXPORT int fast_level(void) { return best_level(LEVEL_AVX512); }

/* Which fast.h this library was built from; build.py defines it, native.py compares it. */
EXPORT const char* fast_interface(void) { return INTERFACE; }

/* Set first..last-1 to the pixels that positions low..high read, within 0..limit-1; at least one. */
static void reach(double low, double high, int limit, int* first, int* last) {
  *first = (int)fmin(fmax(floor(low) - 1, 0), limit - 1);
  *last = (int)fmax(fmin(floor(high) + 3, limit), *first + 1);
}

/* Return the pixels of a width x height picture that a warp reads. */
static Box touched_by_warp(const Step* step, int width, int height) {
  const double *m = step->matrix, w = step->width - 1, h = step->height - 1;
  Box box;
  double left = m[2] + fmin(m[0], 0) * w + fmin(m[1], 0) * h, right = m[2] + fmax(m[0], 0) * w + fmax(m[1], 0) * h;
  double top = m[5] + fmin(m[3], 0) * w + fmin(m[4], 0) * h, bottom = m[5] + fmax(m[3], 0) * w + fmax(m[4], 0) * h;
  reach(left, right, width, &box.left, &box.right);
  reach(top, bottom, height, &box.top, &box.bottom);
  return box;
}

/* Return the pixels of a width x height picture that a step reads. */
static Box touched(const Step* step, int width, int height) {
  if (step->kind == WARP) return touched_by_warp(step, width, height);
  Box box;
  double w = step->width - 1, h = step->height - 1;
  double factor_x = (double)(step->box[2] - step->box[0]) / step->full_width;
  double factor_y = (double)(step->box[3] - step->box[1]) / step->full_height;
  double left = step->box[0] + step->x * factor_x, right = step->box[0] + (step->x + w + 1) * factor_x;
  double top = step->box[1] + step->y * factor_y, bottom = step->box[1] + (step->y + h + 1) * factor_y;
  reach(left, right, width, &box.left, &box.right);
  reach(top, bottom, height, &box.top, &box.bottom);
  return box;
}

/* Return the smallest box around two boxes. */
static Box join(Box a, Box b) {
  return (Box){
      .left = least(a.left, b.left),
      .top = least(a.top, b.top),
      .right = most(a.right, b.right),
      .bottom = most(a.bottom, b.bottom),
  };
}

/* Return the part of a payload that its views read. */
static Box touched_by_views(const Payload* payload, const Row* rows, int views) {
  Box box = {.left = payload->width, .top = payload->height, .right = 0, .bottom = 0};
  for (int v = 0; v < views; v++) {
    const Step* step = rows[v].first.kind == NONE ? &rows[v].last : &rows[v].first;
    box = join(box, touched(step, payload->width, payload->height));
  }
  return box;
}

/* Return what is wrong with a step on a width x height picture, NULL if nothing is. geometry.py draws up no such step.
 */
static const char* wrong_step(const Step* step, int width, int height) {
  const char *size = "cannot be brought to that size", *outside = "has a view outside of the picture";
  if (step->width <= 0 || step->height <= 0 || (int64_t)step->width * step->height > MAX_PIXELS) return size;
  if (step->kind == WARP) return NULL;
  const int32_t* box = step->box;
  if (step->full_width <= 0 || step->full_height <= 0) return size;
  if (box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height) return outside;
  if (box[2] <= box[0] || box[3] <= box[1]) return outside;
  if (step->x < 0 || step->y < 0) return outside;
  if (step->width > step->full_width - step->x || step->height > step->full_height - step->y) return outside;
  return NULL;
}

/* Return what is wrong with a view, NULL if nothing is. */
static const char* wrong_view(const Task* task, const Payload* payload, const Row* row) {
  int width = payload->width, height = payload->height;
  if (row->last.width != task->width || row->last.height != task->height) return "has views of different sizes";
  if (row->first.kind != NONE) {
    const char* wrong = wrong_step(&row->first, width, height);
    if (wrong) return wrong;
    width = row->first.width;
    height = row->first.height;
  }
  return wrong_step(&row->last, width, height);
}

/* Check all views of all payloads, and set the `why` of each payload that has a wrong one. It is not decoded then.
   BROKEN payloads have their `why` already. */
static void check_views(const Task* task) {
  for (int i = 0; i < task->count; i++) {
    const char* wrong = NULL;
    if (task->payloads[i].kind == BROKEN) continue;
    for (int v = 0; !wrong && v < task->views; v++)
      wrong = wrong_view(task, task->payloads + i, task->rows + (size_t)i * task->views + v);
    if (wrong) snprintf(task->why + (size_t)i * WHY, WHY, "%s", wrong);
  }
}

/* Allot three planes of width x height bytes, a row and SLACK behind each. */
static bool planes_in(Buffer* buffer, int width, int height, uint8_t* at[3]) {
  size_t bytes = (size_t)width * (height + 1) + SLACK;
  if (!reserve(buffer, 3 * bytes)) return false;
  for (int k = 0; k < 3; k++) at[k] = buffer->at + k * bytes;
  return true;
}

/* Carry out a view's first step. `out` becomes a picture of its own, as large as the step says. */
static bool prepare(Decoder* decoder, const Planes* planes, const Row* row, Planes* out) {
  const Step* step = &row->first;
  Sampling sampling = {.planes = planes, .step = step, .mirror = false, .fill = row->fill};
  *out = (Planes){
      .count = planes->count,
      .ycc = planes->ycc,
      .sub_x = 1,
      .sub_y = 1,
      .width = step->width,
      .height = step->height,
      .full_width = step->width,
      .full_height = step->height,
      .stride = {step->width, step->width, step->width},
  };
  if (!planes_in(&decoder->between, step->width, step->height, out->at)) return fail(decoder, NO_MEMORY);
  return sample(decoder, &sampling, out->at);
}

/* Return true if a view only cuts RGB planes out, whole pixels from (x, y) on, counted from where the planes begin. */
static bool is_shift(const Planes* planes, const Row* row, int* x, int* y) {
  const Step* step = &row->last;
  const double* m = step->matrix;
  if (planes->ycc || row->first.kind != NONE || row->hls[0] || row->hls[1] || row->hls[2]) return false;
  if (step->kind == WARP) {
    *x = (int)m[2] - planes->x;
    *y = (int)m[5] - planes->y;
    return m[0] == 1 && m[1] == 0 && m[3] == 0 && m[4] == 1 && m[2] == (int)m[2] && m[5] == (int)m[5];
  }
  *x = step->box[0] + step->x - planes->x;
  *y = step->box[1] + step->y - planes->y;
  return step->kind == LINEAR && step->box[2] - step->box[0] == step->full_width &&
         step->box[3] - step->box[1] == step->full_height;
}

/* Return x, at least `low`, at most `high`. */
static int clamp(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

/* Copy a view that is_shift() into the planes `seen`. */
static void shift(const Kernels* kernels, const Planes* planes, const Row* row, int x, int y, uint8_t* const seen[3]) {
  int width = row->last.width, height = row->last.height;
  Box inside = {.left = clamp(-x, 0, width), .top = clamp(-y, 0, height)}; /* the part of the view that is picture */
  inside.right = clamp(planes->width - x, inside.left, width);
  inside.bottom = clamp(planes->height - y, inside.top, height);
  for (int k = 0; k < 3; k++) {
    const uint8_t* from = planes->at[k] + (ptrdiff_t)(y + inside.top) * planes->stride[k] + x + inside.left;
    kernels->moved(from, planes->stride[k], &inside, row, seen[k]);
  }
}

/* Compute a view: (3, height, width) pixels at `out`. */
static bool view(Decoder* decoder, const Planes* planes, const Row* row, const Pixels* pixels, uint8_t* out) {
  const Kernels* kernels = decoder->kernels;
  Sampling sampling = {.planes = planes, .step = &row->last, .mirror = row->mirror, .fill = row->fill};
  Planes between;
  uint8_t* seen[3];
  int area = row->last.width * row->last.height, x, y;
  if (row->first.kind != NONE) {
    if (!prepare(decoder, planes, row, &between)) return false;
    sampling.planes = planes = &between;
  }
  if (!planes_in(&decoder->seen, row->last.width, row->last.height, seen)) return fail(decoder, NO_MEMORY);
  if (is_shift(planes, row, &x, &y))
    shift(kernels, planes, row, x, y, seen);
  else if (!sample(decoder, &sampling, seen))
    return false;
  size_t plane = (size_t)area * (pixels->floats ? sizeof(float) : 1);
  void* outs[3] = {out, out + plane, out + 2 * plane};
  kernels->emit(seen, planes->count, planes->ycc, area, row->hls, pixels, outs);
  return true;
}

/* Compute all views of payload i. Return false with decoder->trap.why if that cannot be done. */
static bool render_payload(Decoder* decoder, const Task* task, int i) {
  const Row* rows = task->rows + (size_t)i * task->views;
  size_t bytes = 3 * (size_t)task->width * task->height * (task->pixels->floats ? sizeof(float) : 1);
  Planes planes;
  if (!open_part(decoder, task->payloads + i, touched_by_views(task->payloads + i, rows, task->views), &planes))
    return false;
  for (int v = 0; task->out && v < task->views; v++)
    if (!view(decoder, &planes, rows + v, task->pixels, task->out + ((size_t)i * task->views + v) * bytes))
      return false;
  return true;
}

/* Compute the views of a task. Payloads that have a `why` before, or a view that cannot be, are passed over. */
EXPORT void fast_render(Decoder* decoder, const Task* task) {
  decoder->kernels = kernels_of(task->level);
  check_views(task);
  for (int i = 0; i < task->count; i++) {
    char* why = task->why + (size_t)i * WHY;
    if (task->payloads[i].kind == BROKEN || why[0]) continue;
    if (!render_payload(decoder, task, i)) memcpy(why, decoder->trap.why, WHY);
    trim(decoder, LONG_LIVED);
  }
}

/* Decode all of a JPEG. `why` is empty if it is without fault. */
EXPORT void fast_check(Decoder* decoder, const Payload* payload, char* why) {
  Planes planes;
  Box all = {.left = 0, .top = 0, .right = payload->width, .bottom = payload->height};
  decoder->kernels = kernels_of(LEVEL_AVX512);
  bool done = payload->kind == JPEG ? open_part(decoder, payload, all, &planes) : fail(decoder, "is no JPEG");
  snprintf(why, WHY, "%s", done ? "" : decoder->trap.why);
  trim(decoder, LONG_LIVED);
}
