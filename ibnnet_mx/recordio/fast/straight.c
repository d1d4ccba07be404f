/* A step along the axes: bilinear in two passes, first across, then down.

   Between chroma samples the two passes give the same as libjpeg's "fancy" interpolation, its rounding included. So a
   view that is only cut out has the very pixels of the whole decoding. */
#include "sample.h"

#include <math.h>
#include <string.h>

#define GROUP 8 /* pixels */

/* Where each pixel of a row or column of the view is taken. */
typedef struct {
  double* place;  /* in pixels of the picture, held within it */
  uint8_t* cover; /* 64: within the picture, 0: outside, between: at the border */
  bool partial;   /* any cover is not 64 */
} Places;

/* What is computed for a view and used for each of its planes. */
typedef struct {
  Places places[2]; /* ACROSS, DOWN */
  Axis axes[2];     /* ACROSS, DOWN; for one plane */
  int16_t* rows[2]; /* the last two rows of a plane, taken across, in 64ths; row n is rows[n & 1] */
  int16_t* bias;    /* for each pixel of a row: what is added before the division by 64 */
} Work;

/* Compute the places of a step's `count` pixels in one direction, on a picture of `full` pixels. */
static void find_places(const Step* step, Direction direction, bool mirror, int full, Places* out) {
  int count = direction == DOWN ? step->height : step->width;
  double low = 0, high = full - 1, factor, shift;
  if (step->kind == WARP) {
    factor = step->matrix[4 * direction];
    shift = step->matrix[3 * direction + 2];
  } else {
    low = step->box[direction];
    high = step->box[direction + 2] - 1;
    factor = (high + 1 - low) / (direction == DOWN ? step->full_height : step->full_width);
    shift = ((direction == DOWN ? step->y : step->x) + 0.5) * factor - 0.5 + low;
  }
  out->partial = false;
  for (int i = 0; i < count; i++) {
    double at = factor * (mirror ? count - 1 - i : i) + shift, cover = 1;
    if (step->kind == WARP) cover = clamp(fmin(at + 1, full - at), 0, 1);
    out->place[i] = clamp(at, low, high);
    out->cover[i] = (uint8_t)(cover * 64 + 0.5);
    out->partial |= out->cover[i] != 64;
  }
}

/* Compute where the samples of each group lie, for a shuffle of 16 bytes. */
static void group_samples(Axis* axis) {
  axis->narrow = true;
  for (int g = 0; g < axis->groups; g++) {
    const int32_t* at = axis->at + g * GROUP;
    uint8_t* shuffle = axis->shuffle + 2 * g * GROUP;
    int first = least(at[0], at[GROUP - 1]);
    axis->base[g] = first;
    for (int i = 0; i < GROUP; i++) {
      int offset = at[i] - first;
      axis->narrow &= offset <= 14;
      shuffle[2 * i] = offset;
      shuffle[2 * i + 1] = offset + 1;
    }
  }
}

/* Compute samples and weights of `count` pixels. Those that fill up the last group repeat the last pixel. */
static void set_axis(Axis* axis, const Places* places, int count, const Extent* extent) {
  axis->count = count;
  axis->groups = divide_up(count, 2 * GROUP) * 2;
  for (int i = 0; i < axis->groups * GROUP; i++) {
    double at = to_samples(places->place[i < count ? i : count - 1], extent);
    int sample = (int)at, weight = (int)((at - sample) * 64 + 0.5);
    if (weight == 64) {
      sample++;
      weight = 0;
    }
    axis->at[i] = sample;
    axis->weight[i] = weight;
    axis->pairs[2 * i] = 64 - weight;
    axis->pairs[2 * i + 1] = weight;
  }
  group_samples(axis);
}

/* Return the memory that new_axis() takes. */
static size_t axis_bytes(int count) { return (size_t)(count + 2 * GROUP) * 14 + 6 * 64; }

/* Allot an axis of `count` pixels. Return that number, filled up to a multiple of two groups. */
static int new_axis(Axis* axis, int count, uint8_t** arena) {
  size_t padded = divide_up(count, 2 * GROUP) * (2 * GROUP);
  axis->at = take(arena, padded * 4);
  axis->base = take(arena, padded * 4);
  axis->weight = take(arena, padded);
  axis->pairs = take(arena, 2 * padded);
  axis->shuffle = take(arena, 2 * padded);
  return (int)padded;
}

/* Set bias to 32, half of a 64th, to round by; to 31 where libjpeg rounds a half down.
   libjpeg does so by turns: by pixels across where chroma is halved across, else by `row` where it is halved down. */
static void round_as_libjpeg(const Plane* plane, const Places* across, int row, int count, int16_t* bias) {
  const int sub_x = plane->extents[ACROSS].sub, sub_y = plane->extents[DOWN].sub;
  for (int i = 0; i < count; i++) {
    double place = across->place[i];
    int odd = (int)place & 1, down = 0;
    if (sub_x == 2 && place == floor(place)) down = sub_y == 2 ? odd : !odd;
    if (sub_x == 1 && sub_y == 2) down = row % 2 == 0;
    bias[i] = 32 - down;
  }
}

/* Blend a row of the view with the fill where it is not covered by the picture; down: the row's own cover. */
static void fill_outside(uint8_t* row, const Places* across, int down, int count, int fill) {
  if (!across->partial && down == 64) return;
  for (int i = 0; i < count; i++) row[i] = blend(row[i], fill, across->cover[i] * down >> 6);
}

/* Compute one plane of a view. */
static void sample_plane(const Kernels* kernels, const Plane* plane, const Step* step, Work* work, uint8_t* out) {
  const Places *across = &work->places[ACROSS], *down = &work->places[DOWN];
  Axis *x = &work->axes[ACROSS], *y = &work->axes[DOWN];
  bool rows_differ = plane->extents[ACROSS].sub == 1 && plane->extents[DOWN].sub == 2; /* in how they are rounded */
  int computed[2] = {-1, -1}; /* the number of the plane's row in work->rows; -1: none yet */
  set_axis(x, across, step->width, &plane->extents[ACROSS]);
  set_axis(y, down, step->height, &plane->extents[DOWN]);
  round_as_libjpeg(plane, across, 0, step->width, work->bias);
  for (int i = 0; i < step->height; i++, out += step->width) {
    if (!down->cover[i]) {
      memset(out, plane->fill, step->width);
      continue;
    }
    int upper = y->at[i], lower = upper + (y->weight[i] != 0);
    for (int row = upper; row <= lower; row++) {
      if (computed[row & 1] == row) continue;
      kernels->across(plane->samples + (size_t)row * plane->stride, x, work->rows[row & 1]);
      computed[row & 1] = row;
    }
    if (rows_differ) round_as_libjpeg(plane, across, (int)down->place[i], step->width, work->bias);
    kernels->down(work->rows[upper & 1], work->rows[lower & 1], y->weight[i], work->bias, step->width, out);
    fill_outside(out, across, down->cover[i], step->width, plane->fill);
  }
}

/* Allot the work's memory for a width x height view. */
static bool new_work(Decoder* decoder, int width, int height, Work* work) {
  size_t places = (size_t)(width + height) * 9, rows = 6 * ((size_t)width + 64);
  size_t bytes = places + axis_bytes(width) + axis_bytes(height) + rows + 8 * 64;
  if (!reserve(&decoder->axes, bytes)) return fail(decoder, NO_MEMORY);
  uint8_t* arena = decoder->axes.at;
  for (Direction direction = ACROSS; direction <= DOWN; direction++) {
    int count = direction == DOWN ? height : width;
    work->places[direction].place = take(&arena, 8 * count);
    work->places[direction].cover = take(&arena, count);
  }
  int padded = new_axis(&work->axes[ACROSS], width, &arena);
  new_axis(&work->axes[DOWN], height, &arena);
  work->rows[0] = take(&arena, 2 * padded);
  work->rows[1] = take(&arena, 2 * padded);
  work->bias = take(&arena, 2 * padded);
  memset(work->bias, 0, 2 * padded);
  return true;
}

/* Carry out a step whose rows are rows of the picture. */
bool sample_straight(Decoder* decoder, const Sampling* sampling, uint8_t* const out[3]) {
  const Planes* planes = sampling->planes;
  const Step* step = sampling->step;
  Work work;
  if (!new_work(decoder, step->width, step->height, &work)) return false;
  find_places(step, ACROSS, sampling->mirror, planes->full_width, &work.places[ACROSS]);
  find_places(step, DOWN, false, planes->full_height, &work.places[DOWN]);
  for (int k = 0; k < planes->count; k++) {
    Plane plane = plane_of(sampling, k);
    sample_plane(decoder->kernels, &plane, step, &work, out[k]);
  }
  return true;
}
