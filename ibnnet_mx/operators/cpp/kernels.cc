// Compiled once for each instruction set, which VARIANT names; the compiler makes of a vector what its registers are.

#include "kernels.h"

#include <cstring>
#include <type_traits>

namespace ibnnet {
namespace VARIANT {
namespace {

constexpr int64_t kChunk = 64;  // pixels whose sum is taken by itself, for exactness, and read twice, from the cache

template <int W>
struct Vectors {
  typedef float Floats __attribute__((vector_size(4 * W)));
  typedef uint32_t Words __attribute__((vector_size(4 * W)));
  typedef uint16_t Halves __attribute__((vector_size(2 * W)));
};

template <int W>
using Floats = typename Vectors<W>::Floats;

template <int W>
inline Floats<W> load(const float* from) {
  Floats<W> found;
  memcpy(&found, from, sizeof found);
  return found;
}

template <int W>
inline Floats<W> load(const bfloat* from) {
  typename Vectors<W>::Halves halves;
  memcpy(&halves, from, sizeof halves);
  return (Floats<W>)(__builtin_convertvector(halves, typename Vectors<W>::Words) << 16);
}

template <int W>
inline void store(float* to, Floats<W> value) {
  memcpy(to, &value, sizeof value);
}

// To the nearest, to even; NaN stays NaN.
template <int W>
inline void store(bfloat* to, Floats<W> value) {
  typedef typename Vectors<W>::Words Words;
  const Words bits = (Words)value;
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words is_nan = (Words)(value != value);
  const auto halves = __builtin_convertvector((rounded & ~is_nan) | (0x7fc0 & is_nan), typename Vectors<W>::Halves);
  memcpy(to, &halves, sizeof halves);
}

template <int W>
inline Floats<W> positive(Floats<W> gate, Floats<W> value) {
  typedef typename Vectors<W>::Words Words;
  return (Floats<W>)((Words)value & (Words)(gate > 0));
}

// Coefficients of W channels; of one channel W times, where its pixels are taken W at a time.
template <int W>
inline Floats<W> coefficients(const float* from, bool same) {
  return same ? Floats<W>{} + from[0] : load<W>(from);
}

// A strip: W channels, or W pixels of one channel, of each of `count` steps.
template <typename T, int W>
void strip_moments(const T* x, int64_t count, int64_t stride, Floats<W>* mean, Floats<W>* squares) {
  Floats<W> m{}, q{};
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t n = count - begin < kChunk ? count - begin : kChunk;
    const T* from = x + begin * stride;
    Floats<W> sum[4] = {}, square[4] = {};
    int64_t k = 0;
    for (; k + 4 <= n; k += 4)
      for (int j = 0; j < 4; ++j) sum[j] += load<W>(from + (k + j) * stride);
    for (; k < n; ++k) sum[0] += load<W>(from + k * stride);
    const Floats<W> own = ((sum[0] + sum[1]) + (sum[2] + sum[3])) / static_cast<float>(n);
    for (k = 0; k + 4 <= n; k += 4)
      for (int j = 0; j < 4; ++j) {
        const Floats<W> d = load<W>(from + (k + j) * stride) - own;
        square[j] += d * d;
      }
    for (; k < n; ++k) {
      const Floats<W> d = load<W>(from + k * stride) - own;
      square[0] += d * d;
    }
    const float share = static_cast<float>(n) / static_cast<float>(begin + n);
    const Floats<W> step = own - m;
    m += step * share;
    q += ((square[0] + square[1]) + (square[2] + square[3])) + step * step * (share * static_cast<float>(begin));
  }
  *mean = m, *squares = q;
}

template <typename T, int W>
void strip_apply(const Affine& a, bool same, bool relu, const T* x, const T* skip, T* y, int64_t count,
                 int64_t stride) {
  const Floats<W> mean = coefficients<W>(a.mean, same), scale = coefficients<W>(a.scale, same);
  const Floats<W> shift = coefficients<W>(a.shift, same);
  for (int64_t k = 0; k < count; ++k) {
    Floats<W> value = (load<W>(x + k * stride) - mean) * scale + shift;
    if (skip) value += load<W>(skip + k * stride);
    if (relu) value = positive<W>(value, value);
    store<W>(y + k * stride, value);
  }
}

template <typename T, int W>
inline Floats<W> masked(Mask mask, Floats<W> centred, Floats<W> scale, Floats<W> shift, const T* y, Floats<W> dy) {
  if (mask == Mask::kNone) return dy;
  return positive<W>(mask == Mask::kSign ? centred * scale + shift : load<W>(y), dy);
}

template <typename T, int W, Mask M>
void strip_slopes(const Affine& a, bool same, const T* x, const T* y, const T* dy, int64_t count, int64_t stride,
                  Floats<W>* sums, Floats<W>* products) {
  const Floats<W> mean = coefficients<W>(a.mean, same), scale = coefficients<W>(a.scale, same);
  const Floats<W> shift = coefficients<W>(a.shift, same);
  Floats<W> s{}, p{};
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t end = count < begin + kChunk ? count : begin + kChunk;
    Floats<W> sum[2] = {}, product[2] = {};
    const auto take = [&](int64_t k, int j) {
      const Floats<W> centred = load<W>(x + k * stride) - mean;
      const Floats<W> g = masked<T, W>(M, centred, scale, shift, y + k * stride, load<W>(dy + k * stride));
      sum[j] += g;
      product[j] += g * centred;
    };
    int64_t k = begin;
    for (; k + 2 <= end; k += 2) take(k, 0), take(k + 1, 1);
    if (k < end) take(k, 0);
    s += sum[0] + sum[1];
    p += product[0] + product[1];
  }
  *sums = s, *products = p;
}

template <typename T, int W, Mask M>
void strip_gradient(const Affine& a, const Slope& b, bool same, const T* x, const T* y, const T* dy, T* dx, T* dskip,
                    int64_t count, int64_t stride) {
  const Floats<W> mean = coefficients<W>(a.mean, same), scale = coefficients<W>(a.scale, same);
  const Floats<W> shift = coefficients<W>(a.shift, same), of_dy = coefficients<W>(b.of_dy, same);
  const Floats<W> of_x = coefficients<W>(b.of_x, same), constant = coefficients<W>(b.constant, same);
  for (int64_t k = 0; k < count; ++k) {
    const Floats<W> centred = load<W>(x + k * stride) - mean;
    const Floats<W> g = masked<T, W>(M, centred, scale, shift, y + k * stride, load<W>(dy + k * stride));
    if (dx) store<W>(dx + k * stride, g * of_dy + (centred * of_x + constant));
    if (dskip) store<W>(dskip + k * stride, g);
  }
}

// f(width, whether one channel fills it, first pixel, steps, stride): the strips of a row.
template <typename F>
inline void strips(const Row& row, F f) {
  switch (row.lanes) {
    case 1:
      f(std::integral_constant<int, 16>(), true, 0, row.pixels / 16, 16);
      return f(std::integral_constant<int, 1>(), true, row.pixels / 16 * 16, row.pixels % 16, 1);
    case 8:
      return f(std::integral_constant<int, 8>(), false, 0, row.pixels, row.stride);
    case 16:
      return f(std::integral_constant<int, 16>(), false, 0, row.pixels, row.stride);
    default:
      return f(std::integral_constant<int, 32>(), false, 0, row.pixels, row.stride);
  }
}

template <typename F>
inline void with_mask(Mask mask, F f) {
  switch (mask) {
    case Mask::kNone:
      return f(std::integral_constant<Mask, Mask::kNone>());
    case Mask::kSign:
      return f(std::integral_constant<Mask, Mask::kSign>());
    case Mask::kOutput:
      return f(std::integral_constant<Mask, Mask::kOutput>());
  }
}

template <typename T>
void moments(const Row& row, const T* x, float* mean, float* squares) {
  float count = 0;
  strips(row, [&](auto width, bool same, int64_t first, int64_t steps, int64_t stride) {
    constexpr int W = width;
    if (!steps) return;
    Floats<W> m, q;
    strip_moments<T, W>(x + first, steps, stride, &m, &q);
    if (!same) return store<W>(mean, m), store<W>(squares, q);
    for (int j = 0; j < W; ++j) {  // W parts of one channel become one
      const float share = steps / (count + steps), step = m[j] - (count ? *mean : 0);
      *squares = (count ? *squares : 0) + q[j] + step * step * (share * count);
      *mean = (count ? *mean : 0) + step * share;
      count += steps;
    }
  });
}

template <typename T>
void apply(const Row& row, const Affine& a, bool relu, const T* x, const T* skip, T* y) {
  strips(row, [&](auto width, bool same, int64_t first, int64_t steps, int64_t stride) {
    const T* other = skip ? skip + first : nullptr;
    strip_apply<T, width>(a, same, relu, x + first, other, y + first, steps, stride);
  });
}

template <typename T>
void slopes(const Row& row, const Affine& a, Mask mask, const T* x, const T* y, const T* dy, float* sums,
            float* products) {
  if (row.lanes == 1) *sums = *products = 0;
  with_mask(mask, [&](auto kind) {
    strips(row, [&](auto width, bool same, int64_t first, int64_t steps, int64_t stride) {
      constexpr int W = width;
      Floats<W> s, p;
      const T* out = y ? y + first : x;
      strip_slopes<T, W, kind>(a, same, x + first, out, dy + first, steps, stride, &s, &p);
      if (!same) return store<W>(sums, s), store<W>(products, p);
      for (int j = 0; j < W; ++j) *sums += s[j], *products += p[j];
    });
  });
}

template <typename T>
void gradient(const Row& row, const Affine& a, Mask mask, const Slope& b, const T* x, const T* y, const T* dy, T* dx,
              T* dskip) {
  with_mask(mask, [&](auto kind) {
    strips(row, [&](auto width, bool same, int64_t first, int64_t steps, int64_t stride) {
      const T* out = y ? y + first : x;
      T *to = dx ? dx + first : nullptr, *other = dskip ? dskip + first : nullptr;
      strip_gradient<T, width, kind>(a, b, same, x + first, out, dy + first, to, other, steps, stride);
    });
  });
}

}  // namespace

extern const Kernels<float> of_float;
extern const Kernels<bfloat> of_bfloat;
const Kernels<float> of_float = {moments<float>, apply<float>, slopes<float>, gradient<float>};
const Kernels<bfloat> of_bfloat = {moments<bfloat>, apply<bfloat>, slopes<bfloat>, gradient<bfloat>};

}  // namespace VARIANT
}  // namespace ibnnet
