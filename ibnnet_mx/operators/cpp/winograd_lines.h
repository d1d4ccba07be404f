// Of winograd_kernels.cc, for each instruction set: vectors, and what is done to one line of a tile.

#pragma once

#include <cstdint>
#include <cstring>

namespace ibnnet {
namespace VARIANT {
namespace {

#ifdef __AVX512F__
constexpr int W = 16, kRows = 14, kColumns = 8;  // accumulators: kRows * 2 registers, or kColumns * 2
#else
constexpr int W = 8, kRows = 6, kColumns = 4;
#endif
constexpr int kWide = 2 * W, kPlaces = 36, kTile = 4;

typedef float Floats __attribute__((vector_size(4 * W)));

inline Floats load(const float* from) {
  Floats found;
  memcpy(&found, from, sizeof found);
  return found;
}
inline void store(float* to, Floats value) { memcpy(to, &value, sizeof value); }
inline Floats all(float value) { return value - Floats{}; }

// The points 0, a, -a, b, -b and infinity; with the usual 1 and 2 the error is twice that of these (arXiv:1803.10986).
constexpr float a1 = 0.625f, b1 = 1.5f, a2 = a1 * a1, b2 = b1 * b1, a3 = a1 * a2, b3 = b1 * b2;
constexpr float kSum = a2 + b2, kProduct = a2 * b2;
constexpr float kOfA = 1 / (2 * a2 * (a2 - b2)), kOfB = 1 / (2 * b2 * (b2 - a2));

// The four transforms of one line, whose values are `step` and `out` apart. In place where both are the same.
inline void of_pixels(Floats* d, int step) {
  const Floats d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  const Floats t = d4 - b2 * d2, u = a1 * (d3 - b2 * d1), v = d4 - a2 * d2, w = b1 * (d3 - a2 * d1);
  d[0] = kProduct * d0 - kSum * d2 + d4;
  d[step] = t + u, d[2 * step] = t - u, d[3 * step] = v + w, d[4 * step] = v - w;
  d[5 * step] = kProduct * d1 - kSum * d3 + d5;
}

inline void of_weights(const Floats* g, int step, Floats* to, int out) {
  const Floats even = g[0] + a2 * g[2 * step], odd = a1 * g[step], even_b = g[0] + b2 * g[2 * step],
               odd_b = b1 * g[step];
  to[0] = g[0] * (1 / kProduct);
  to[out] = kOfA * (even + odd), to[2 * out] = kOfA * (even - odd);
  to[3 * out] = kOfB * (even_b + odd_b), to[4 * out] = kOfB * (even_b - odd_b);
  to[5 * out] = g[2 * step];
}

inline void to_pixels(const Floats* m, int step, Floats* y, int out) {
  const Floats p = m[step] + m[2 * step], q = m[step] - m[2 * step];
  const Floats r = m[3 * step] + m[4 * step], t = m[3 * step] - m[4 * step];
  y[0] = m[0] + p + r, y[out] = a1 * q + b1 * t, y[2 * out] = a2 * p + b2 * r;
  y[3 * out] = a3 * q + b3 * t + m[5 * step];
}

// The transposes of the latter two, for the gradient of the weights.
inline void of_gradient(const Floats* y, int step, Floats* to, int out) {
  const Floats even = y[0] + a2 * y[2 * step], odd = a1 * y[step] + a3 * y[3 * step];
  const Floats even_b = y[0] + b2 * y[2 * step], odd_b = b1 * y[step] + b3 * y[3 * step];
  to[0] = y[0];
  to[out] = even + odd, to[2 * out] = even - odd, to[3 * out] = even_b + odd_b, to[4 * out] = even_b - odd_b;
  to[5 * out] = y[3 * step];
}

inline void to_weights(const Floats* u, int step, Floats* g, int out) {
  const Floats p = kOfA * (u[step] + u[2 * step]), q = kOfB * (u[3 * step] + u[4 * step]);
  g[0] = u[0] * (1 / kProduct) + p + q;
  g[out] = kOfA * a1 * (u[step] - u[2 * step]) + kOfB * b1 * (u[3 * step] - u[4 * step]);
  g[2 * out] = a2 * p + b2 * q + u[5 * step];
}

}  // namespace
}  // namespace VARIANT
}  // namespace ibnnet
