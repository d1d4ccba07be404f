// What is done to a row: the pixels of one picture in a block of channels that lie beside each other in memory.
//
//   lanes 1, NCHW          c0: p0 p1 p2 p3 ...                          a row is one channel, stride 1
//
//   lanes 8 or 16,         p0: c0 c1 c2 ... c15  p1: c0 c1 ... c15      a row is a block of channels,
//   nChw8c, nChw16c                                                     stride = lanes
//
//   lanes 8, 16 or 32,     p0: c0 c1 ... c15 | c16 ... c31 | ...        a row is a part of all channels,
//   channels last          p1: c0 c1 ... c15 | c16 ... c31 | ...        stride = all channels

#pragma once

#include <cstdint>

namespace ibnnet {

using bfloat = uint16_t;

// The shape of a row. stride: values from a pixel to the next of the same channel. lanes: channels.
struct Row {
  int64_t pixels, stride;
  int lanes;
};

// Where the gradient passes a ReLU.
enum class Mask {
  kNone,    // everywhere: there is no ReLU
  kSign,    // by the sign of the ReLU's input, which is computed anew from x
  kOutput,  // by the sign of the ReLU's output y
};

// For each channel of a row: y = (x - mean) * scale + shift
struct Affine {
  const float *mean, *scale, *shift;
};

// For each channel of a row: dx = of_dy * dy + of_x * (x - mean) + constant
struct Slope {
  const float *of_dy, *of_x, *constant;
};

// What the backward pass of a row reads: its input, its output (nullptr without Mask::kOutput), the output's gradient.
template <typename T>
struct Given {
  const T *x, *y, *dy;
};

// The kernels for values of type T. Statistics and sums are one float for each channel of the row.
template <typename T>
struct Kernels {
  // Compute the mean, and the sum of squared differences from it.
  void (*moments)(const Row&, const T* x, float* mean, float* squares);
  // Compute y = a(x) + skip, cut off at 0 with relu. skip may be nullptr.
  void (*apply)(const Row&, const Affine& a, bool relu, const T* x, const T* skip, T* y);
  // Compute the sums of dy and of dy * (x - mean), where the mask lets dy pass.
  void (*slopes)(const Row&, const Affine& a, Mask mask, const Given<T>& given, float* sums, float* products);
  // Compute dx by b, and dskip: dy where the mask lets it pass. Each may be nullptr.
  void (*gradient)(const Row&, const Affine& a, Mask mask, const Slope& b, const Given<T>& given, T* dx, T* dskip);
};

// Return the fastest kernels that this processor runs.
template <typename T>
const Kernels<T>& kernels();

}  // namespace ibnnet
