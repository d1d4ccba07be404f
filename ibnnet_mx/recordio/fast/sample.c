/* Planes to a view: bilinear along the axes in two passes or along slanted lines, or filtered with weights as floats.

   Of the first two weights are multiples of 1/64. Between chroma samples the two passes give what libjpeg's "fancy"
   interpolation gives, its rounding included, so that what is only cut out has the very pixels of the whole decoding. */
#include "fast.h"

#include <math.h>
#include <string.h>

#define GROUP 8

typedef struct {
  double *place;  /* in pixels of the picture, held within it */
  uint8_t *cover; /* 64: within the picture, 0: outside, between: at the border */
  int partial;    /* whether any is not 64 */
} Places;

static void *take(uint8_t **arena, size_t bytes) {
  void *at = *arena;
  *arena += (bytes + 63) & ~(size_t)63;
  return at;
}

static double held(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static void place(const Step *step, int axis, int mirror, int full, Places *out) {
  int count = axis ? step->height : step->width;
  double low = 0, high = full - 1, factor, shift;
  if (step->kind == WARP) {
    factor = step->matrix[4 * axis], shift = step->matrix[3 * axis + 2];
  } else {
    low = step->box[axis], high = step->box[axis + 2] - 1;
    factor = (high + 1 - low) / (axis ? step->full_height : step->full_width);
    shift = ((axis ? step->y : step->x) + 0.5) * factor - 0.5 + low;
  }
  out->partial = 0;
  for (int i = 0; i < count; i++) {
    double at = factor * (mirror ? count - 1 - i : i) + shift, cover = 1;
    if (step->kind == WARP) cover = held(fmin(at + 1, full - at), 0, 1);
    out->place[i] = held(at, low, high);
    out->cover[i] = (uint8_t)(cover * 64 + 0.5);
    out->partial |= out->cover[i] != 64;
  }
}

static void set_axis(Axis *axis, const double *places, int count, int origin, int sub, int limit) {
  axis->count = count, axis->groups = (count + 2 * GROUP - 1) / (2 * GROUP) * 2, axis->narrow = 1;
  for (int i = 0; i < axis->groups * GROUP; i++) {
    double at = held((places[i < count ? i : count - 1] - origin + 0.5) / sub - 0.5, 0, limit - 1);
    int pixel = (int)at, weight = (int)((at - pixel) * 64 + 0.5);
    if (weight == 64) pixel++, weight = 0;
    axis->at[i] = pixel, axis->weight[i] = weight;
    axis->pairs[2 * i] = 64 - weight, axis->pairs[2 * i + 1] = weight;
  }
  for (int g = 0; g < axis->groups; g++) {
    const int32_t *at = axis->at + g * GROUP;
    int first = at[0] < at[GROUP - 1] ? at[0] : at[GROUP - 1];
    axis->base[g] = first;
    for (int i = 0; i < GROUP; i++) {
      int offset = at[i] - first;
      axis->narrow &= offset <= 14;
      axis->shuffle[2 * (g * GROUP + i)] = offset, axis->shuffle[2 * (g * GROUP + i) + 1] = offset + 1;
    }
  }
}

static int new_axis(Axis *axis, int count, uint8_t **arena) {
  size_t padded = (count + 2 * GROUP - 1) / (2 * GROUP) * (2 * GROUP);
  axis->at = take(arena, padded * 4), axis->base = take(arena, padded * 4);
  axis->weight = take(arena, padded), axis->pairs = take(arena, 2 * padded), axis->shuffle = take(arena, 2 * padded);
  return (int)padded;
}

static size_t axis_bytes(int count) { return (size_t)(count + 2 * GROUP) * 14 + 6 * 64; }
/* Half of a 64th to round by; less one where libjpeg rounds halves down, which it does by turns. */
static void round_as_libjpeg(const Planes *planes, int k, const double *places, int row, int count, int16_t *bias) {
  for (int i = 0; i < count; i++) {
    int odd = (int)places[i] & 1, down = 0;
    if (k && planes->hs == 2 && places[i] == floor(places[i])) down = planes->vs == 2 ? odd : !odd;
    if (k && planes->hs == 1 && planes->vs == 2) down = row % 2 == 0;
    bias[i] = 32 - down;
  }
}

static int blend(int value, int fill, int cover) { return (value * cover + fill * (64 - cover) + 32) >> 6; }

static void fill_out(uint8_t *line, const Places *across, int down, int count, int fill) {
  if (across->partial || down != 64)
    for (int i = 0; i < count; i++) line[i] = blend(line[i], fill, across->cover[i] * down >> 6);
}

static int fill_of(const Planes *planes, int k, const Row *row) { return k && planes->ycc ? 128 : row->fill; }

static int part(int size, int by) { return (size + by - 1) / by; }
static int plane_width(const Planes *planes, int k) { return k ? part(planes->width, planes->hs) : planes->width; }
static int plane_height(const Planes *planes, int k) { return k ? part(planes->height, planes->vs) : planes->height; }

static void straight_plane(const Kernels *kernels, const Planes *planes, int k, const Places *across, const Places *down,
                           const Step *step, int fill, Axis *x, Axis *y, int16_t *const rows[2], int16_t *bias,
                           uint8_t *out) {
  int have[2] = {-1, -1}, stride = planes->stride[k];
  set_axis(x, across->place, step->width, planes->x, k ? planes->hs : 1, plane_width(planes, k));
  set_axis(y, down->place, step->height, planes->y, k ? planes->vs : 1, plane_height(planes, k));
  round_as_libjpeg(planes, k, across->place, 0, step->width, bias);
  for (int i = 0; i < step->height; i++, out += step->width) {
    if (!down->cover[i]) {
      memset(out, fill, step->width);
      continue;
    }
    int upper = y->at[i], lower = upper + (y->weight[i] != 0);
    for (int row = upper; row <= lower; row++)
      if (have[row & 1] != row) {
        kernels->across(planes->at[k] + (size_t)row * stride, x, rows[row & 1]);
        have[row & 1] = row;
      }
    if (k && planes->hs == 1 && planes->vs == 2)
      round_as_libjpeg(planes, k, across->place, (int)down->place[i], step->width, bias);
    kernels->down(rows[upper & 1], rows[lower & 1], y->weight[i], bias, step->width, out);
    fill_out(out, across, down->cover[i], step->width, fill);
  }
}

static int straight(Decoder *decoder, const Kernels *kernels, const Planes *planes, const Step *step, const Row *row,
                    uint8_t *const out[3]) {
  int width = step->width, height = step->height;
  size_t bytes = (size_t)(width + height) * 9 + axis_bytes(width) + axis_bytes(height) + 6 * ((size_t)width + 64) + 8 * 64;
  if (!grow(&decoder->axes, bytes)) return fail(decoder, "needs more memory than there is");
  uint8_t *arena = decoder->axes.at;
  Places across = {take(&arena, 8 * width), take(&arena, width), 0}, down = {take(&arena, 8 * height), take(&arena, height), 0};
  Axis x, y;
  int padded = new_axis(&x, width, &arena);
  new_axis(&y, height, &arena);
  int16_t *rows[2] = {take(&arena, 2 * padded), take(&arena, 2 * padded)}, *bias = take(&arena, 2 * padded);
  memset(bias, 0, 2 * padded);
  place(step, 0, row->mirror, planes->full_width, &across);
  place(step, 1, 0, planes->full_height, &down);
  for (int k = 0; k < planes->count; k++)
    straight_plane(kernels, planes, k, &across, &down, step, fill_of(planes, k, row), &x, &y, rows, bias, out[k]);
  return 1;
}

/* Of first..last-1 the numbers j with x + j dx within 0..limit; both are equal where there are none. */
static void narrow(double x, double dx, double limit, int *first, int *last) {
  double low = *first, high = *last - 1;
  if (dx == 0 && (x < 0 || x > limit)) high = low - 1;
  if (dx != 0) {
    double one = -x / dx, other = (limit - x) / dx;
    low = fmax(low, ceil(fmin(one, other))), high = fmin(high, floor(fmax(one, other)));
  }
  *last = high < low ? *first : (int)high + 1;
  if (high >= low) *first = (int)low;
}

static void slanted(const Kernels *kernels, const Planes *planes, const Step *step, const Row *row, uint8_t *const out[3]) {
  int mirror = row->mirror;
  const double *m = step->matrix;
  double dx = mirror ? -m[0] : m[0], dy = mirror ? -m[3] : m[3];
  for (int i = 0; i < step->height; i++) {
    double x = m[1] * i + m[2] + (mirror ? m[0] * (step->width - 1) : 0);
    double y = m[4] * i + m[5] + (mirror ? m[3] * (step->width - 1) : 0);
    int first = 0, last = step->width;
    narrow(x, dx, planes->full_width - 1, &first, &last);
    narrow(y, dy, planes->full_height - 1, &first, &last);
    for (int k = 0; k < planes->count; k++) {
      int hs = k ? planes->hs : 1, vs = k ? planes->vs : 1, fill = fill_of(planes, k, row);
      Slant slant = {(x - planes->x + 0.5) / hs - 0.5, (y - planes->y + 0.5) / vs - 0.5, dx / hs, dy / vs,
                     plane_width(planes, k) - 1, plane_height(planes, k) - 1};
      uint8_t *line = out[k] + (size_t)i * step->width;
      kernels->slanted(planes->at[k], planes->stride[k], &slant, step->width, line);
      for (int j = 0; j < step->width; j++) {
        if (j == first) j = last; /* all of these are within the picture */
        if (j >= step->width) break;
        double u = x + j * dx, v = y + j * dy;
        double cover = held(fmin(u + 1, planes->full_width - u), 0, 1) * held(fmin(v + 1, planes->full_height - v), 0, 1);
        line[j] = blend(line[j], fill, (int)(cover * 64 + 0.5));
      }
    }
  }
}

/* What a pixel of the whole picture gives: of a smaller plane, what the interpolation takes for it. */
static void add_pixel(Taps *taps, int pixel, float weight, int origin, int sub, int limit) {
  double at = held((pixel - origin + 0.5) / sub - 0.5, 0, limit - 1);
  int sample = (int)at, next = sample + 1 < limit ? sample + 1 : sample;
  if (!taps->count) taps->first = sample;
  for (; taps->count < next - taps->first + 1; taps->count++) taps->weights[taps->count] = 0;
  taps->weights[sample - taps->first] += weight * (float)(1 - (at - sample));
  taps->weights[next - taps->first] += weight * (float)(at - sample);
}

static double factor_of(const Step *step, int axis) {
  return (double)(step->box[axis + 2] - step->box[axis]) / (axis ? step->full_height : step->full_width);
}

static int most_taps(const Step *step, int axis) { return (int)ceil(factor_of(step, axis)) + 4; }

/* LINEAR: between two pixels of the box. AREA: the mean of what the pixel covers. */
static void taps_of(const Step *step, int axis, int mirror, int origin, int sub, int limit, Taps *out) {
  int count = axis ? step->height : step->width, low = step->box[axis], high = step->box[axis + 2] - 1;
  double factor = factor_of(step, axis);
  for (int i = 0; i < count; i++) {
    double from = low + ((axis ? step->y : step->x) + (mirror ? count - 1 - i : i)) * factor, to = from + factor;
    out[i].count = 0;
    if (step->kind == LINEAR) {
      double at = held((from + to) / 2 - 0.5, low, high);
      int pixel = (int)at;
      add_pixel(out + i, pixel, (float)(1 - (at - pixel)), origin, sub, limit);
      if (at > pixel) add_pixel(out + i, pixel + 1, (float)(at - pixel), origin, sub, limit);
      continue;
    }
    for (int pixel = (int)held(from, low, high); pixel <= high && pixel < to - 1e-9; pixel++)
      add_pixel(out + i, pixel, (float)((fmin(pixel + 1, to) - fmax(pixel, from)) / factor), origin, sub, limit);
  }
}

static Taps *new_taps(int count, int most, uint8_t **arena) {
  Taps *taps = take(arena, count * sizeof(Taps));
  float *weights = take(arena, (size_t)count * most * sizeof(float));
  for (int i = 0; i < count; i++) taps[i].weights = weights + (size_t)i * most;
  return taps;
}

static size_t taps_bytes(int count, int most) { return count * sizeof(Taps) + (size_t)count * most * sizeof(float) + 2 * 64; }

static void filter_plane(const Kernels *kernels, const Planes *planes, int k, const Step *step, Taps *across,
                         const Taps *down, float *sums, float *mixed, uint8_t *out) {
  int begin = plane_width(planes, k), end = 0;
  for (int j = 0; j < step->width; j++) {
    if (across[j].first < begin) begin = across[j].first;
    if (across[j].first + across[j].count > end) end = across[j].first + across[j].count;
  }
  for (int j = 0; j < step->width; j++) across[j].first -= begin;
  int pixels = end - begin;
  for (int i = 0; i < step->height; i += BAND) {
    int rows = step->height - i < BAND ? step->height - i : BAND;
    memset(sums, 0, sizeof(float) * BAND * pixels);
    for (int r = 0; r < rows; r++) {
      const Taps *taps = down + i + r;
      const uint8_t *from = planes->at[k] + (size_t)taps->first * planes->stride[k] + begin;
      for (int row = 0; row < taps->count; row++, from += planes->stride[k])
        kernels->add_row(sums + (size_t)r * pixels, from, pixels, taps->weights[row]);
    }
    kernels->collect(sums, pixels, rows, across, step->width, mixed, out + (size_t)i * step->width);
  }
}

static int filtered(Decoder *decoder, const Kernels *kernels, const Planes *planes, const Step *step, int mirror,
                    uint8_t *const out[3]) {
  int wide = most_taps(step, 0), high = most_taps(step, 1);
  size_t band = BAND * sizeof(float) * (size_t)planes->width;
  size_t bytes = taps_bytes(step->width, wide) + taps_bytes(step->height, high) + 2 * (band + 64);
  if (!grow(&decoder->axes, bytes)) return fail(decoder, "needs more memory than there is");
  uint8_t *arena = decoder->axes.at;
  Taps *across = new_taps(step->width, wide, &arena), *down = new_taps(step->height, high, &arena);
  float *sums = take(&arena, band), *mixed = take(&arena, band);
  for (int k = 0; k < planes->count; k++) {
    taps_of(step, 0, mirror, planes->x, k ? planes->hs : 1, plane_width(planes, k), across);
    taps_of(step, 1, 0, planes->y, k ? planes->vs : 1, plane_height(planes, k), down);
    filter_plane(kernels, planes, k, step, across, down, sums, mixed, out[k]);
  }
  return 1;
}

static int as_it_is(const Step *step) {
  return step->kind == LINEAR && step->box[2] - step->box[0] == step->full_width &&
         step->box[3] - step->box[1] == step->full_height;
}

/* step->width x height bytes in each plane of `out`, with SLACK behind them. */
int sample(Decoder *decoder, const Kernels *kernels, const Planes *planes, const Step *step, const Row *row,
           uint8_t *const out[3]) {
  if (step->kind != WARP && !as_it_is(step)) return filtered(decoder, kernels, planes, step, row->mirror, out);
  if (step->kind != WARP || (step->matrix[1] == 0 && step->matrix[3] == 0))
    return straight(decoder, kernels, planes, step, row, out);
  slanted(kernels, planes, step, row, out);
  return 1;
}
