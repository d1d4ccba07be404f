/* The inner loops, compiled for every machine, for AVX2 (-mavx2 -DAVX2) and AVX-512; all give the same bits. */
#include "fast.h"

#ifdef AVX2
#include <immintrin.h>
#ifdef __AVX512BW__
#define KERNELS kernels_avx512
#else
#define KERNELS kernels_avx2
#endif
#else
#define KERNELS kernels_plain
#endif

#define BLOCK 256 /* pixels whose colours are worked on at a time */

/* Where markers begin: a byte 0xff that no 0 follows, which would make it one of data. At most `most`; how many. */
static int markers(const uint8_t *data, size_t length, int most, uint32_t *at) {
  int count = 0;
  size_t i = 0;
#ifdef AVX2
  const __m256i ones = _mm256_set1_epi8(-1);
  for (; i + 33 <= length; i += 32) {
    uint32_t found = _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(data + i)), ones));
    for (; found; found &= found - 1) {
      size_t place = i + __builtin_ctz(found);
      if (!data[place + 1]) continue;
      if (count == most) return count;
      at[count++] = (uint32_t)place;
    }
  }
#endif
  for (; i + 1 < length; i++) {
    if (data[i] != 0xff || !data[i + 1]) continue;
    if (count == most) return count;
    at[count++] = (uint32_t)i;
  }
  return count;
}

static void across_any(const uint8_t *row, const Axis *axis, int16_t *out) {
  for (int i = 0; i < axis->count; i++) {
    const uint8_t *at = row + axis->at[i];
    out[i] = at[0] * (64 - axis->weight[i]) + at[1] * axis->weight[i];
  }
}

#ifdef AVX2
static void across(const uint8_t *row, const Axis *axis, int16_t *out) {
  if (!axis->narrow) {
    across_any(row, axis, out);
    return;
  }
  for (int g = 0; g < axis->groups; g += 2) {
    __m128i low = _mm_loadu_si128((const __m128i *)(row + axis->base[g]));
    __m128i high = _mm_loadu_si128((const __m128i *)(row + axis->base[g + 1]));
    __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    bytes = _mm256_shuffle_epi8(bytes, _mm256_loadu_si256((const __m256i *)(axis->shuffle + 16 * g)));
    __m256i sums = _mm256_maddubs_epi16(bytes, _mm256_loadu_si256((const __m256i *)(axis->pairs + 16 * g)));
    _mm256_storeu_si256((__m256i *)(out + 8 * g), sums);
  }
}

static void down(const int16_t *upper, const int16_t *lower, int weight, const int16_t *bias, int count, uint8_t *out) {
  const __m256i part = _mm256_set1_epi16((int16_t)(weight << 9));
  for (int i = 0; i < count; i += 16) {
    __m256i a = _mm256_loadu_si256((const __m256i *)(upper + i)), b = _mm256_loadu_si256((const __m256i *)(lower + i));
    a = _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_sub_epi16(b, a), part)); /* (x * weight + 32) >> 6 */
    a = _mm256_srai_epi16(_mm256_add_epi16(a, _mm256_loadu_si256((const __m256i *)(bias + i))), 6);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storeu_si128((__m128i *)(out + i), bytes);
  }
}
#else
#define across across_any

static void down(const int16_t *upper, const int16_t *lower, int weight, const int16_t *bias, int count, uint8_t *out) {
  for (int i = 0; i < count; i++) {
    int value = upper[i] + (((lower[i] - upper[i]) * weight + 32) >> 6);
    out[i] = (uint8_t)((value + bias[i]) >> 6);
  }
}
#endif

static float within(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

static void slanted_any(const uint8_t *plane, int stride, const Slant *slant, int first, int count, uint8_t *out) {
  for (int i = first; i < count; i++) {
    float x = within(slant->x + (float)i * slant->dx, 0, slant->limit_x);
    float y = within(slant->y + (float)i * slant->dy, 0, slant->limit_y);
    int column = (int)x, row = (int)y;
    int right = (int)((x - (float)column) * 64 + 0.5f), lower = (int)((y - (float)row) * 64 + 0.5f);
    const uint8_t *at = plane + (size_t)row * stride + column;
    int above = at[0] * (64 - right) + at[1] * right, below = at[stride] * (64 - right) + at[stride + 1] * right;
    out[i] = (uint8_t)((above * (64 - lower) + below * lower + 2048) >> 12);
  }
}

#ifdef AVX2
static void slanted(const uint8_t *plane, int stride, const Slant *slant, int count, uint8_t *out) {
  const __m256 steps = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), zero = _mm256_setzero_ps(), half = _mm256_set1_ps(0.5f);
  const __m256 last_x = _mm256_set1_ps(slant->limit_x), last_y = _mm256_set1_ps(slant->limit_y), fine = _mm256_set1_ps(64);
  const __m256i pair = _mm256_set1_epi32(0xffff), full = _mm256_set1_epi32(64), round = _mm256_set1_epi32(2048);
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256 number = _mm256_add_ps(_mm256_set1_ps((float)i), steps);
    __m256 x = _mm256_add_ps(_mm256_set1_ps(slant->x), _mm256_mul_ps(number, _mm256_set1_ps(slant->dx)));
    __m256 y = _mm256_add_ps(_mm256_set1_ps(slant->y), _mm256_mul_ps(number, _mm256_set1_ps(slant->dy)));
    x = _mm256_min_ps(_mm256_max_ps(x, zero), last_x), y = _mm256_min_ps(_mm256_max_ps(y, zero), last_y);
    __m256i column = _mm256_cvttps_epi32(x), row = _mm256_cvttps_epi32(y);
    x = _mm256_sub_ps(x, _mm256_cvtepi32_ps(column)), y = _mm256_sub_ps(y, _mm256_cvtepi32_ps(row));
    __m256i right = _mm256_cvttps_epi32(_mm256_add_ps(_mm256_mul_ps(x, fine), half));
    __m256i lower = _mm256_cvttps_epi32(_mm256_add_ps(_mm256_mul_ps(y, fine), half));
    __m256i at = _mm256_add_epi32(_mm256_mullo_epi32(row, _mm256_set1_epi32(stride)), column);
    __m256i above = _mm256_and_si256(_mm256_i32gather_epi32((const int *)plane, at, 1), pair);
    __m256i below = _mm256_and_si256(_mm256_i32gather_epi32((const int *)(plane + stride), at, 1), pair);
    __m256i sides = _mm256_or_si256(_mm256_sub_epi32(full, right), _mm256_slli_epi32(right, 8));
    above = _mm256_maddubs_epi16(above, sides), below = _mm256_maddubs_epi16(below, sides);
    __m256i both = _mm256_or_si256(above, _mm256_slli_epi32(below, 16));
    __m256i ends = _mm256_or_si256(_mm256_sub_epi32(full, lower), _mm256_slli_epi32(lower, 16));
    both = _mm256_srli_epi32(_mm256_add_epi32(_mm256_madd_epi16(both, ends), round), 12);
    both = _mm256_packus_epi16(_mm256_packus_epi32(both, both), both);
    int32_t four[2] = {_mm256_extract_epi32(both, 0), _mm256_extract_epi32(both, 4)};
    __builtin_memcpy(out + i, four, 8);
  }
  slanted_any(plane, stride, slant, i, count, out);
}
#else
static void slanted(const uint8_t *plane, int stride, const Slant *slant, int count, uint8_t *out) {
  slanted_any(plane, stride, slant, 0, count, out);
}
#endif

static void add_row(float *sum, const uint8_t *row, int count, float weight) {
  for (int i = 0; i < count; i++) sum[i] += weight * row[i];
}

/* sums (BAND, pixels) -> out (rows, count). The rows are mixed first, so that a pixel of all of them is one vector. */
static void collect(const float *sums, int pixels, int rows, const Taps *taps, int count, float *mixed, uint8_t *out) {
  for (int x = 0; x < pixels; x++)
    for (int r = 0; r < BAND; r++) mixed[x * BAND + r] = sums[(size_t)r * pixels + x];
  for (int i = 0; i < count; i++) {
    float values[BAND];
    const float *at = mixed + (size_t)taps[i].first * BAND;
    for (int r = 0; r < BAND; r++) values[r] = 0.5f;
    for (int x = 0; x < taps[i].count; x++, at += BAND)
      for (int r = 0; r < BAND; r++) values[r] += at[r] * taps[i].weights[x];
    for (int r = 0; r < rows; r++) out[(size_t)r * count + i] = (uint8_t)(values[r] > 255 ? 255 : values[r]);
  }
}

static int16_t byte_of(int16_t x) {
  x = x < 0 ? 0 : x;
  return x > 255 ? 255 : x;
}

static int16_t half_up(int16_t x) { return (int16_t)((x + 1) >> 1); }
static int16_t scaled(int16_t x, int16_t by) { return (int16_t)((int32_t)x * by >> 16); }

/* As libjpeg does it: 1.402, 0.34414, 0.71414, 1.772 to 16 bits behind the point, the sum rounded half up. Twice a
   16-bit product's upper half and one, halved, is that rounding; 1.402 and 1.772 are taken as 1 and 2 and a rest. */
static void to_rgb(const uint8_t *luma, const uint8_t *blueness, const uint8_t *redness, int count, float *r, float *g,
                   float *b) {
  for (int i = 0; i < count; i++) {
    int16_t y = luma[i], cb = (int16_t)(blueness[i] - 128), cr = (int16_t)(redness[i] - 128);
    int16_t red = (int16_t)(y + cr + half_up(scaled((int16_t)(2 * cr), 26345)));
    int16_t blue = (int16_t)(y + 2 * cb + half_up(scaled((int16_t)(2 * cb), -14942)));
    int16_t green = (int16_t)(y - cr + ((18734 * cr - 22554 * cb + 32768) >> 16));
    r[i] = byte_of(red), g[i] = byte_of(green), b[i] = byte_of(blue);
  }
}

#define FLOATS_END_HERE 12582912.0f /* 1.5 * 2^23: a float of this size has no digit behind the point */

static float size_of(float x) { return x < 0 ? -x : x; }

/* A primary colour: lightness (plus FLOATS_END_HERE, so that the sum is rounded) and what the hue gives, by its distance
   from the place opposite to the colour's own, less a quarter of the circle. */
static float primary(float lightness, float reach, float distance) {
  return lightness + reach * within(distance, -1, 1) - FLOATS_END_HERE;
}

/* Hue, lightness and saturation moved and clipped, each rounded to OpenCV's 8-bit units (hue: 180 for the circle). */
static void jitter(float *red, float *green, float *blue, int count, const int32_t hls[3]) {
  const float dh = FLOATS_END_HERE - hls[0], dl = hls[1], ds = FLOATS_END_HERE - hls[2];
  for (int i = 0; i < count; i++) {
    float r = red[i], g = green[i], b = blue[i];
    float high = r > g ? r : g, low = r < g ? r : g;
    high = high > b ? high : b, low = low < b ? low : b;
    float range = high - low, sum = high + low, room = 510 - sum;
    float most = sum < room ? sum : room, inverse = 255 / (range * most + 1e-9f); /* of both, as divisions are slow */
    float s = range * range * inverse;
    float across = high == r ? g - b : high == g ? b - r : r - g, sector = high == r ? 0 : high == g ? 60 : 120;
    float h = across * (most * inverse * (30 / 255.0f)) + sector;
    h = h + (h < 0 ? 180.0f : 0.0f);
    h = within((h + FLOATS_END_HERE) - dh, 0, 180) * (1 / 15.0f); /* rounded and moved at once */
    float lightness = within(sum * 0.5f + FLOATS_END_HERE + dl, FLOATS_END_HERE, FLOATS_END_HERE + 255);
    float l = lightness - FLOATS_END_HERE, other = 255 - l;
    s = within((s + FLOATS_END_HERE) - ds, 0, 255);
    float reach = s * (1 / 255.0f) * (l < other ? l : other);
    float green_near = h - 1, green_far = size_of(h - 10) - 3, blue_near = size_of(h - 2) - 3, blue_far = 11 - h;
    red[i] = primary(lightness, reach, size_of(h - 6) - 3); /* places: red 0 and 12, green 4, blue 8 */
    green[i] = primary(lightness, reach, green_near < green_far ? green_near : green_far);
    blue[i] = primary(lightness, reach, blue_near < blue_far ? blue_near : blue_far);
  }
}

/* In double, so that what is stored is (value - mean) / std to the last bit of a float. */
static void normalise(float *values, int count, double shift, double factor) {
  if (shift == 0 && factor == 1) return;
  for (int i = 0; i < count; i++) values[i] = (float)((values[i] - shift) * factor);
}

static void put_floats(const float *values, int count, float *out) {
  int i = 0;
#ifdef AVX2
  if ((uintptr_t)out % 32 == 0) /* past the caches, which the next picture's decoding needs */
    for (; i + 8 <= count; i += 8) _mm256_stream_ps(out + i, _mm256_loadu_ps(values + i));
#endif
  for (; i < count; i++) out[i] = values[i];
}

static void put_bytes(const float *values, int count, uint8_t *out) {
  for (int i = 0; i < count; i++) out[i] = (uint8_t)(int)values[i];
}

static void widen(const uint8_t *bytes, int count, float *out) {
  for (int i = 0; i < count; i++) out[i] = (float)bytes[i];
}

static void turn(const uint8_t *restrict from, int count, int reverse, uint8_t *restrict out) {
  if (!reverse) {
    __builtin_memcpy(out, from, count);
    return;
  }
  int i = 0;
  for (uint64_t eight; i + 8 <= count; i += 8) {
    __builtin_memcpy(&eight, from + count - i - 8, 8);
    eight = __builtin_bswap64(eight);
    __builtin_memcpy(out + i, &eight, 8);
  }
  for (; i < count; i++) out[i] = from[count - 1 - i];
}

/* A view's bytes, of which `inside` are pixels of a plane, and the row's fill around them. */
static void moved(const uint8_t *from, int stride, const Box *inside, const Row *row, uint8_t *out) {
  int width = row->last.width, columns = inside->right - inside->left;
  __builtin_memset(out, row->fill, (size_t)width * row->last.height);
  out += (size_t)inside->top * width + (row->mirror ? width - inside->right : inside->left);
  for (int i = inside->top; i < inside->bottom; i++, from += stride, out += width) turn(from, columns, row->mirror, out);
}

static void emit(uint8_t *const planes[3], int count, int ycc, int pixels, const int32_t hls[3], const Pixels *to,
                 void *const out[3]) {
  float rgb[3][BLOCK];
  for (int first = 0; first < pixels; first += BLOCK) {
    int some = pixels - first < BLOCK ? pixels - first : BLOCK;
    if (count == 3 && ycc)
      to_rgb(planes[0] + first, planes[1] + first, planes[2] + first, some, rgb[0], rgb[1], rgb[2]);
    else
      for (int k = 0; k < 3; k++) widen(planes[count == 3 ? k : 0] + first, some, rgb[k]);
    if (hls[0] || hls[1] || hls[2]) jitter(rgb[0], rgb[1], rgb[2], some, hls);
    for (int k = 0; k < 3; k++) {
      if (to->floats) {
        normalise(rgb[k], some, to->shift[k], to->factor[k]);
        put_floats(rgb[k], some, (float *)out[k] + first);
      } else {
        put_bytes(rgb[k], some, (uint8_t *)out[k] + first);
      }
    }
  }
}

const Kernels KERNELS = {markers, across, down, slanted, emit, add_row, collect, moved};
