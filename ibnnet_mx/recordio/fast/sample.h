/* What the three ways of sampling share: straight.c, slanted.c and filter.c. sample.c has the drawings. */
#ifndef IBNNET_SAMPLE_H
#define IBNNET_SAMPLE_H

#include "fast.h"

/* One direction of a plane: `count` samples, `sub` pixels apart, the first at the picture's pixel `origin`. */
typedef struct {
  int origin, sub, count;
} Extent;

/* One plane of Planes. */
typedef struct {
  const uint8_t* samples;
  int stride;        /* bytes from a row to the next */
  Extent extents[2]; /* ACROSS, DOWN */
  int fill;          /* what lies outside of the picture, 0 to 255 */
} Plane;

/* Return plane k that a sampling reads. Outside of the picture chroma has no colour. */
static inline Plane plane_of(const Sampling* sampling, int k) {
  const Planes* planes = sampling->planes;
  int sub_x = k ? planes->sub_x : 1, sub_y = k ? planes->sub_y : 1;
  return (Plane){
      .samples = planes->at[k],
      .stride = planes->stride[k],
      .extents[ACROSS] = {.origin = planes->x, .sub = sub_x, .count = divide_up(planes->width, sub_x)},
      .extents[DOWN] = {.origin = planes->y, .sub = sub_y, .count = divide_up(planes->height, sub_y)},
      .fill = k && planes->ycc ? 128 : sampling->fill,
  };
}

/* Return x, at least `low`, at most `high`. */
static inline double clamp(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

/* Return the place among a plane's samples of a place among the picture's pixels, held within the plane. */
static inline double to_samples(double place, const Extent* extent) {
  return clamp((place - extent->origin + 0.5) / extent->sub - 0.5, 0, extent->count - 1);
}

/* Return the mix of a value and the fill; cover: 64ths of the value. */
static inline int blend(int value, int fill, int cover) { return (value * cover + fill * (64 - cover) + 32) >> 6; }

/* Take `bytes` from an arena, rounded up to 64. */
static inline void* take(uint8_t** arena, size_t bytes) {
  void* at = *arena;
  *arena += (bytes + 63) & ~(size_t)63;
  return at;
}

bool sample_straight(Decoder* decoder, const Sampling* sampling, uint8_t* const out[3]);
void sample_slanted(const Kernels* kernels, const Sampling* sampling, uint8_t* const out[3]);
bool sample_filtered(Decoder* decoder, const Sampling* sampling, uint8_t* const out[3]);

#endif
