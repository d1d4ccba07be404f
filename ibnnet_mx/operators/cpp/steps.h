// Helpers for the operators that talk to mxnet through mxnet/lib_api.h, the interface in its wheel: MABN, BatchNorm of
// small parts and centred weights.
//
// They compute the same as the graphs in mabn.py and batch.py, which run where this library is not built. A state is an
// input whose gradient is its next value (state.py). Sums are made row by row, so that results do not depend on the
// number of threads.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "mxnet/lib_api.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define ANY_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define ANY_CPU
#endif

using namespace mxnet::ext;
using Attributes = std::unordered_map<std::string, std::string>;
using Tensors = std::vector<MXTensor>;
using Shapes = std::vector<std::vector<unsigned>>;
using Row = std::vector<float>;

namespace {

// Return an attribute that is a number.
inline float number(const Attributes& given, const char* key) { return std::stof(given.at(key)); }

// Set all types to float32.
inline MXReturnValue floats(const Attributes&, std::vector<int>* in, std::vector<int>* out) {
  std::fill(in->begin(), in->end(), static_cast<int>(kFloat32));
  std::fill(out->begin(), out->end(), static_cast<int>(kFloat32));
  return MX_SUCCESS;
}

// Return the sum of a row of n pixels.
ANY_CPU inline float sum_of(const float* x, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += x[k];
  return sum;
}

// Compute y = x * scale + shift of a row of n pixels.
ANY_CPU inline void affine(const float* x, float scale, float shift, float* y, int64_t n) {
#pragma omp simd
  for (int64_t k = 0; k < n; ++k) y[k] = x[k] * scale + shift;
}

}  // namespace
