// Compiled once for each instruction set that has enough registers; VARIANT names it. No result depends on how many
// threads there are.

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "winograd.h"
#include "winograd_lines.h"

namespace ibnnet {
namespace VARIANT {
namespace {

// Sums before they are added up; floats of a block of tiles in the L2 cache; bytes of weights and of tiles in the L3.
constexpr int64_t kChain = 64, kL2 = 7168, kWeights = 10 << 20, kTiles = 4 << 20;

// c (R, 2 W) = or += a . b, over k; a is (R, k), or transposed (k, R). Sums of kChain are added up by themselves, for
// a sum's error grows with its length.
template <int R, bool transposed>
inline void multiply(const float* a, int64_t of_a, const float* b, int64_t of_b, float* c, int64_t of_c, int64_t k,
                     bool add) {
  for (int64_t first = 0; first < k; first += kChain) {
    const int64_t last = std::min(first + kChain, k);
    Floats sums[R][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = Floats{};
    for (int64_t i = first; i < last; ++i) {
      const Floats left = load(b + i * of_b), right = load(b + i * of_b + W);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Floats value = all(transposed ? a[i * of_a + r] : a[r * of_a + i]);
        sums[r][0] += value * left, sums[r][1] += value * right;
      }
    }
    const bool there = add || first;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      float* to = c + r * of_c;
      store(to, there ? load(to) + sums[r][0] : sums[r][0]);
      store(to + W, there ? load(to + W) + sums[r][1] : sums[r][1]);
    }
  }
}

template <int R>
void multiply_rows(int rows, const float* a, int64_t of_a, const float* b, float* c, int64_t of_c, int64_t k) {
  if (rows == R) return multiply<R, false>(a, of_a, b, kWide, c, of_c, k, false);
  if constexpr (R > 1) multiply_rows<R - 1>(rows, a, of_a, b, c, of_c, k);
}

// Of the calling thread; it grows and is kept, for fresh pages cost more than the transforms.
float* scratch(int64_t floats) {
  struct Free {
    void operator()(float* held) const { free(held); }
  };
  static thread_local std::unique_ptr<float, Free> held;
  static thread_local int64_t size = 0;
  if (floats > size) {
    held.reset();
    size = 0;
    void* found = nullptr;
    if (posix_memalign(&found, 4096, 4 * floats)) throw std::bad_alloc();
    held.reset(static_cast<float*>(found));
    size = floats;
  }
  return held.get();
}

struct Tiles {
  const Conv& conv;
  int64_t down, across, count;
  explicit Tiles(const Conv& c)
      : conv(c), down((c.height + 3) / kTile), across((c.width + 3) / kTile), count(c.pictures * down * across) {}

  // f(row and column of the tile's first pixel, the picture's first value, where channels begin with `channel` of `of`)
  template <typename T, typename F>
  void at(int64_t tile, T* pixels, int64_t channel, int64_t of, F f) const {
    const int64_t picture = tile / (down * across), y = tile / across % down * kTile, x = tile % across * kTile;
    f(y, x, pixels + (picture * of + channel) * conv.height * conv.width);
  }

  bool inside(int64_t y, int64_t x) const { return y >= 0 && y < conv.height && x >= 0 && x < conv.width; }
};

// The pixels under a tile of all `channels`, transformed: to[place * apart + channel].
void transform_pixels(const Tiles& tiles, int64_t tile, const float* x, int64_t channels, float* to, int64_t apart) {
  for (int64_t c = 0; c < channels; c += W)
    tiles.at(tile, x, c, channels, [&](int64_t top, int64_t left, const float* from) {
      Floats d[kPlaces];
      const int64_t width = tiles.conv.width;
      if (tiles.inside(top - 1, left - 1) && tiles.inside(top + kTile, left + kTile)) {
        for (int i = 0; i < 6; ++i)
          for (int j = 0; j < 6; ++j) d[6 * i + j] = load(from + ((top - 1 + i) * width + left - 1 + j) * W);
      } else {
        for (int i = 0; i < 6; ++i)
          for (int j = 0; j < 6; ++j) {
            const int64_t row = top - 1 + i, column = left - 1 + j;
            d[6 * i + j] = tiles.inside(row, column) ? load(from + (row * width + column) * W) : Floats{};
          }
      }
      for (int j = 0; j < 6; ++j) of_pixels(d + j, 6);
      for (int i = 0; i < 6; ++i) of_pixels(d + 6 * i, 1);
      for (int p = 0; p < kPlaces; ++p) store(to + p * apart + c, d[p]);
    });
}

// The gradients of a tile's pixels in channels from `first` on, `many` of `channels`: to[place * apart + channel -
// first]
void transform_gradient(const Tiles& tiles, int64_t tile, const float* dy, int64_t channels, int64_t first,
                        int64_t many, float* to, int64_t apart) {
  for (int64_t c = 0; c < many; c += W)
    tiles.at(tile, dy, first + c, channels, [&](int64_t top, int64_t left, const float* from) {
      Floats y[kTile * kTile], half[6 * kTile], whole[kPlaces];
      for (int i = 0; i < kTile; ++i)
        for (int j = 0; j < kTile; ++j) {
          const float* at = from + ((top + i) * tiles.conv.width + left + j) * W;
          y[kTile * i + j] = tiles.inside(top + i, left + j) ? load(at) : Floats{};
        }
      for (int j = 0; j < kTile; ++j) of_gradient(y + j, kTile, half + j, kTile);
      for (int i = 0; i < 6; ++i) of_gradient(half + kTile * i, 1, whole + 6 * i, 1);
      for (int p = 0; p < kPlaces; ++p) store(to + p * apart + c, whole[p]);
    });
}

// The other way: from[place * apart + channel - first] into the pixels of a tile.
void put_pixels(const Tiles& tiles, int64_t tile, const float* from, int64_t apart, int64_t channels, int64_t first,
                int64_t many, float* y) {
  for (int64_t c = 0; c < many; c += W)
    tiles.at(tile, y, first + c, channels, [&](int64_t top, int64_t left, float* to) {
      Floats m[kPlaces], half[kTile * 6], whole[kTile * kTile];
      for (int p = 0; p < kPlaces; ++p) m[p] = load(from + p * apart + c);
      for (int j = 0; j < 6; ++j) to_pixels(m + j, 6, half + j, 6);
      for (int i = 0; i < kTile; ++i) to_pixels(half + 6 * i, 1, whole + kTile * i, 1);
      for (int i = 0; i < kTile; ++i)
        for (int j = 0; j < kTile; ++j)
          if (tiles.inside(top + i, left + j))
            store(to + ((top + i) * tiles.conv.width + left + j) * W, whole[kTile * i + j]);
    });
}

// Weights of the outputs from `first` on, `many` of them: (place, output / 2 W, input, 2 W). turned: those of the
// backward pass, whose outputs are the forward pass's inputs.
void transform_weights(const Conv& conv, const float* w, bool turned, int64_t first, int64_t many, float* to) {
  const int64_t inputs = turned ? conv.to : conv.from;
#pragma omp parallel for collapse(2)
  for (int64_t block = 0; block < many / kWide; ++block)
    for (int64_t i = 0; i < inputs; ++i) {
      float lanes[9][kWide];
      for (int l = 0; l < kWide; ++l) {
        const int64_t output = first + block * kWide + l;
        const float* from = w + 9 * (turned ? i * conv.from + output : output * conv.from + i);
        for (int k = 0; k < 9; ++k) lanes[turned ? 8 - k : k][l] = from[k];
      }
      for (int part = 0; part < kWide; part += W) {
        Floats g[9], half[18], whole[kPlaces];
        for (int k = 0; k < 9; ++k) g[k] = load(lanes[k] + part);
        for (int k = 0; k < 3; ++k) of_weights(g + k, 3, half + k, 3);
        for (int p = 0; p < 6; ++p) of_weights(half + 3 * p, 1, whole + 6 * p, 1);
        for (int p = 0; p < kPlaces; ++p)
          store(to + ((p * (many / kWide) + block) * inputs + i) * kWide + part, whole[p]);
      }
    }
}

int64_t slice_of(int64_t inputs, int64_t outputs) {
  const int64_t most = kWeights / (4 * kPlaces * inputs) / kWide * kWide;
  return std::min(outputs, std::max<int64_t>(most, kWide));
}

// Slices of the outputs, for the weights to stay in the cache; for each, blocks of tiles, a thread's own.
void convolve(const Conv& given, const float* x, const float* w, float* y, bool turned) {
  Conv conv = given;
  if (turned) std::swap(conv.from, conv.to);
  const Tiles tiles(conv);
  const int64_t C = conv.from, slice = slice_of(C, conv.to), threads = omp_get_max_threads();
  int64_t blocks = (tiles.count * C + kL2 - 1) / kL2;
  blocks = std::min((blocks + threads - 1) / threads * threads, tiles.count);
  const int64_t T = (tiles.count + blocks - 1) / blocks;
  const int64_t of_weights = kPlaces * C * slice, own = kPlaces * T * (C + slice);
  float* weights = scratch(of_weights + threads * own);
  for (int64_t first = 0; first < conv.to; first += slice) {
    const int64_t many = std::min(slice, conv.to - first);
    transform_weights(given, w, turned, first, many, weights);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t from = block * T, count = std::min(T, tiles.count - from);
      if (count <= 0) continue;
      float* pixels = weights + of_weights + omp_get_thread_num() * own;
      float* products = pixels + kPlaces * T * C;
      for (int64_t t = 0; t < count; ++t) transform_pixels(tiles, from + t, x, C, pixels + t * C, T * C);
      const int64_t groups = (count + kRows - 1) / kRows;
      for (int p = 0; p < kPlaces; ++p)
        for (int64_t o = 0; o < many; o += kWide)
          for (int64_t g = 0; g < groups; ++g) {
            const int64_t row = count * g / groups, rows = count * (g + 1) / groups - row;
            multiply_rows<kRows>(rows, pixels + (p * T + row) * C, C, weights + (p * many + o) * C,
                                 products + (p * T + row) * many + o, many, C);
          }
      for (int64_t t = 0; t < count; ++t)
        put_pixels(tiles, from + t, products + t * many, T * many, conv.to, first, many, y);
    }
  }
}

void forward(const Conv& conv, const float* x, const float* w, float* y) { convolve(conv, x, w, y, false); }
void to_data(const Conv& conv, const float* dy, const float* w, float* dx) { convolve(conv, dy, w, dx, true); }

// What transform_weights() does, the other way; from (place, input, output) of `many` outputs.
void put_weights(const Conv& conv, const float* from, int64_t first, int64_t many, float* dw) {
#pragma omp parallel for collapse(2)
  for (int64_t o = 0; o < many; o += W)
    for (int64_t c = 0; c < conv.from; ++c) {
      Floats whole[kPlaces], half[18], g[9];
      for (int p = 0; p < kPlaces; ++p) whole[p] = load(from + (p * conv.from + c) * many + o);
      for (int j = 0; j < 6; ++j) to_weights(whole + j, 6, half + j, 6);
      for (int i = 0; i < 3; ++i) to_weights(half + 6 * i, 1, g + 3 * i, 1);
      for (int l = 0; l < W; ++l)
        for (int k = 0; k < 9; ++k) dw[9 * ((first + o + l) * conv.from + c) + k] = g[k][l];
    }
}

void to_weight(const Conv& conv, const float* x, const float* dy, float* dw) {
  const Tiles tiles(conv);
  const int64_t C = conv.from, slice = slice_of(C, conv.to);
  const int64_t T = std::min(tiles.count, std::max<int64_t>(kTiles / (4 * kPlaces * (C + slice)), 1));
  float* pixels = scratch(kPlaces * (T * C + T * slice + C * slice));
  float *gradients = pixels + kPlaces * T * C, *sums = gradients + kPlaces * T * slice;
  for (int64_t first = 0; first < conv.to; first += slice) {
    const int64_t many = std::min(slice, conv.to - first);
    for (int64_t from = 0; from < tiles.count; from += T) {
      const int64_t count = std::min(T, tiles.count - from);
      const bool known = first && T == tiles.count;  // the pixels, from the slice before
#pragma omp parallel for
      for (int64_t t = 0; t < count; ++t) {
        if (!known) transform_pixels(tiles, from + t, x, C, pixels + t * C, T * C);
        transform_gradient(tiles, from + t, dy, conv.to, first, many, gradients + t * many, T * many);
      }
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
      for (int p = 0; p < kPlaces; ++p)
        for (int64_t o = 0; o < many; o += kWide)
          for (int64_t c = 0; c < C; c += kColumns)
            multiply<kColumns, true>(pixels + p * T * C + c, C, gradients + p * T * many + o, many,
                                     sums + (p * C + c) * many + o, many, count, from != 0);
    }
    put_weights(conv, sums, first, many, dw);
  }
}

}  // namespace

extern const Winograd of_winograd;
const Winograd of_winograd = {W, forward, to_data, to_weight};

}  // namespace VARIANT
}  // namespace ibnnet
