// What is done to a row: the pixels of one picture in a block of channels that lie beside each other in memory.

#pragma once

#include <cstdint>

namespace ibnnet {

using bfloat = uint16_t;

// lanes: channels of the block, 1 where each channel's pixels lie one after another (NCHW), else 8, 16 or 32.
struct Row {
  int64_t pixels, stride;
  int lanes;
};

enum class Mask {
  kNone,
  kSign,
  kOutput
};  // where the gradient passes a ReLU: everywhere, by the sign of what is
    // computed anew, by what came out

// For each channel of a row: y = (x - mean) * scale + shift
struct Affine {
  const float *mean, *scale, *shift;
};

// For each channel of a row: dx = of_dy * dy + of_x * (x - mean) + constant
struct Slope {
  const float *of_dy, *of_x, *constant;
};

template <typename T>
struct Kernels {
  // mean and sum of squared differences from it
  void (*moments)(const Row&, const T* x, float* mean, float* squares);
  // y = x after a, + skip where it is given, cut off at 0 where relu says so
  void (*apply)(const Row&, const Affine& a, bool relu, const T* x, const T* skip, T* y);
  // sums of dy and of dy * (x - mean), dy where the mask lets it pass
  void (*slopes)(const Row&, const Affine& a, Mask mask, const T* x, const T* y, const T* dy, float* sums,
                 float* products);
  // dx by b, dskip: dy where the mask lets it pass; each where it is given
  void (*gradient)(const Row&, const Affine& a, Mask mask, const Slope& b, const T* x, const T* y, const T* dy, T* dx,
                   T* dskip);
};

template <typename T>
const Kernels<T>& kernels();  // the fastest that this processor runs

}  // namespace ibnnet
