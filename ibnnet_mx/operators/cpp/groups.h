// The arithmetic of ibnnet_norm between its passes over the pixels: which values share statistics, and what follows
// from them.
//
//                 begin            end
//   channels   0   |                |              C
//   picture 0  | : [ g0 | g1 | g2 ] : | : | : | : |       begin to end: each group of each picture is a set of its own
//   picture 1  | : [ g0 | g1 | g2 ] : | : | : | : |       (InstanceNorm: a group a channel; LayerNorm: one group)
//   picture 2  | : [ g0 | g1 | g2 ] : | : | : | : |
//   picture 3  | : [ g0 | g1 | g2 ] : | : | : | : |       others: a channel of all pictures of a part is a set; with
//                                                         parts = 2: pictures 0 and 2, 1 and 3 (BatchNorm: parts = 1)

#pragma once

#include <cmath>

#include "nodes.h"

namespace ibnnet {
namespace {

// The attributes of ibnnet_norm.
struct Settings {
  int64_t begin = 0, end = 0, groups = 0, parts = 1;
  float eps = 1e-5f, momentum = 0.9f;
  bool statistics = true;  // there are running statistics
  bool relu = false, skip = false;
};

// Read the attributes.
inline Settings settings(const nnvm::NodeAttrs& attrs) {
  Settings s;
  s.begin = number(attrs, "begin", 0);
  s.end = number(attrs, "end", 0);
  s.groups = number(attrs, "groups", 0);
  s.parts = number(attrs, "parts", 1);
  s.eps = number(attrs, "eps", 1e-5);
  s.momentum = number(attrs, "momentum", 0.9);
  s.statistics = number(attrs, "statistics", 1) != 0;
  s.relu = number(attrs, "relu", 0) != 0;
  s.skip = number(attrs, "add", 0) != 0;
  return s;
}

// The numbers of inputs: x, gamma, beta, then running_mean and running_var with `statistics`, then skip with `skip`.
// Those of inputs that are not there have no meaning.
struct Places {
  int count = 3, mean = 0, var = 0, skip = 0;

  // Count the inputs that are there.
  explicit Places(const Settings& s) {
    if (s.statistics) {
      mean = count++;
      var = count++;
    }
    if (s.skip) skip = count++;
  }
};

// gamma and beta, (C,).
struct Learned {
  const float *gamma, *beta;
};

// The coefficients of each picture and channel, (N, C) each: y = (x - mean) * scale + shift. inverse: 1 / deviation.
struct Coefficients {
  std::vector<float> mean, inverse, scale, shift;

  // Return the coefficients from number i among (N, C) on.
  Affine affine(int64_t i) const { return {&mean[i], &scale[i], &shift[i]}; }
};

// The coefficients of the gradient of x, (N, C) each.
struct Slopes {
  std::vector<float> of_dy, of_x, constant;

  // Return the coefficients from number i among (N, C) on.
  Slope slope(int64_t i) const { return {&of_dy[i], &of_x[i], &constant[i]}; }
};

// The gradients of x and skip, nullptr where not wanted; the sums of dy and of dy * (x - mean), (N, C).
struct Gradients {
  void *x, *skip;
  std::vector<float> sums, products;
};

// Pictures and channels whose values share statistics.
struct Group {
  int64_t first_picture, last_picture, step, first_channel, last_channel;  // the last ones are behind

  // Return the number of pictures times channels.
  int64_t rows() const { return (last_picture - first_picture + step - 1) / step * (last_channel - first_channel); }

  // Call f(i, c) for each picture and channel c; i: the number among (N, channels).
  template <typename F>
  void each(int64_t channels, F f) const {
    for (int64_t n = first_picture; n < last_picture; n += step)
      for (int64_t c = first_channel; c < last_channel; ++c) f(n * channels + c, c);
  }
};

// Call f(group) for all groups, in parallel.
template <typename F>
void each_group(const Settings& s, const Grid& grid, F f) {
  const int64_t pictures = grid.pictures, normalised = s.end - s.begin, wide = normalised ? normalised / s.groups : 0;
#pragma omp parallel for
  for (int64_t i = 0; i < pictures * (normalised ? s.groups : 0); ++i) {
    const int64_t n = i / s.groups, c = s.begin + i % s.groups * wide;
    f(Group{.first_picture = n, .last_picture = n + 1, .step = 1, .first_channel = c, .last_channel = c + wide});
  }
#pragma omp parallel for
  for (int64_t c = 0; c < grid.channels; ++c) {
    if (c >= s.begin && c < s.end) continue;
    for (int64_t part = 0; part < s.parts; ++part)
      f(Group{
          .first_picture = part,
          .last_picture = pictures,
          .step = s.parts,
          .first_channel = c,
          .last_channel = c + 1,
      });
  }
}

// Compute the groups' coefficients from the mean of each picture and channel, and the squared differences from it.
inline void finish(const Settings& s, const Grid& grid, Learned learned, const std::vector<float>& squares,
                   Coefficients* k) {
  const int64_t C = grid.channels, pixels = grid.row.pixels;
  each_group(s, grid, [&](const Group& group) {
    const int64_t rows = group.rows();
    double sum = 0, around = 0;
    group.each(C, [&](int64_t i, int64_t) { sum += k->mean[i]; });
    const double mean = sum / rows;
    group.each(C, [&](int64_t i, int64_t) {
      const double d = k->mean[i] - mean;
      around += squares[i] + d * d * pixels;
    });
    const double inverse = 1 / std::sqrt(around / (static_cast<double>(rows) * pixels) + s.eps);
    group.each(C, [&](int64_t i, int64_t c) {
      k->mean[i] = mean;
      k->inverse[i] = inverse;
      k->scale[i] = learned.gamma[c] * static_cast<float>(inverse);
      k->shift[i] = learned.beta[c];
    });
  });
}

// Compute the coefficients of the gradient of x.
//
// With m values in a group, and A and B the sums over it of gamma * dy and gamma * dy * (x - mean):
// dx = inverse * (gamma * dy - A / m - (x - mean) * inverse^2 * B / m)
inline void find_slopes(const Settings& s, const Grid& grid, const Coefficients& k, const Gradients& g,
                        const float* gamma, Slopes* slopes) {
  const int64_t C = grid.channels;
  each_group(s, grid, [&](const Group& group) {
    double a = 0, b = 0;
    group.each(C, [&](int64_t i, int64_t c) {
      a += static_cast<double>(gamma[c]) * g.sums[i];
      b += static_cast<double>(gamma[c]) * g.products[i];
    });
    const double m = static_cast<double>(group.rows()) * grid.row.pixels;
    const double inverse = k.inverse[group.first_picture * C + group.first_channel];
    group.each(C, [&](int64_t i, int64_t c) {
      slopes->of_dy[i] = gamma[c] * inverse;
      slopes->of_x[i] = -inverse * inverse * inverse * b / m;
      slopes->constant[i] = -inverse * a / m;
    });
  });
}

// Move the running mean and variance of the channels outside of begin to end. Several parts give the mean of theirs.
inline void move_statistics(const Settings& s, const Grid& grid, const Coefficients& k, float* mean, float* var) {
  const int64_t C = grid.channels;
  int64_t at = 0;
  for (int64_t c = 0; c < C; ++c) {
    if (c >= s.begin && c < s.end) continue;
    double m = 0, v = 0;
    for (int64_t part = 0; part < s.parts; ++part) {
      const double inverse = k.inverse[part * C + c];
      m += k.mean[part * C + c];
      v += 1 / (inverse * inverse) - s.eps;
    }
    mean[at] = s.momentum * mean[at] + (1 - s.momentum) * m / s.parts;
    var[at] = s.momentum * var[at] + (1 - s.momentum) * v / s.parts;
    ++at;
  }
}

}  // namespace
}  // namespace ibnnet
