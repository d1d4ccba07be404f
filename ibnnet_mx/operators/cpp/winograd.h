// 3x3 convolutions by F(4x4, 3x3) of arXiv:1509.09308: a quarter of the multiplications, in tiles of 4x4 pixels.

#pragma once

#include <cstdint>

namespace ibnnet {

// Stride 1, padded by 1. Pictures lie in blocks of `lanes` channels, weights as (to, from, 3, 3).
struct Conv {
  int64_t pictures, from, to, height, width;
};

struct Winograd {
  int lanes;
  void (*forward)(const Conv&, const float* x, const float* w, float* y);
  void (*to_data)(const Conv&, const float* dy, const float* w, float* dx);
  void (*to_weight)(const Conv&, const float* x, const float* dy, float* dw);
};

constexpr int64_t kMultiple = 32;  // of which both channel counts must be

const Winograd* winograd();  // nullptr where it would not be fast

}  // namespace ibnnet
