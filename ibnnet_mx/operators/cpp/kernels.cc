// The kernels of kernels.h, compiled once for each instruction set; VARIANT names it. A vector of W values is as many
// registers as the instruction set needs for it.
//
// A row is worked on in strips: vectors of W values that lie `stride` values apart.
//
//   lanes 16 (a block of channels)                    lanes 1 (one channel, 37 pixels)
//
//   step 0   [c0 c1 c2 ... c15]   pixel 0             step 0   [p0  p1  ... p15]   first strip: W = 16, 2 steps
//   step 1   [c0 c1 c2 ... c15]   pixel 1             step 1   [p16 p17 ... p31]
//   step 2   [c0 c1 c2 ... c15]   pixel 2             step 0   [p32]               second strip: W = 1, 5 steps
//     ...                                               ...
//   lane l of a sum belongs to channel l              all lanes of a sum belong to the channel: they are added up

#include "kernels.h"

#include <cstring>
#include <type_traits>

namespace ibnnet {
namespace VARIANT {
namespace {

// Pixels whose sum is taken by itself, for exactness. They are read twice, the second time from the cache.
constexpr int64_t kChunk = 64;

// Where a strip lies in its row. one_channel: the lanes are pixels of one channel, else they are channels.
struct Strip {
  bool one_channel;
  int64_t first, steps, stride;
};

// Vectors of W values.
template <int W>
struct Vectors {
  typedef float Floats __attribute__((vector_size(4 * W)));
  typedef uint32_t Words __attribute__((vector_size(4 * W)));
  typedef uint16_t Halves __attribute__((vector_size(2 * W)));
};

template <int W>
using Floats = typename Vectors<W>::Floats;

// Read W values.
template <int W>
inline Floats<W> load(const float* from) {
  Floats<W> value;
  memcpy(&value, from, sizeof value);
  return value;
}

// Read W values of bfloat16, the upper halves of floats.
template <int W>
inline Floats<W> load(const bfloat* from) {
  typename Vectors<W>::Halves halves;
  memcpy(&halves, from, sizeof halves);
  return (Floats<W>)(__builtin_convertvector(halves, typename Vectors<W>::Words) << 16);
}

// Write W values.
template <int W>
inline void store(float* to, Floats<W> value) {
  memcpy(to, &value, sizeof value);
}

// Write W values as bfloat16, rounded to the nearest, a tie to even. NaN stays NaN.
template <int W>
inline void store(bfloat* to, Floats<W> value) {
  typedef typename Vectors<W>::Words Words;
  const Words bits = (Words)value;
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words is_nan = (Words)(value != value);
  const auto halves = __builtin_convertvector((rounded & ~is_nan) | (0x7fc0 & is_nan), typename Vectors<W>::Halves);
  memcpy(to, &halves, sizeof halves);
}

// Return the values whose gate is positive, 0 for the others.
template <int W>
inline Floats<W> positive(Floats<W> gate, Floats<W> value) {
  typedef typename Vectors<W>::Words Words;
  return (Floats<W>)((Words)value & (Words)(gate > 0));
}

// Return the coefficients of W channels, or of one channel W times.
template <int W>
inline Floats<W> coefficients(const float* from, bool one_channel) {
  return one_channel ? Floats<W>{} + from[0] : load<W>(from);
}

// Compute the mean of a strip in each lane, and the sum of squared differences from it.
//
// Each chunk has its own mean, and squares around it. Two sets of n and m values with means a and b become one with
// mean a + (b - a) m / (n + m); its squares grow by (b - a)^2 n m / (n + m).
template <typename T, int W>
void strip_moments(Strip strip, const T* x, Floats<W>* mean, Floats<W>* squares) {
  const int64_t count = strip.steps, stride = strip.stride;
  Floats<W> m{}, q{};
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t n = count - begin < kChunk ? count - begin : kChunk;
    const T* from = x + strip.first + begin * stride;
    Floats<W> sum[4] = {}, square[4] = {};
    int64_t k = 0;
    for (; k + 4 <= n; k += 4)
      for (int j = 0; j < 4; ++j) sum[j] += load<W>(from + (k + j) * stride);
    for (; k < n; ++k) sum[0] += load<W>(from + k * stride);
    const Floats<W> chunk_mean = ((sum[0] + sum[1]) + (sum[2] + sum[3])) / static_cast<float>(n);
    for (k = 0; k + 4 <= n; k += 4)
      for (int j = 0; j < 4; ++j) {
        const Floats<W> d = load<W>(from + (k + j) * stride) - chunk_mean;
        square[j] += d * d;
      }
    for (; k < n; ++k) {
      const Floats<W> d = load<W>(from + k * stride) - chunk_mean;
      square[0] += d * d;
    }
    const float share = static_cast<float>(n) / static_cast<float>(begin + n);
    const Floats<W> step = chunk_mean - m;
    m += step * share;
    q += ((square[0] + square[1]) + (square[2] + square[3])) + step * step * (share * static_cast<float>(begin));
  }
  *mean = m;
  *squares = q;
}

// Compute y = a(x) + skip, cut off at 0 with relu, of a strip.
template <typename T, int W>
void strip_apply(Strip strip, const Affine& a, bool relu, const T* x, const T* skip, T* y) {
  const Floats<W> mean = coefficients<W>(a.mean, strip.one_channel),
                  scale = coefficients<W>(a.scale, strip.one_channel);
  const Floats<W> shift = coefficients<W>(a.shift, strip.one_channel);
  for (int64_t k = 0; k < strip.steps; ++k) {
    const int64_t at = strip.first + k * strip.stride;
    Floats<W> value = (load<W>(x + at) - mean) * scale + shift;
    if (skip) value += load<W>(skip + at);
    if (relu) value = positive<W>(value, value);
    store<W>(y + at, value);
  }
}

// Return dy where the mask lets it pass, 0 elsewhere. centred: x - mean.
template <typename T, int W>
inline Floats<W> masked(Mask mask, Floats<W> centred, Floats<W> scale, Floats<W> shift, const T* y, Floats<W> dy) {
  if (mask == Mask::kNone) return dy;
  return positive<W>(mask == Mask::kSign ? centred * scale + shift : load<W>(y), dy);
}

// Compute in each lane of a strip the sums of dy and of dy * (x - mean), where the mask M lets dy pass.
template <typename T, int W, Mask M>
void strip_slopes(Strip strip, const Affine& a, Given<T> given, Floats<W>* sums, Floats<W>* products) {
  const Floats<W> mean = coefficients<W>(a.mean, strip.one_channel),
                  scale = coefficients<W>(a.scale, strip.one_channel);
  const Floats<W> shift = coefficients<W>(a.shift, strip.one_channel);
  const T *x = given.x + strip.first, *y = given.y + strip.first, *dy = given.dy + strip.first;
  const int64_t count = strip.steps, stride = strip.stride;
  Floats<W> s{}, p{};
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t end = count < begin + kChunk ? count : begin + kChunk;
    Floats<W> sum[2] = {}, product[2] = {};
    const auto add_step = [&](int64_t k, int j) {
      const Floats<W> centred = load<W>(x + k * stride) - mean;
      const Floats<W> g = masked<T, W>(M, centred, scale, shift, y + k * stride, load<W>(dy + k * stride));
      sum[j] += g;
      product[j] += g * centred;
    };
    int64_t k = begin;
    for (; k + 2 <= end; k += 2) {
      add_step(k, 0);
      add_step(k + 1, 1);
    }
    if (k < end) add_step(k, 0);
    s += sum[0] + sum[1];
    p += product[0] + product[1];
  }
  *sums = s;
  *products = p;
}

// Compute dx by b and dskip of a strip.
template <typename T, int W, Mask M>
void strip_gradient(Strip strip, const Affine& a, const Slope& b, Given<T> given, T* dx, T* dskip) {
  const bool one = strip.one_channel;
  const Floats<W> mean = coefficients<W>(a.mean, one), scale = coefficients<W>(a.scale, one);
  const Floats<W> shift = coefficients<W>(a.shift, one), of_dy = coefficients<W>(b.of_dy, one);
  const Floats<W> of_x = coefficients<W>(b.of_x, one), constant = coefficients<W>(b.constant, one);
  for (int64_t k = 0; k < strip.steps; ++k) {
    const int64_t at = strip.first + k * strip.stride;
    const Floats<W> centred = load<W>(given.x + at) - mean;
    const Floats<W> g = masked<T, W>(M, centred, scale, shift, given.y + at, load<W>(given.dy + at));
    if (dx) store<W>(dx + at, g * of_dy + (centred * of_x + constant));
    if (dskip) store<W>(dskip + at, g);
  }
}

// Call f(width, strip) for the strips of a row; width: std::integral_constant.
template <typename F>
inline void strips(const Row& row, F f) {
  const int64_t whole = row.pixels / 16;
  const Strip channels = {.one_channel = false, .first = 0, .steps = row.pixels, .stride = row.stride};
  const Strip vectors = {.one_channel = true, .first = 0, .steps = whole, .stride = 16};
  const Strip rest = {.one_channel = true, .first = whole * 16, .steps = row.pixels % 16, .stride = 1};
  switch (row.lanes) {
    case 1:
      f(std::integral_constant<int, 16>(), vectors);
      return f(std::integral_constant<int, 1>(), rest);
    case 8:
      return f(std::integral_constant<int, 8>(), channels);
    case 16:
      return f(std::integral_constant<int, 16>(), channels);
    default:
      return f(std::integral_constant<int, 32>(), channels);
  }
}

// Call f with the mask as a constant.
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

// Kernels<T>::moments.
template <typename T>
void moments(const Row& row, const T* x, float* mean, float* squares) {
  float count = 0;
  strips(row, [&](auto width, Strip strip) {
    constexpr int W = width;
    if (!strip.steps) return;
    Floats<W> m, q;
    strip_moments<T, W>(strip, x, &m, &q);
    if (!strip.one_channel) {
      store<W>(mean, m);
      store<W>(squares, q);
      return;
    }
    for (int j = 0; j < W; ++j) {  // W parts of one channel become one
      const float share = strip.steps / (count + strip.steps), step = m[j] - (count ? *mean : 0);
      *squares = (count ? *squares : 0) + q[j] + step * step * (share * count);
      *mean = (count ? *mean : 0) + step * share;
      count += strip.steps;
    }
  });
}

// Kernels<T>::apply.
template <typename T>
void apply(const Row& row, const Affine& a, bool relu, const T* x, const T* skip, T* y) {
  strips(row, [&](auto width, Strip strip) { strip_apply<T, width>(strip, a, relu, x, skip, y); });
}

// Kernels<T>::slopes.
template <typename T>
void slopes(const Row& row, const Affine& a, Mask mask, const Given<T>& given, float* sums, float* products) {
  if (row.lanes == 1) *sums = *products = 0;
  const Given<T> readable = {given.x, given.y ? given.y : given.x, given.dy};
  with_mask(mask, [&](auto kind) {
    strips(row, [&](auto width, Strip strip) {
      constexpr int W = width;
      Floats<W> s, p;
      strip_slopes<T, W, kind>(strip, a, readable, &s, &p);
      if (!strip.one_channel) {
        store<W>(sums, s);
        store<W>(products, p);
        return;
      }
      for (int j = 0; j < W; ++j) {
        *sums += s[j];
        *products += p[j];
      }
    });
  });
}

// Kernels<T>::gradient.
template <typename T>
void gradient(const Row& row, const Affine& a, Mask mask, const Slope& b, const Given<T>& given, T* dx, T* dskip) {
  const Given<T> readable = {given.x, given.y ? given.y : given.x, given.dy};
  with_mask(mask, [&](auto kind) {
    strips(row, [&](auto width, Strip strip) { strip_gradient<T, width, kind>(strip, a, b, readable, dx, dskip); });
  });
}

}  // namespace

extern const Kernels<float> of_float;
extern const Kernels<bfloat> of_bfloat;
const Kernels<float> of_float = {moments<float>, apply<float>, slopes<float>, gradient<float>};
const Kernels<bfloat> of_bfloat = {moments<bfloat>, apply<bfloat>, slopes<bfloat>, gradient<bfloat>};

}  // namespace VARIANT
}  // namespace ibnnet
