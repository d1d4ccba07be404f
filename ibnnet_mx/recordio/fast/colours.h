/* The last part of kernels.c: from the planes of a view to its values. YCbCr -> RGB, changes of colour, mean and std.
 */
#ifndef IBNNET_COLOURS_H
#define IBNNET_COLOURS_H

#include "fast.h"

#ifdef AVX2
#include <immintrin.h>
#endif

#define BLOCK 256 /* pixels whose colours are worked on at a time */

/* Return x, at least `low`, at most `high`. */
static float within(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

/* Return x, at least 0, at most 255. */
static int16_t byte_of(int16_t x) {
  x = x < 0 ? 0 : x;
  return x > 255 ? 255 : x;
}

/* Return x / 2, rounded half up. */
static int16_t half_up(int16_t x) { return (int16_t)((x + 1) >> 1); }

/* Return x * by / 65536, rounded down. */
static int16_t scaled(int16_t x, int16_t by) { return (int16_t)((int32_t)x * by >> 16); }

/* Convert YCbCr to RGB as libjpeg does it: the factors 1.402, 0.34414, 0.71414 and 1.772 have 16 bits behind the point,
   the sum is rounded half up. half_up(scaled(2 x, factor)) is that rounding for a product. 1.402 is taken as 1 and a
   rest, 1.772 as 2 and a rest. */
static void to_rgb(const uint8_t* luma, const uint8_t* blueness, const uint8_t* redness, int count, float* r, float* g,
                   float* b) {
  for (int i = 0; i < count; i++) {
    int16_t y = luma[i], cb = (int16_t)(blueness[i] - 128), cr = (int16_t)(redness[i] - 128);
    int16_t red = (int16_t)(y + cr + half_up(scaled((int16_t)(2 * cr), 26345)));
    int16_t blue = (int16_t)(y + 2 * cb + half_up(scaled((int16_t)(2 * cb), -14942)));
    int16_t green = (int16_t)(y - cr + ((18734 * cr - 22554 * cb + 32768) >> 16));
    r[i] = byte_of(red);
    g[i] = byte_of(green);
    b[i] = byte_of(blue);
  }
}

/* 1.5 * 2^23: a float of this size has no digit behind the point, so that adding it rounds to a whole number. */
#define FLOATS_END_HERE 12582912.0f

/* Return the absolute value of x. */
static float size_of(float x) { return x < 0 ? -x : x; }

/* Return one primary colour. lightness: plus FLOATS_END_HERE, so that the sum is rounded. distance: from the hue to the
   place opposite to the colour's own, less a quarter of the circle; it decides how much of `reach` is added. */
static float primary(float lightness, float reach, float distance) {
  return lightness + reach * within(distance, -1, 1) - FLOATS_END_HERE;
}

/* Move hue, lightness and saturation, clip them, and round each to OpenCV's 8-bit units (hue: 180 for the circle).
   A hue `h` is counted in twelfths of the circle: red is at 0 and 12, green at 4, blue at 8. */
static void jitter(float* red, float* green, float* blue, int count, const int32_t hls[3]) {
  const float dh = FLOATS_END_HERE - hls[0], dl = hls[1], ds = FLOATS_END_HERE - hls[2];
  for (int i = 0; i < count; i++) {
    float r = red[i], g = green[i], b = blue[i];
    float high = r > g ? r : g, low = r < g ? r : g;
    high = high > b ? high : b;
    low = low < b ? low : b;
    float range = high - low, sum = high + low, room = 510 - sum;
    float span = sum < room ? sum : room;
    float inverse = 255 / (range * span + 1e-9f); /* one division for s and h, because divisions are slow */
    float s = range * range * inverse;
    float across = high == r ? g - b : high == g ? b - r : r - g, sector = high == r ? 0 : high == g ? 60 : 120;
    float h = across * (span * inverse * (30 / 255.0f)) + sector;
    h = h + (h < 0 ? 180.0f : 0.0f);
    h = within((h + FLOATS_END_HERE) - dh, 0, 180) * (1 / 15.0f); /* rounded and moved at once */
    float lightness = within(sum * 0.5f + FLOATS_END_HERE + dl, FLOATS_END_HERE, FLOATS_END_HERE + 255);
    float l = lightness - FLOATS_END_HERE, other = 255 - l;
    s = within((s + FLOATS_END_HERE) - ds, 0, 255);
    float reach = s * (1 / 255.0f) * (l < other ? l : other);
    float green_near = h - 1, green_far = size_of(h - 10) - 3, blue_near = size_of(h - 2) - 3, blue_far = 11 - h;
    red[i] = primary(lightness, reach, size_of(h - 6) - 3);
    green[i] = primary(lightness, reach, green_near < green_far ? green_near : green_far);
    blue[i] = primary(lightness, reach, blue_near < blue_far ? blue_near : blue_far);
  }
}

/* Set values to (value - shift) * factor, in double, so that the result is right to the last bit of a float. */
static void normalise(float* values, int count, double shift, double factor) {
  if (shift == 0 && factor == 1) return;
  for (int i = 0; i < count; i++) values[i] = (float)((values[i] - shift) * factor);
}

/* Store floats, past the caches where that can be: the next picture's decoding needs them. */
static void put_floats(const float* values, int count, float* out) {
  int i = 0;
#ifdef AVX2
  if ((uintptr_t)out % 32 == 0)
    for (; i + 8 <= count; i += 8) _mm256_stream_ps(out + i, _mm256_loadu_ps(values + i));
#endif
  for (; i < count; i++) out[i] = values[i];
}

/* Store floats that are whole numbers as bytes. */
static void put_bytes(const float* values, int count, uint8_t* out) {
  for (int i = 0; i < count; i++) out[i] = (uint8_t)(int)values[i];
}

/* Convert bytes to floats. */
static void widen(const uint8_t* bytes, int count, float* out) {
  for (int i = 0; i < count; i++) out[i] = (float)bytes[i];
}

/* Convert `pixels` pixels of `count` planes to three planes of values. A grey plane gives all three. */
static void emit(uint8_t* const planes[3], int count, bool ycc, int pixels, const int32_t hls[3], const Pixels* to,
                 void* const out[3]) {
  float rgb[3][BLOCK];
  for (int first = 0; first < pixels; first += BLOCK) {
    int block = pixels - first < BLOCK ? pixels - first : BLOCK;
    if (count == 3 && ycc)
      to_rgb(planes[0] + first, planes[1] + first, planes[2] + first, block, rgb[0], rgb[1], rgb[2]);
    else
      for (int k = 0; k < 3; k++) widen(planes[count == 3 ? k : 0] + first, block, rgb[k]);
    if (hls[0] || hls[1] || hls[2]) jitter(rgb[0], rgb[1], rgb[2], block, hls);
    for (int k = 0; k < 3; k++) {
      if (to->floats) {
        normalise(rgb[k], block, to->shift[k], to->factor[k]);
        put_floats(rgb[k], block, (float*)out[k] + first);
      } else {
        put_bytes(rgb[k], block, (uint8_t*)out[k] + first);
      }
    }
  }
}

#endif
