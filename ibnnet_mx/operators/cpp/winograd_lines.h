// Vectors, and the transforms of one line of a tile, for winograd_kernels.cc, which has the drawing.

#pragma once

#include <cstdint>
#include <cstring>

namespace ibnnet {
namespace VARIANT {
namespace {

// W: channels of a vector. kRows, kColumns: rows of a product that are summed up at a time, each in two registers.
#ifdef __AVX512F__
constexpr int W = 16, kRows = 14, kColumns = 8;
#else
constexpr int W = 8, kRows = 6, kColumns = 4;
#endif
constexpr int kWide = 2 * W;            // channels of a row of a product
constexpr int kTile = 4;                // pixels of a tile's side
constexpr int kSide = 6;                // values of a transformed tile's side
constexpr int kPlaces = kSide * kSide;  // values of a transformed tile

typedef float Floats __attribute__((vector_size(4 * W)));

// Read W values.
inline Floats load(const float* from) {
  Floats value;
  memcpy(&value, from, sizeof value);
  return value;
}

// Write W values.
inline void store(float* to, Floats value) { memcpy(to, &value, sizeof value); }

// Return W times the same value.
inline Floats all(float value) { return value - Floats{}; }

// The transforms evaluate polynomials at the points 0, a, -a, b, -b and infinity. The usual points 1 and 2 give twice
// the error of these (arXiv:1803.10986).
constexpr float a1 = 0.625f, b1 = 1.5f, a2 = a1 * a1, b2 = b1 * b1, a3 = a1 * a2, b3 = b1 * b2;
constexpr float kSum = a2 + b2, kProduct = a2 * b2;
constexpr float kOfA = 1 / (2 * a2 * (a2 - b2)), kOfB = 1 / (2 * b2 * (b2 - a2));

// Transform a line of 6 pixels, `step` apart, in place.
inline void transform_pixel_line(Floats* d, int step) {
  const Floats d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  const Floats t = d4 - b2 * d2, u = a1 * (d3 - b2 * d1), v = d4 - a2 * d2, w = b1 * (d3 - a2 * d1);
  d[0] = kProduct * d0 - kSum * d2 + d4;
  d[step] = t + u;
  d[2 * step] = t - u;
  d[3 * step] = v + w;
  d[4 * step] = v - w;
  d[5 * step] = kProduct * d1 - kSum * d3 + d5;
}

// Transform a line of 3 weights, `step` apart, to 6 values, `apart` apart.
inline void transform_weight_line(const Floats* g, int step, Floats* to, int apart) {
  const Floats even_a = g[0] + a2 * g[2 * step], odd_a = a1 * g[step];
  const Floats even_b = g[0] + b2 * g[2 * step], odd_b = b1 * g[step];
  to[0] = g[0] * (1 / kProduct);
  to[apart] = kOfA * (even_a + odd_a);
  to[2 * apart] = kOfA * (even_a - odd_a);
  to[3 * apart] = kOfB * (even_b + odd_b);
  to[4 * apart] = kOfB * (even_b - odd_b);
  to[5 * apart] = g[2 * step];
}

// Transform a line of 6 sums of products, `step` apart, back to 4 pixels, `apart` apart.
inline void restore_pixel_line(const Floats* m, int step, Floats* y, int apart) {
  const Floats p = m[step] + m[2 * step], q = m[step] - m[2 * step];
  const Floats r = m[3 * step] + m[4 * step], t = m[3 * step] - m[4 * step];
  y[0] = m[0] + p + r;
  y[apart] = a1 * q + b1 * t;
  y[2 * apart] = a2 * p + b2 * r;
  y[3 * apart] = a3 * q + b3 * t + m[5 * step];
}

// Transform a line of 4 gradients of pixels, `step` apart, to 6 values: the transpose of restore_pixel_line().
inline void transform_gradient_line(const Floats* y, int step, Floats* to, int apart) {
  const Floats even_a = y[0] + a2 * y[2 * step], odd_a = a1 * y[step] + a3 * y[3 * step];
  const Floats even_b = y[0] + b2 * y[2 * step], odd_b = b1 * y[step] + b3 * y[3 * step];
  to[0] = y[0];
  to[apart] = even_a + odd_a;
  to[2 * apart] = even_a - odd_a;
  to[3 * apart] = even_b + odd_b;
  to[4 * apart] = even_b - odd_b;
  to[5 * apart] = y[3 * step];
}

// Transform a line of 6 sums of products back to 3 gradients of weights: the transpose of transform_weight_line().
inline void restore_weight_line(const Floats* u, int step, Floats* g, int apart) {
  const Floats p = kOfA * (u[step] + u[2 * step]), q = kOfB * (u[3 * step] + u[4 * step]);
  g[0] = u[0] * (1 / kProduct) + p + q;
  g[apart] = kOfA * a1 * (u[step] - u[2 * step]) + kOfB * b1 * (u[3 * step] - u[4 * step]);
  g[2 * apart] = a2 * p + b2 * q + u[5 * step];
}

}  // namespace
}  // namespace VARIANT
}  // namespace ibnnet
