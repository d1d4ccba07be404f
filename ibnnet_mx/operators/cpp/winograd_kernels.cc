// 3x3 convolutions by F(4x4, 3x3) of arXiv:1509.09308, compiled once for each instruction set that has enough
// registers; VARIANT names it. No result depends on the number of threads.
//
// The output is cut into tiles of 4 x 4 pixels. A tile needs 6 x 6 pixels of the input, those of its neighbours too:
//
//      input, one channel            transformed: 36 places     sums, one channel            output, one channel
//
//      . . . . . . . . . .
//      . x x x x x x . . .             p0  p1  ..  p5             m0  m1  ..  m5
//      . x # # # # x . . .   6 lines   p6  p7  ..  p11   sums     m6  m7  ..  m11   6 lines     y y y y
//      . x # # # # x . . .   down,     .                 over     .                 down,       y y y y
//      . x # # # # x . . .   then 6    .                 all      .                 then 4      y y y y
//      . x # # # # x . . .   across    .               channels   .                 across      y y y y
//      . x x x x x x . . .             p30 p31 ..  p35            m30 m31 ..  m35
//      . . . . . . . . . .
//
//      ####: the pixels of the       transform_pixels()         multiply()                  restore_pixels()
//      tile, x: around them
//
// The 3 x 3 weights of an input and an output have 36 places too (transform_weights()). At each place the sums are a
// product of matrices of its own, so that 36 multiplications replace 16 * 9 = 144:
//
//      tiles of a block              weights of a slice              sums, for each place
//
//          C: input channels             slice: output channels          slice
//         +------------+                +------+------+                 +------+------+
//         |            |                |      |######|                 |      |      |
//      T  |############|  kRows    .  C |      |######|       =      T  |      |######|  kRows
//         |            |                |      |######|                 |      |      |
//         +------------+                +------+------+                 +------+------+
//                                               kWide                           kWide
//
// multiply<kRows>() keeps the sums ###### in registers. A block has so many tiles T that their values at a place stay
// in the L2 cache. A slice has so many outputs that all of their weights stay in the L3 cache.
//
// Memory: a convolution's scratch holds the weights of a slice, which all threads read, then each thread's own block:
//
//      | weights (36, slice / kWide, C, kWide) | thread 0: tiles (36, T, C), sums (36, T, slice) | thread 1: ... |
//
// The gradient of x is the convolution of dy with turned weights. The gradient of the weights is, at each place, a
// product over tiles: pixels (T, C) transposed . gradients (T, slice) = (C, slice).

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "winograd.h"
#include "winograd_tiles.h"

namespace ibnnet {
namespace VARIANT {
namespace {

constexpr int64_t kChain = 64;               // products of a sum, before sums are added up
constexpr int64_t kBlockFloats = 7168;       // of a block of tiles at one place, in the L2 cache
constexpr int64_t kWeightBytes = 10 << 20;   // of a slice of the weights in the L3 cache
constexpr int64_t kGradientBytes = 4 << 20;  // of tiles in the L3 cache, for the gradient of the weights

// A matrix in memory, whose rows are `stride` values apart.
template <typename T>
struct Matrix {
  T* at;
  int64_t stride;
};

// Compute c (R, 2 W) = a . b, or c += a . b with `add`, over k values. a is (R, k), or (k, R) if transposed; b (k, 2
// W). Sums of kChain products are added up by themselves, because a sum's error grows with its length.
template <int R, bool transposed>
inline void multiply(Matrix<const float> a, Matrix<const float> b, Matrix<float> c, int64_t k, bool add) {
  for (int64_t first = 0; first < k; first += kChain) {
    const int64_t last = std::min(first + kChain, k);
    Floats sums[R][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = Floats{};
    for (int64_t i = first; i < last; ++i) {
      const Floats left = load(b.at + i * b.stride), right = load(b.at + i * b.stride + W);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Floats value = all(transposed ? a.at[i * a.stride + r] : a.at[r * a.stride + i]);
        sums[r][0] += value * left;
        sums[r][1] += value * right;
      }
    }
    const bool add_to_c = add || first;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      float* to = c.at + r * c.stride;
      store(to, add_to_c ? load(to) + sums[r][0] : sums[r][0]);
      store(to + W, add_to_c ? load(to + W) + sums[r][1] : sums[r][1]);
    }
  }
}

// Compute c (rows, 2 W) = a . b for 1 to R rows.
template <int R>
void multiply_rows(int rows, Matrix<const float> a, const float* b, Matrix<float> c, int64_t k) {
  if (rows == R) return multiply<R, false>(a, {b, kWide}, c, k, false);
  if constexpr (R > 1) multiply_rows<R - 1>(rows, a, b, c, k);
}

// Return memory of the calling thread. It grows and stays, because fresh pages cost more than the transforms.
float* scratch(int64_t floats) {
  struct Free {
    void operator()(float* memory) const { free(memory); }
  };
  static thread_local std::unique_ptr<float, Free> memory;
  static thread_local int64_t size = 0;
  if (floats > size) {
    memory.reset();
    size = 0;
    void* fresh = nullptr;
    if (posix_memalign(&fresh, 4096, 4 * floats)) throw std::bad_alloc();
    memory.reset(static_cast<float*>(fresh));
    size = floats;
  }
  return memory.get();
}

// Return the number of outputs whose weights are worked on at a time, a multiple of kWide.
int64_t slice_of(int64_t inputs, int64_t outputs) {
  const int64_t most = kWeightBytes / (4 * kPlaces * inputs) / kWide * kWide;
  return std::min(outputs, std::max<int64_t>(most, kWide));
}

// Multiply a block of `tiles` tiles (kPlaces, T, C) by the weights of `outputs` outputs: sums (kPlaces, T, outputs).
void multiply_block(int64_t tiles, int64_t T, int64_t C, int64_t outputs, const float* pixels, const float* weights,
                    float* sums) {
  const int64_t groups = (tiles + kRows - 1) / kRows;
  for (int p = 0; p < kPlaces; ++p)
    for (int64_t o = 0; o < outputs; o += kWide)
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t row = tiles * g / groups, rows = tiles * (g + 1) / groups - row;
        multiply_rows<kRows>(rows, {pixels + (p * T + row) * C, C}, weights + (p * outputs + o) * C,
                             {sums + (p * T + row) * outputs + o, outputs}, C);
      }
}

// Compute a convolution; turned: the gradient of its input, of which x is the gradient of the output.
// The outputs are worked on in slices; for each slice, every thread takes blocks of T tiles.
void convolve(const Conv& forward_conv, const float* x, const float* w, float* y, bool turned) {
  Conv conv = forward_conv;
  if (turned) std::swap(conv.from, conv.to);
  const Tiles tiles(conv);
  const int64_t C = conv.from, slice = slice_of(C, conv.to), threads = omp_get_max_threads();
  int64_t blocks = (tiles.count * C + kBlockFloats - 1) / kBlockFloats;
  blocks = std::min((blocks + threads - 1) / threads * threads, tiles.count);
  const int64_t T = (tiles.count + blocks - 1) / blocks;
  const int64_t weights_size = kPlaces * C * slice, block_size = kPlaces * T * (C + slice);
  float* weights = scratch(weights_size + threads * block_size);
  for (int64_t first = 0; first < conv.to; first += slice) {
    const Channels outputs = {.all = conv.to, .first = first, .count = std::min(slice, conv.to - first)};
    transform_weights(forward_conv, w, turned, outputs, weights);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t from = block * T, count = std::min(T, tiles.count - from);
      if (count <= 0) continue;
      float* pixels = weights + weights_size + omp_get_thread_num() * block_size;
      float* sums = pixels + kPlaces * T * C;
      for (int64_t t = 0; t < count; ++t) transform_pixels(tiles, from + t, x, C, pixels + t * C, T * C);
      multiply_block(count, T, C, outputs.count, pixels, weights, sums);
      for (int64_t t = 0; t < count; ++t)
        restore_pixels(tiles, from + t, sums + t * outputs.count, T * outputs.count, outputs, y);
    }
  }
}

// Winograd::forward.
void forward(const Conv& conv, const float* x, const float* w, float* y) { convolve(conv, x, w, y, false); }

// Winograd::to_data.
void to_data(const Conv& conv, const float* dy, const float* w, float* dx) { convolve(conv, dy, w, dx, true); }

// Winograd::to_weight: a slice of the outputs at a time, and of it T tiles at a time.
void to_weight(const Conv& conv, const float* x, const float* dy, float* dw) {
  const Tiles tiles(conv);
  const int64_t C = conv.from, slice = slice_of(C, conv.to);
  const int64_t T = std::min(tiles.count, std::max<int64_t>(kGradientBytes / (4 * kPlaces * (C + slice)), 1));
  float* pixels = scratch(kPlaces * (T * C + T * slice + C * slice));
  float* gradients = pixels + kPlaces * T * C;
  float* sums = gradients + kPlaces * T * slice;
  for (int64_t first = 0; first < conv.to; first += slice) {
    const Channels outputs = {.all = conv.to, .first = first, .count = std::min(slice, conv.to - first)};
    const int64_t O = outputs.count;
    for (int64_t from = 0; from < tiles.count; from += T) {
      const int64_t count = std::min(T, tiles.count - from);
      const bool transformed = first && T == tiles.count;  // all pixels were, for the slice before
#pragma omp parallel for
      for (int64_t t = 0; t < count; ++t) {
        if (!transformed) transform_pixels(tiles, from + t, x, C, pixels + t * C, T * C);
        transform_gradient(tiles, from + t, dy, outputs, gradients + t * O, T * O);
      }
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
      for (int p = 0; p < kPlaces; ++p)
        for (int64_t o = 0; o < O; o += kWide)
          for (int64_t c = 0; c < C; c += kColumns)
            multiply<kColumns, true>({pixels + p * T * C + c, C}, {gradients + p * T * O + o, O},
                                     {sums + (p * C + c) * O + o, O}, count, from != 0);
    }
    restore_weights(conv, sums, outputs, dw);
  }
}

}  // namespace

extern const Winograd of_winograd;
const Winograd of_winograd = {W, forward, to_data, to_weight};

}  // namespace VARIANT
}  // namespace ibnnet
