/* A box in another size: each pixel is a weighted sum of samples, first down, then across, in floats.

   LINEAR mixes the two pixels beside a place. AREA is the mean of what a pixel covers, here of 2 2/3 pixels of the box:

       pixels of the box     |     0     |     1     |     2     |     3     |     4     |     5     |
       pixels of the view    |               0               |               1               | ...
       weights of pixel 0      3/8          3/8         2/8
       weights of pixel 1                               1/8         3/8          3/8        1/8

   A chroma sample that stands for several pixels gets the sum of their weights. */
#include "sample.h"

#include <math.h>
#include <string.h>

/* Memory for one band of BAND rows. */
typedef struct {
  float *sums, *mixed;
} Band;

/* Add a pixel of the picture to the sum. A plane with fewer samples gives the two samples that it lies between. */
static void add_pixel(Taps* taps, int pixel, float weight, const Extent* extent) {
  double at = to_samples(pixel, extent);
  int sample = (int)at, next = least(sample + 1, extent->count - 1);
  if (!taps->count) taps->first = sample;
  for (; taps->count < next - taps->first + 1; taps->count++) taps->weights[taps->count] = 0;
  taps->weights[sample - taps->first] += weight * (float)(1 - (at - sample));
  taps->weights[next - taps->first] += weight * (float)(at - sample);
}

/* Return the pixels of the box that a pixel of the view covers. */
static double factor_of(const Step* step, Direction direction) {
  int box = step->box[direction + 2] - step->box[direction];
  return (double)box / (direction == DOWN ? step->full_height : step->full_width);
}

/* Return the largest number of samples that a pixel is made of. */
static int most_taps(const Step* step, Direction direction) { return (int)ceil(factor_of(step, direction)) + 4; }

/* Set the taps of a pixel that covers `factor` pixels of the box from `from` on: the two pixels beside its middle.
   low..high: the pixels of the box. */
static void set_linear(Taps* taps, double from, double factor, int low, int high, const Extent* extent) {
  double to = from + factor, at = clamp((from + to) / 2 - 0.5, low, high);
  int pixel = (int)at;
  add_pixel(taps, pixel, (float)(1 - (at - pixel)), extent);
  if (at > pixel) add_pixel(taps, pixel + 1, (float)(at - pixel), extent);
}

/* Set the taps of the same pixel to all pixels that it covers. */
static void set_area(Taps* taps, double from, double factor, int low, int high, const Extent* extent) {
  double to = from + factor;
  for (int pixel = (int)clamp(from, low, high); pixel <= high && pixel < to - 1e-9; pixel++)
    add_pixel(taps, pixel, (float)((fmin(pixel + 1, to) - fmax(pixel, from)) / factor), extent);
}

/* Set the taps of all pixels of the view in one direction. */
static void set_taps(const Step* step, Direction direction, bool mirror, const Extent* extent, Taps* out) {
  int count = direction == DOWN ? step->height : step->width, begin = direction == DOWN ? step->y : step->x;
  int low = step->box[direction], high = step->box[direction + 2] - 1;
  double factor = factor_of(step, direction);
  for (int i = 0; i < count; i++) {
    double from = low + (begin + (mirror ? count - 1 - i : i)) * factor;
    out[i].count = 0;
    if (step->kind == LINEAR)
      set_linear(out + i, from, factor, low, high, extent);
    else
      set_area(out + i, from, factor, low, high, extent);
  }
}

/* Return the memory that new_taps() takes. */
static size_t taps_bytes(int count, int most_weights) {
  return count * sizeof(Taps) + (size_t)count * most_weights * sizeof(float) + 2 * 64;
}

/* Allot the taps of `count` pixels, each with at most `most_weights` samples. */
static Taps* new_taps(int count, int most_weights, uint8_t** arena) {
  Taps* taps = take(arena, count * sizeof(Taps));
  float* weights = take(arena, (size_t)count * most_weights * sizeof(float));
  for (int i = 0; i < count; i++) taps[i].weights = weights + (size_t)i * most_weights;
  return taps;
}

/* Count the taps' first samples from the first that any pixel reads. Return that one; set `count` to how many follow.
 */
static int shift_taps(Taps* taps, int pixels, const Extent* extent, int* count) {
  int begin = extent->count, end = 0;
  for (int j = 0; j < pixels; j++) {
    begin = least(begin, taps[j].first);
    end = most(end, taps[j].first + taps[j].count);
  }
  for (int j = 0; j < pixels; j++) taps[j].first -= begin;
  *count = end - begin;
  return begin;
}

/* Compute one plane of a view, a band of rows at a time. */
static void filter_plane(const Kernels* kernels, const Plane* plane, const Step* step, Taps* across, const Taps* down,
                         Band band, uint8_t* out) {
  int samples, begin = shift_taps(across, step->width, &plane->extents[ACROSS], &samples);
  for (int i = 0; i < step->height; i += BAND) {
    int rows = least(step->height - i, BAND);
    memset(band.sums, 0, sizeof(float) * BAND * samples);
    for (int r = 0; r < rows; r++) {
      const Taps* taps = down + i + r;
      const uint8_t* from = plane->samples + (size_t)taps->first * plane->stride + begin;
      for (int row = 0; row < taps->count; row++, from += plane->stride)
        kernels->add_row(band.sums + (size_t)r * samples, from, samples, taps->weights[row]);
    }
    kernels->collect(band.sums, samples, rows, across, step->width, band.mixed, out + (size_t)i * step->width);
  }
}

/* Carry out a step that brings a box to another size. */
bool sample_filtered(Decoder* decoder, const Sampling* sampling, uint8_t* const out[3]) {
  const Step* step = sampling->step;
  int most_across = most_taps(step, ACROSS), most_down = most_taps(step, DOWN);
  size_t band_bytes = BAND * sizeof(float) * (size_t)sampling->planes->width;
  size_t bytes = taps_bytes(step->width, most_across) + taps_bytes(step->height, most_down) + 2 * (band_bytes + 64);
  if (!reserve(&decoder->axes, bytes)) return fail(decoder, NO_MEMORY);
  uint8_t* arena = decoder->axes.at;
  Taps* across = new_taps(step->width, most_across, &arena);
  Taps* down = new_taps(step->height, most_down, &arena);
  Band band;
  band.sums = take(&arena, band_bytes);
  band.mixed = take(&arena, band_bytes);
  for (int k = 0; k < sampling->planes->count; k++) {
    const Plane plane = plane_of(sampling, k);
    set_taps(step, ACROSS, sampling->mirror, &plane.extents[ACROSS], across);
    set_taps(step, DOWN, false, &plane.extents[DOWN], down);
    filter_plane(decoder->kernels, &plane, step, across, down, band, out[k]);
  }
  return true;
}
