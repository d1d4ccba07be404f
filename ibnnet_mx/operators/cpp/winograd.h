// The interface of winograd_kernels.cc: 3x3 convolutions with a quarter of the multiplications.

#pragma once

#include <cstdint>

namespace ibnnet {

// A convolution of stride 1, padded by 1. Pictures lie in blocks of `lanes` channels, weights as (to, from, 3, 3).
struct Conv {
  int64_t pictures, from, to, height, width;
};

// The kernels of one instruction set, for blocks of `lanes` channels.
struct Winograd {
  int lanes;
  // Compute y of x and w.
  void (*forward)(const Conv&, const float* x, const float* w, float* y);
  // Compute the gradient dx of dy and w.
  void (*to_data)(const Conv&, const float* dy, const float* w, float* dx);
  // Compute the gradient dw of x and dy.
  void (*to_weight)(const Conv&, const float* x, const float* dy, float* dw);
};

constexpr int64_t kMultiple = 32;  // both channel counts must be multiples of it

// Return the kernels of this processor; nullptr where they would not be fast.
const Winograd* winograd();

}  // namespace ibnnet
