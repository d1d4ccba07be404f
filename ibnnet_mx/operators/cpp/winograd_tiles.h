// The transforms of tiles and weights for winograd_kernels.cc, which has the drawing.
//
// A transformed tile has a value of each channel for each of 36 places. The values of a place lie `apart` behind those
// of the place before it: to[place * apart + channel].

#pragma once

#include "winograd.h"
#include "winograd_lines.h"

namespace ibnnet {
namespace VARIANT {
namespace {

// The tiles of a batch: rows of tiles of each picture, one picture after another.
struct Tiles {
  const Conv& conv;
  int64_t down, across, count;

  // Count the tiles. Those at the right and lower edge may reach beyond the picture.
  explicit Tiles(const Conv& c)
      : conv(c), down((c.height + 3) / kTile), across((c.width + 3) / kTile), count(c.pictures * down * across) {}

  // Call f(top, left, pixels): the tile's first row and column, and its picture from channel `channel` of `channels`
  // on.
  template <typename T, typename F>
  void at(int64_t tile, T* pixels, int64_t channel, int64_t channels, F f) const {
    const int64_t picture = tile / (down * across), y = tile / across % down * kTile, x = tile % across * kTile;
    f(y, x, pixels + (picture * channels + channel) * conv.height * conv.width);
  }

  // Return true for a pixel of the picture, false for the padding.
  bool inside(int64_t y, int64_t x) const { return y >= 0 && y < conv.height && x >= 0 && x < conv.width; }
};

// The channels that are worked on: `count` of `all`, from `first` on.
struct Channels {
  int64_t all, first, count;
};

// Transform the 6 x 6 pixels under a tile, of all `channels`.
void transform_pixels(const Tiles& tiles, int64_t tile, const float* x, int64_t channels, float* to, int64_t apart) {
  for (int64_t c = 0; c < channels; c += W)
    tiles.at(tile, x, c, channels, [&](int64_t top, int64_t left, const float* from) {
      Floats d[kPlaces];
      const int64_t width = tiles.conv.width;
      if (tiles.inside(top - 1, left - 1) && tiles.inside(top + kTile, left + kTile)) {
        for (int i = 0; i < kSide; ++i)
          for (int j = 0; j < kSide; ++j) d[kSide * i + j] = load(from + ((top - 1 + i) * width + left - 1 + j) * W);
      } else {
        for (int i = 0; i < kSide; ++i)
          for (int j = 0; j < kSide; ++j) {
            const int64_t row = top - 1 + i, column = left - 1 + j;
            d[kSide * i + j] = tiles.inside(row, column) ? load(from + (row * width + column) * W) : Floats{};
          }
      }
      for (int j = 0; j < kSide; ++j) transform_pixel_line(d + j, kSide);
      for (int i = 0; i < kSide; ++i) transform_pixel_line(d + kSide * i, 1);
      for (int p = 0; p < kPlaces; ++p) store(to + p * apart + c, d[p]);
    });
}

// Transform the gradients of a tile's 4 x 4 pixels: to[place * apart + channel - channels.first].
void transform_gradient(const Tiles& tiles, int64_t tile, const float* dy, Channels channels, float* to,
                        int64_t apart) {
  for (int64_t c = 0; c < channels.count; c += W)
    tiles.at(tile, dy, channels.first + c, channels.all, [&](int64_t top, int64_t left, const float* from) {
      Floats y[kTile * kTile], half[kSide * kTile], whole[kPlaces];
      for (int i = 0; i < kTile; ++i)
        for (int j = 0; j < kTile; ++j) {
          const float* at = from + ((top + i) * tiles.conv.width + left + j) * W;
          y[kTile * i + j] = tiles.inside(top + i, left + j) ? load(at) : Floats{};
        }
      for (int j = 0; j < kTile; ++j) transform_gradient_line(y + j, kTile, half + j, kTile);
      for (int i = 0; i < kSide; ++i) transform_gradient_line(half + kTile * i, 1, whole + kSide * i, 1);
      for (int p = 0; p < kPlaces; ++p) store(to + p * apart + c, whole[p]);
    });
}

// Transform the sums from[place * apart + channel - channels.first] back, into the pixels of a tile.
void restore_pixels(const Tiles& tiles, int64_t tile, const float* from, int64_t apart, Channels channels, float* y) {
  for (int64_t c = 0; c < channels.count; c += W)
    tiles.at(tile, y, channels.first + c, channels.all, [&](int64_t top, int64_t left, float* to) {
      Floats m[kPlaces], half[kTile * kSide], whole[kTile * kTile];
      for (int p = 0; p < kPlaces; ++p) m[p] = load(from + p * apart + c);
      for (int j = 0; j < kSide; ++j) restore_pixel_line(m + j, kSide, half + j, kSide);
      for (int i = 0; i < kTile; ++i) restore_pixel_line(half + kSide * i, 1, whole + kTile * i, 1);
      for (int i = 0; i < kTile; ++i)
        for (int j = 0; j < kTile; ++j)
          if (tiles.inside(top + i, left + j))
            store(to + ((top + i) * tiles.conv.width + left + j) * W, whole[kTile * i + j]);
    });
}

// Transform the weights of the outputs `outputs`: to (place, output / 2 W, input, 2 W).
// turned: the weights of the gradient of x, where the forward pass's inputs are outputs and the weights are turned by
// 180 degrees.
void transform_weights(const Conv& conv, const float* w, bool turned, Channels outputs, float* to) {
  const int64_t inputs = turned ? conv.to : conv.from, blocks = outputs.count / kWide;
#pragma omp parallel for collapse(2)
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t i = 0; i < inputs; ++i) {
      float lanes[9][kWide];
      for (int l = 0; l < kWide; ++l) {
        const int64_t output = outputs.first + block * kWide + l;
        const float* from = w + 9 * (turned ? i * conv.from + output : output * conv.from + i);
        for (int k = 0; k < 9; ++k) lanes[turned ? 8 - k : k][l] = from[k];
      }
      for (int part = 0; part < kWide; part += W) {
        Floats g[9], half[3 * kSide], whole[kPlaces];
        for (int k = 0; k < 9; ++k) g[k] = load(lanes[k] + part);
        for (int k = 0; k < 3; ++k) transform_weight_line(g + k, 3, half + k, 3);
        for (int p = 0; p < kSide; ++p) transform_weight_line(half + 3 * p, 1, whole + kSide * p, 1);
        for (int p = 0; p < kPlaces; ++p) store(to + ((p * blocks + block) * inputs + i) * kWide + part, whole[p]);
      }
    }
}

// Transform sums of products from (place, input, output) back, into the gradients of the weights of `outputs`.
void restore_weights(const Conv& conv, const float* from, Channels outputs, float* dw) {
#pragma omp parallel for collapse(2)
  for (int64_t o = 0; o < outputs.count; o += W)
    for (int64_t c = 0; c < conv.from; ++c) {
      Floats whole[kPlaces], half[3 * kSide], g[9];
      for (int p = 0; p < kPlaces; ++p) whole[p] = load(from + (p * conv.from + c) * outputs.count + o);
      for (int j = 0; j < kSide; ++j) restore_weight_line(whole + j, kSide, half + j, kSide);
      for (int i = 0; i < 3; ++i) restore_weight_line(half + kSide * i, 1, g + 3 * i, 1);
      for (int l = 0; l < W; ++l)
        for (int k = 0; k < 9; ++k) dw[9 * ((outputs.first + o + l) * conv.from + c) + k] = g[k][l];
    }
}

}  // namespace
}  // namespace VARIANT
}  // namespace ibnnet
