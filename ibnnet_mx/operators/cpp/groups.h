// The arithmetic of ibnnet_norm between its passes over the pixels: which values share statistics, and what follows
// from them.

#pragma once

#include <cmath>

#include "nodes.h"

namespace ibnnet {
namespace {

struct Settings {
  int64_t begin = 0, end = 0, groups = 0, parts = 1;
  float eps = 1e-5f, momentum = 0.9f;
  bool statistics = true, relu = false, skip = false;
};

Settings settings(const nnvm::NodeAttrs& attrs) {
  Settings s;
  s.begin = number(attrs, "begin", 0), s.end = number(attrs, "end", 0), s.groups = number(attrs, "groups", 0);
  s.parts = number(attrs, "parts", 1), s.eps = number(attrs, "eps", 1e-5);
  s.momentum = number(attrs, "momentum", 0.9), s.statistics = number(attrs, "statistics", 1) != 0;
  s.relu = number(attrs, "relu", 0) != 0, s.skip = number(attrs, "add", 0) != 0;
  return s;
}

// Of inputs: x, gamma, beta, then running_mean and running_var where a batch's statistics are taken, then skip.
struct Places {
  int count = 3, mean = -1, var = -1, skip = -1;
  explicit Places(const Settings& s) {
    if (s.statistics) mean = count++, var = count++;
    if (s.skip) skip = count++;
  }
};

// What the passes over the pixels need to know of each picture and channel, (N, C) each.
struct Coefficients {
  int64_t channels;
  std::vector<float> mean, inverse, scale, shift;
  Affine affine(int64_t i) const { return {&mean[i], &scale[i], &shift[i]}; }
};

// f(first, last, step of pictures, first, last channel) for the values that share statistics.
template <typename F>
void each_group(const Settings& s, int64_t pictures, int64_t channels, F f) {
  const int64_t wide = s.end - s.begin, of_group = wide ? wide / s.groups : 0;
#pragma omp parallel for
  for (int64_t i = 0; i < pictures * (wide ? s.groups : 0); ++i) {
    const int64_t n = i / s.groups, c = s.begin + i % s.groups * of_group;
    f(n, n + 1, 1, c, c + of_group);
  }
#pragma omp parallel for
  for (int64_t c = 0; c < channels; ++c)
    if (c < s.begin || c >= s.end)
      for (int64_t part = 0; part < s.parts; ++part) f(part, pictures, s.parts, c, c + 1);
}

void finish(const Settings& s, const Grid& grid, const float* gamma, const float* beta, std::vector<float>* squares,
            Coefficients* k) {
  const int64_t C = grid.channels, hw = grid.row.pixels;
  each_group(s, grid.pictures, C, [&](int64_t from, int64_t to, int64_t step, int64_t first, int64_t last) {
    double sum = 0, around = 0;
    int64_t rows = 0;
    for (int64_t n = from; n < to; n += step)
      for (int64_t c = first; c < last; ++c, ++rows) sum += k->mean[n * C + c];
    const double mean = sum / rows;
    for (int64_t n = from; n < to; n += step)
      for (int64_t c = first; c < last; ++c) {
        const double d = k->mean[n * C + c] - mean;
        around += (*squares)[n * C + c] + d * d * hw;
      }
    const double inverse = 1 / std::sqrt(around / (static_cast<double>(rows) * hw) + s.eps);
    for (int64_t n = from; n < to; n += step)
      for (int64_t c = first; c < last; ++c) {
        k->mean[n * C + c] = mean, k->inverse[n * C + c] = inverse;
        k->scale[n * C + c] = gamma[c] * static_cast<float>(inverse), k->shift[n * C + c] = beta[c];
      }
  });
}

struct Gradients {
  void *x, *skip;                     // nullptr where not wanted
  std::vector<float> sums, products;  // of dy and of dy * (x - mean), (N, C)
};

// With m values in a group and A, B the sums over it of gamma * dy and gamma * dy * (x - mean):
// dx = inverse * (gamma * dy - A / m - (x - mean) * inverse^2 * B / m)
void slopes_of(const Settings& s, const Grid& grid, const Coefficients& k, const Gradients& g, const float* gamma,
               std::vector<float>* of_dy, std::vector<float>* of_x, std::vector<float>* constant) {
  const int64_t C = grid.channels;
  each_group(s, grid.pictures, C, [&](int64_t from, int64_t to, int64_t step, int64_t first, int64_t last) {
    double a = 0, b = 0;
    int64_t rows = 0;
    for (int64_t n = from; n < to; n += step)
      for (int64_t c = first; c < last; ++c, ++rows)
        a += static_cast<double>(gamma[c]) * g.sums[n * C + c],
            b += static_cast<double>(gamma[c]) * g.products[n * C + c];
    const double m = static_cast<double>(rows) * grid.row.pixels, inverse = k.inverse[from * C + first];
    for (int64_t n = from; n < to; n += step)
      for (int64_t c = first; c < last; ++c) {
        const int64_t i = n * C + c;
        (*of_dy)[i] = gamma[c] * inverse, (*of_x)[i] = -inverse * inverse * inverse * b / m,
        (*constant)[i] = -inverse * a / m;
      }
  });
}

void move_statistics(const Settings& s, const Grid& grid, const Coefficients& k, float* mean, float* var) {
  const int64_t C = grid.channels;
  int64_t at = 0;
  for (int64_t c = 0; c < C; ++c) {
    if (c >= s.begin && c < s.end) continue;
    double m = 0, v = 0;
    for (int64_t part = 0; part < s.parts; ++part) {
      const double inverse = k.inverse[part * C + c];
      m += k.mean[part * C + c], v += 1 / (inverse * inverse) - s.eps;
    }
    mean[at] = s.momentum * mean[at] + (1 - s.momentum) * m / s.parts;
    var[at] = s.momentum * var[at] + (1 - s.momentum) * v / s.parts;
    ++at;
  }
}

}  // namespace
}  // namespace ibnnet
