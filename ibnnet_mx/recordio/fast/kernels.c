/* The inner loops, compiled for every machine, for AVX2 (-mavx2 -DAVX2) and for AVX-512. All give the same bits.

   straight.c calls across() for two rows of samples, and down() for a row of pixels between them:

       samples s of the upper row     x      x      x      x      x      across(): between two samples of a row
                                        t0      t1     t2                t = (64 - w) s[at] + w s[at + 1]
                                        |       |      |
                                        p0      p1     p2                down(): between the two rows
                                        |       |      |                 t = t_upper + w' (t_lower - t_upper) / 64
                                        t0      t1     t2                p = (t + bias) / 64
       samples s of the lower row     x      x      x      x      x

   Each pixel of the row has its own `at` and w; the row has one w'. t has 16 bits, p has 8 bits.
   AVX2 makes 16 pixels at a time: two groups of 8, each from the 16 bytes behind axis->base[group].

       16 bytes         s0 s1 s2 s3 s4 s5 s6 s7 s8 ...
       axis->shuffle    s0 s1   s1 s2   s3 s4   s4 s5   ...              two bytes a pixel
       axis->pairs      64-w w  64-w w  64-w w  64-w w  ...              products, added up to 16 bits a pixel

   slanted.c calls slanted() for a row of pixels, each between four samples of its own:

       at[0] ------+------- at[1]           above = at[0] (64 - right) + at[1] right
         |         |lower     |             below = at[stride] (64 - right) + at[stride + 1] right
         |- right -p          |             p = (above (64 - lower) + below lower + 2048) / 4096
         |                    |
     at[stride] ------- at[stride + 1]

   filter.c calls add_row() for each row of samples that a row of pixels is made of, then collect() for its pixels:

       row of samples    x    x    x    x    x    x      add_row(): sums[x] += weight of the row * row[x]
       row of samples    x    x    x    x    x    x
       row of samples    x    x    x    x    x    x
                         |    |    |    |    |    |
       sums              +    +    +    +    +    +      collect(): p = weights[0] sums[first]
                              [---- p ----]                           + weights[1] sums[first + 1] + ...           */
#include "colours.h"

#ifdef AVX2
#ifdef __AVX512BW__
#define KERNELS kernels_avx512
#else
#define KERNELS kernels_avx2
#endif
#else
#define KERNELS kernels_plain
#endif

/* Find where markers begin: a byte 0xff that no 0 follows, which would make it a byte of data. Return how many there
   are, at most `limit`. */
static int markers(const uint8_t* data, size_t length, int limit, uint32_t* at) {
  int count = 0;
  size_t i = 0;
#ifdef AVX2
  const __m256i ones = _mm256_set1_epi8(-1);
  for (; i + 33 <= length; i += 32) {
    uint32_t bits = _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i*)(data + i)), ones));
    for (; bits; bits &= bits - 1) {
      size_t place = i + __builtin_ctz(bits);
      if (!data[place + 1]) continue;
      if (count == limit) return count;
      at[count++] = (uint32_t)place;
    }
  }
#endif
  for (; i + 1 < length; i++) {
    if (data[i] != 0xff || !data[i + 1]) continue;
    if (count == limit) return count;
    at[count++] = (uint32_t)i;
  }
  return count;
}

/* Take a row of samples across, pixel by pixel. */
static void across_any(const uint8_t* row, const Axis* axis, int16_t* out) {
  for (int i = 0; i < axis->count; i++) {
    const uint8_t* at = row + axis->at[i];
    out[i] = at[0] * (64 - axis->weight[i]) + at[1] * axis->weight[i];
  }
}

#ifdef AVX2
/* Take a row of samples across, 16 pixels at a time where the axis is narrow. */
static void across(const uint8_t* row, const Axis* axis, int16_t* out) {
  if (!axis->narrow) {
    across_any(row, axis, out);
    return;
  }
  for (int g = 0; g < axis->groups; g += 2) {
    __m128i low = _mm_loadu_si128((const __m128i*)(row + axis->base[g]));
    __m128i high = _mm_loadu_si128((const __m128i*)(row + axis->base[g + 1]));
    __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    bytes = _mm256_shuffle_epi8(bytes, _mm256_loadu_si256((const __m256i*)(axis->shuffle + 16 * g)));
    __m256i sums = _mm256_maddubs_epi16(bytes, _mm256_loadu_si256((const __m256i*)(axis->pairs + 16 * g)));
    _mm256_storeu_si256((__m256i*)(out + 8 * g), sums);
  }
}

/* Mix two rows that were taken across. weight: 64ths of `lower`. */
static void down(const int16_t* upper, const int16_t* lower, int weight, const int16_t* bias, int count, uint8_t* out) {
  const __m256i part = _mm256_set1_epi16((int16_t)(weight << 9));
  for (int i = 0; i < count; i += 16) {
    __m256i a = _mm256_loadu_si256((const __m256i*)(upper + i));
    __m256i b = _mm256_loadu_si256((const __m256i*)(lower + i));
    a = _mm256_add_epi16(a, _mm256_mulhrs_epi16(_mm256_sub_epi16(b, a), part)); /* (x * weight + 32) >> 6 */
    a = _mm256_srai_epi16(_mm256_add_epi16(a, _mm256_loadu_si256((const __m256i*)(bias + i))), 6);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storeu_si128((__m128i*)(out + i), bytes);
  }
}
#else
#define across across_any

/* Mix two rows that were taken across. weight: 64ths of `lower`. */
static void down(const int16_t* upper, const int16_t* lower, int weight, const int16_t* bias, int count, uint8_t* out) {
  for (int i = 0; i < count; i++) {
    int value = upper[i] + (((lower[i] - upper[i]) * weight + 32) >> 6);
    out[i] = (uint8_t)((value + bias[i]) >> 6);
  }
}
#endif

/* Compute the pixels first..count-1 of a slanted line, one by one. */
static void slanted_any(const uint8_t* plane, int stride, const Slant* slant, int first, int count, uint8_t* out) {
  for (int i = first; i < count; i++) {
    float x = within(slant->x + (float)i * slant->dx, 0, slant->limit_x);
    float y = within(slant->y + (float)i * slant->dy, 0, slant->limit_y);
    int column = (int)x, row = (int)y;
    int right = (int)((x - (float)column) * 64 + 0.5f), lower = (int)((y - (float)row) * 64 + 0.5f);
    const uint8_t* at = plane + (size_t)row * stride + column;
    int above = at[0] * (64 - right) + at[1] * right, below = at[stride] * (64 - right) + at[stride + 1] * right;
    out[i] = (uint8_t)((above * (64 - lower) + below * lower + 2048) >> 12);
  }
}

#ifdef AVX2
/* Compute `count` pixels of a slanted line, 8 at a time. */
static void slanted(const uint8_t* plane, int stride, const Slant* slant, int count, uint8_t* out) {
  const __m256 steps = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), zero = _mm256_setzero_ps(), half = _mm256_set1_ps(0.5f);
  const __m256 last_x = _mm256_set1_ps(slant->limit_x), last_y = _mm256_set1_ps(slant->limit_y),
               fine = _mm256_set1_ps(64);
  const __m256i pair = _mm256_set1_epi32(0xffff), full = _mm256_set1_epi32(64), round = _mm256_set1_epi32(2048);
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256 number = _mm256_add_ps(_mm256_set1_ps((float)i), steps);
    __m256 x = _mm256_add_ps(_mm256_set1_ps(slant->x), _mm256_mul_ps(number, _mm256_set1_ps(slant->dx)));
    __m256 y = _mm256_add_ps(_mm256_set1_ps(slant->y), _mm256_mul_ps(number, _mm256_set1_ps(slant->dy)));
    x = _mm256_min_ps(_mm256_max_ps(x, zero), last_x);
    y = _mm256_min_ps(_mm256_max_ps(y, zero), last_y);
    __m256i column = _mm256_cvttps_epi32(x), row = _mm256_cvttps_epi32(y);
    x = _mm256_sub_ps(x, _mm256_cvtepi32_ps(column));
    y = _mm256_sub_ps(y, _mm256_cvtepi32_ps(row));
    __m256i right = _mm256_cvttps_epi32(_mm256_add_ps(_mm256_mul_ps(x, fine), half));
    __m256i lower = _mm256_cvttps_epi32(_mm256_add_ps(_mm256_mul_ps(y, fine), half));
    __m256i at = _mm256_add_epi32(_mm256_mullo_epi32(row, _mm256_set1_epi32(stride)), column);
    __m256i above = _mm256_and_si256(_mm256_i32gather_epi32((const int*)plane, at, 1), pair);
    __m256i below = _mm256_and_si256(_mm256_i32gather_epi32((const int*)(plane + stride), at, 1), pair);
    __m256i sides = _mm256_or_si256(_mm256_sub_epi32(full, right), _mm256_slli_epi32(right, 8));
    above = _mm256_maddubs_epi16(above, sides);
    below = _mm256_maddubs_epi16(below, sides);
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
/* Compute `count` pixels of a slanted line. */
static void slanted(const uint8_t* plane, int stride, const Slant* slant, int count, uint8_t* out) {
  slanted_any(plane, stride, slant, 0, count, out);
}
#endif

/* Add a weighted row of samples to the sums. */
static void add_row(float* sum, const uint8_t* row, int count, float weight) {
  for (int i = 0; i < count; i++) sum[i] += weight * row[i];
}

/* Weigh sums (BAND, pixels) across: out (rows, count). mixed: memory for (pixels, BAND), because a pixel of all rows
   is then one vector. */
static void collect(const float* sums, int pixels, int rows, const Taps* taps, int count, float* mixed, uint8_t* out) {
  for (int x = 0; x < pixels; x++)
    for (int r = 0; r < BAND; r++) mixed[x * BAND + r] = sums[(size_t)r * pixels + x];
  for (int i = 0; i < count; i++) {
    float values[BAND];
    const float* at = mixed + (size_t)taps[i].first * BAND;
    for (int r = 0; r < BAND; r++) values[r] = 0.5f;
    for (int x = 0; x < taps[i].count; x++, at += BAND)
      for (int r = 0; r < BAND; r++) values[r] += at[r] * taps[i].weights[x];
    for (int r = 0; r < rows; r++) out[(size_t)r * count + i] = (uint8_t)(values[r] > 255 ? 255 : values[r]);
  }
}

/* Copy `count` bytes, in reverse order if asked for. */
static void turn(const uint8_t* restrict from, int count, int reverse, uint8_t* restrict out) {
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

/* Copy a plane's pixels into the part `inside` of a view, and put the row's fill around them. */
static void moved(const uint8_t* from, int stride, const Box* inside, const Row* row, uint8_t* out) {
  int width = row->last.width, columns = inside->right - inside->left;
  __builtin_memset(out, row->fill, (size_t)width * row->last.height);
  out += (size_t)inside->top * width + (row->mirror ? width - inside->right : inside->left);
  for (int i = inside->top; i < inside->bottom; i++, from += stride, out += width)
    turn(from, columns, row->mirror, out);
}

const Kernels KERNELS = {markers, across, down, slanted, emit, add_row, collect, moved};
