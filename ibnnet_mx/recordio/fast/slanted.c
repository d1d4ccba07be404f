/* A warp whose rows are slanted lines in the picture: bilinear, four samples a pixel.

       view: row i          picture

                            .  .  .  .  4  .      From one pixel to the next the place moves by (dx, dy).
       0--1--2--3--4        .  .  .  3  .  .
                            .  .  2  .  .  .      A pixel whose place is outside of the picture is the fill. If it is
                            .  1  .  .  .  .      less than one pixel outside, it is a mix of both.
                            0  .  .  .  .  .                                                                      */
#include "sample.h"

#include <math.h>

/* A line of pixels through the picture: pixel j is at (x + j dx, y + j dy). */
typedef struct {
  double x, y, dx, dy;
} Line;

/* Return the line that row i of the view is. */
static Line line_of(const Step* step, bool mirror, int i) {
  const double* m = step->matrix;
  return (Line){
      .x = m[1] * i + m[2] + (mirror ? m[0] * (step->width - 1) : 0),
      .y = m[4] * i + m[5] + (mirror ? m[3] * (step->width - 1) : 0),
      .dx = mirror ? -m[0] : m[0],
      .dy = mirror ? -m[3] : m[3],
  };
}

/* Return the line among the samples of a plane. */
static Slant slant_of(const Line* line, const Plane* plane) {
  const Extent across = plane->extents[ACROSS], down = plane->extents[DOWN];
  return (Slant){
      .x = (line->x - across.origin + 0.5) / across.sub - 0.5,
      .y = (line->y - down.origin + 0.5) / down.sub - 0.5,
      .dx = line->dx / across.sub,
      .dy = line->dy / down.sub,
      .limit_x = across.count - 1,
      .limit_y = down.count - 1,
  };
}

/* Narrow first..last-1 to the numbers j with x + j dx within 0..limit. Both are equal if there are none. */
static void narrow(double x, double dx, double limit, int* first, int* last) {
  double low = *first, high = *last - 1;
  if (dx == 0 && (x < 0 || x > limit)) high = low - 1;
  if (dx != 0) {
    double one = -x / dx, other = (limit - x) / dx;
    low = fmax(low, ceil(fmin(one, other)));
    high = fmin(high, floor(fmax(one, other)));
  }
  *last = high < low ? *first : (int)high + 1;
  if (high >= low) *first = (int)low;
}

/* Blend a row's pixels with the fill, except first..last-1, which are within the picture. */
static void fill_ends(const Line* line, const Planes* planes, int first, int last, int fill, int width, uint8_t* row) {
  for (int j = 0; j < width; j++) {
    if (j == first) j = last;
    if (j >= width) break;
    double x = line->x + j * line->dx, y = line->y + j * line->dy;
    double cover_x = clamp(fmin(x + 1, planes->full_width - x), 0, 1);
    double cover_y = clamp(fmin(y + 1, planes->full_height - y), 0, 1);
    row[j] = blend(row[j], fill, (int)(cover_x * cover_y * 64 + 0.5));
  }
}

/* Carry out a warp that is not along the axes. */
void sample_slanted(const Kernels* kernels, const Sampling* sampling, uint8_t* const out[3]) {
  const Planes* planes = sampling->planes;
  const Step* step = sampling->step;
  for (int i = 0; i < step->height; i++) {
    const Line line = line_of(step, sampling->mirror, i);
    int first = 0, last = step->width;
    narrow(line.x, line.dx, planes->full_width - 1, &first, &last);
    narrow(line.y, line.dy, planes->full_height - 1, &first, &last);
    for (int k = 0; k < planes->count; k++) {
      const Plane plane = plane_of(sampling, k);
      const Slant slant = slant_of(&line, &plane);
      uint8_t* row = out[k] + (size_t)i * step->width;
      kernels->slanted(plane.samples, plane.stride, &slant, step->width, row);
      fill_ends(&line, planes, first, last, plane.fill, step->width, row);
    }
  }
}
