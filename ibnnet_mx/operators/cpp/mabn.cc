// The training steps of MABN, BatchNorm of small parts and centred weights as single operators of mxnet, for the CPU.
//
// They compute what mabn.py and batch.py say as graphs of mxnet's operators, which is what runs where this is not built.
// A state is an input whose gradient is its next value (state.py). Sums are made row by row, so that results do not
// depend on the number of threads. mxnet/lib_api.h is the interface, in mxnet's wheel.

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

float number(const Attributes& given, const char* key) { return std::stof(given.at(key)); }

MXReturnValue floats(const Attributes&, std::vector<int>* in, std::vector<int>* out) {
  std::fill(in->begin(), in->end(), static_cast<int>(kFloat32));
  std::fill(out->begin(), out->end(), static_cast<int>(kFloat32));
  return MX_SUCCESS;
}

// What is done to one row of pixels.

ANY_CPU float sum_of_squares(const float* x, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += x[k] * x[k];
  return sum;
}

ANY_CPU float sum_of(const float* x, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += x[k];
  return sum;
}

ANY_CPU float sum_of_products(const float* x, const float* y, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += x[k] * y[k];
  return sum;
}

ANY_CPU void affine(const float* x, float scale, float shift, float* y, int64_t n) {
#pragma omp simd
  for (int64_t k = 0; k < n; ++k) y[k] = x[k] * scale + shift;
}

ANY_CPU void combine(const float* x, float of_x, const float* y, float of_y, float* z, int64_t n) {
#pragma omp simd
  for (int64_t k = 0; k < n; ++k) z[k] = x[k] * of_x + y[k] * of_y;
}

// ibnnet_centre: w -> w - its mean for each output channel; the gradient likewise.

MXReturnValue one_to_one(const Attributes&, int* inputs, int* outputs) {
  *inputs = *outputs = 1;
  return MX_SUCCESS;
}

MXReturnValue same_shape(const Attributes&, Shapes* in, Shapes* out) {
  out->at(0) = in->at(0);
  return MX_SUCCESS;
}

MXReturnValue centre(const Attributes&, Tensors* in, Tensors* out, const OpResource&) {
  MXTensor& from = in->at(0);  // of the backward pass the gradient comes first
  const int64_t rows = from.shape[0], n = from.size() / rows;
  const float* x = from.data<float>();
  float* y = out->at(0).data<float>();
#pragma omp parallel for
  for (int64_t i = 0; i < rows; ++i) affine(x + i * n, 1, -sum_of(x + i * n, n) / n, y + i * n, n);
  return MX_SUCCESS;
}

// ibnnet_mabn: x, gamma, beta, running, iters, moments, slopes -> y, squares, moment; the latter two (parts, C).

enum MabnInput { X, GAMMA, BETA, RUNNING, ITERS, MOMENTS, SLOPES, MABN_INPUTS };
enum MabnOutput { Y, SQUARES, MOMENT, MABN_OUTPUTS };

struct Mabn {
  bool formal, warm, free;
  int64_t rows, channels, pixels, parts, calls, t;
  float eps, momentum, clip;

  Mabn(const Attributes& given, Tensors& in, int first) {
    const MXTensor& x = in[first + X];
    formal = given.at("formal") == "1";
    rows = x.shape[0], channels = x.shape[1], pixels = x.shape[2] * x.shape[3];
    parts = std::stol(given.at("parts")), calls = in[first + MOMENTS].shape[0];
    eps = number(given, "eps"), momentum = number(given, "momentum"), clip = number(given, "clip");
    t = static_cast<int64_t>(in[first + ITERS].data<float>()[0]) + 1;
    const int64_t warmup = std::stol(given.at("warmup")), last = std::stol(given.at("fixed"));
    warm = formal ? t <= calls || t < warmup : t == 1;
    free = formal ? t > last : t >= warmup;
  }

  int64_t size() const { return rows / parts; }
  float count() const { return static_cast<float>(size() * pixels); }

  // Where the moment of a part is kept; -1: not at all.
  int64_t slot(int64_t part) const { return formal ? t % calls : std::max<int64_t>(calls - parts + part, -1); }

  // Mean over the window of each part, of what is kept and what is new, (parts, C).
  Row windows(const float* kept, const float* fresh) const {
    Row found(parts * channels);
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (int64_t k = 0; k < calls; ++k)
          if (formal ? k != t % calls : k > part) sum += kept[k * channels + c];
        for (int64_t j = std::max<int64_t>(0, part - calls + 1); j <= part; ++j) sum += fresh[j * channels + c];
        found[part * channels + c] = warm ? fresh[part * channels + c] : static_cast<float>(sum / calls);
      }
    return found;
  }

  // What is kept for the next call, (K, C).
  void keep(const float* kept, const float* fresh, float* next) const {
    for (int64_t k = 0; k < calls; ++k) {
      const int64_t from = formal ? k : k + parts;
      if (from < calls)
        std::copy_n(kept + from * channels, channels, next + k * channels);
      else
        std::fill_n(next + k * channels, channels, 0.0f);
    }
    for (int64_t part = 0; part < parts; ++part)
      if (slot(part) >= 0) std::copy_n(fresh + part * channels, channels, next + slot(part) * channels);
  }

  // ratio / sqrt(moment + eps)
  float factor(float moment, float running) const {
    const float deviation = std::sqrt(moment + eps), ratio = deviation / std::sqrt(running + eps);
    return (free ? std::min(std::max(ratio, 1 / clip), clip) : 1.0f) / deviation;
  }

  // Sums over the pictures of a part, of one value for each picture and channel.
  double over_part(const Row& values, int64_t part, int64_t c) const {
    double sum = 0;
    for (int64_t n = part * size(); n < (part + 1) * size(); ++n) sum += values[n * channels + c];
    return sum;
  }
};

MXReturnValue mabn_arguments(const Attributes&, int* inputs, int* outputs) {
  *inputs = MABN_INPUTS, *outputs = MABN_OUTPUTS;
  return MX_SUCCESS;
}

MXReturnValue mabn_shapes(const Attributes& given, Shapes* in, Shapes* out) {
  const std::vector<unsigned> small = {static_cast<unsigned>(std::stoul(given.at("parts"))), in->at(X)[1]};
  out->at(Y) = in->at(X), out->at(SQUARES) = small, out->at(MOMENT) = small;
  return MX_SUCCESS;
}

MXReturnValue mabn_forward(const Attributes& given, Tensors* in, Tensors* out, const OpResource&) {
  const Mabn m(given, *in, 0);
  const int64_t all = m.rows * m.channels, C = m.channels, n = m.pixels;
  const float *x = in->at(X).data<float>(), *gamma = in->at(GAMMA).data<float>(), *beta = in->at(BETA).data<float>();
  const float* running = in->at(RUNNING).data<float>();
  float *y = out->at(Y).data<float>(), *squares = out->at(SQUARES).data<float>();
  Row sums(all), scale(m.parts * C);
#pragma omp parallel for
  for (int64_t i = 0; i < all; ++i) sums[i] = sum_of_squares(x + i * n, n);
  for (int64_t part = 0; part < m.parts; ++part)
    for (int64_t c = 0; c < C; ++c) squares[part * C + c] = m.over_part(sums, part, c) / m.count();
  const Row moment = m.windows(in->at(MOMENTS).data<float>(), squares);
  std::copy(moment.begin(), moment.end(), out->at(MOMENT).data<float>());
  for (int64_t i = 0; i < m.parts * C; ++i) scale[i] = gamma[i % C] * m.factor(moment[i], running[i % C]);
#pragma omp parallel for
  for (int64_t i = 0; i < all; ++i)
    affine(x + i * n, scale[i / C / m.size() * C + i % C], beta[i % C], y + i * n, n);
  return MX_SUCCESS;
}

// With z = x / sqrt(moment + eps), h = gradient * gamma * ratio, p = mean of h * z: dx = (h - z * psi) / sqrt(...), psi
// being the mean of p over the window.
MXReturnValue mabn_backward(const Attributes& given, Tensors* in, Tensors* out, const OpResource&) {
  const int first = MABN_OUTPUTS, after = MABN_OUTPUTS + MABN_INPUTS;
  const Mabn m(given, *in, first);
  const int64_t all = m.rows * m.channels, C = m.channels, n = m.pixels;
  const float *dy = in->at(0).data<float>(), *x = in->at(first + X).data<float>();
  const float *gamma = in->at(first + GAMMA).data<float>(), *running = in->at(first + RUNNING).data<float>();
  const float *squares = in->at(after + SQUARES).data<float>(), *moment = in->at(after + MOMENT).data<float>();
  float* dx = out->at(X).data<float>();
  Row products(all), sums(all), scale(m.parts * C), slope(m.parts * C), pull(m.parts * C);
#pragma omp parallel for
  for (int64_t i = 0; i < all; ++i) {
    products[i] = sum_of_products(x + i * n, dy + i * n, n);
    sums[i] = sum_of(dy + i * n, n);
  }
  const float usual = m.momentum;
  for (int64_t c = 0; c < C; ++c) {
    double of_gamma = 0, of_beta = 0, recent = 0;
    for (int64_t part = 0; part < m.parts; ++part) {
      const int64_t i = part * C + c;
      const float factor = m.factor(moment[i], running[c]);
      const double product = m.over_part(products, part, c);
      scale[i] = gamma[c] * factor;
      slope[i] = product * scale[i] / m.count();
      of_gamma += product * factor;
      of_beta += m.over_part(sums, part, c);
      recent += moment[i] / m.parts;
    }
    out->at(GAMMA).data<float>()[c] = of_gamma;
    out->at(BETA).data<float>()[c] = of_beta;
    const double old = !m.formal && m.t == 1 ? recent : running[c];  // that of the first call takes its place
    out->at(RUNNING).data<float>()[c] = usual * old + (1 - usual) * recent;
  }
  out->at(ITERS).data<float>()[0] = m.t;
  m.keep(in->at(first + MOMENTS).data<float>(), squares, out->at(MOMENTS).data<float>());
  const float* slopes = in->at(first + SLOPES).data<float>();
  const Row psi = m.windows(slopes, slope.data());
  m.keep(slopes, slope.data(), out->at(SLOPES).data<float>());
  for (int64_t i = 0; i < m.parts * C; ++i) pull[i] = -psi[i] / (moment[i] + m.eps);
#pragma omp parallel for
  for (int64_t i = 0; i < all; ++i) {
    const int64_t at = i / C / m.size() * C + i % C;
    combine(dy + i * n, scale[at], x + i * n, pull[at], dx + i * n, n);
  }
  return MX_SUCCESS;
}

// ibnnet_renorm: mean, 1 / sqrt(var + eps), gamma, beta, running mean, running var, iters where there is a ramp
// -> scale and shift of (x - mean) / sqrt(var + eps), both (parts * C,).

enum RenormInput { MEAN, DEVIATION, OWN_GAMMA, OWN_BETA, RUNNING_MEAN, RUNNING_VAR, STEPS };

struct Renorm {
  bool ramp;
  int64_t channels, parts;
  float eps, momentum, r_max, d_max;

  Renorm(const Attributes& given, Tensors& in, int first) {
    ramp = given.at("ramp") == "1";
    channels = in[first + OWN_GAMMA].size(), parts = in[first + MEAN].size() / channels;
    eps = number(given, "eps"), momentum = number(given, "momentum"), r_max = 1, d_max = 0;
    if (!ramp) return;
    const float steps = in[first + STEPS].data<float>()[0], begin = number(given, "warmup");
    const auto done = [&](const char* end) {
      return std::min(std::max((steps - begin) / std::max(number(given, end) - begin, 1.0f), 0.0f), 1.0f);
    };
    r_max = 1 + (number(given, "r_max") - 1) * done("r_iters");
    d_max = number(given, "d_max") * done("d_iters");
  }

  static float within(float value, float low, float high) { return std::min(std::max(value, low), high); }
  float r(float deviation, float var) const {
    return within(1 / (deviation * std::sqrt(var + eps)), 1 / r_max, r_max);
  }
  float d(float mean, float usual, float var) const {
    return within((mean - usual) / std::sqrt(var + eps), -d_max, d_max);
  }
};

MXReturnValue renorm_arguments(const Attributes& given, int* inputs, int* outputs) {
  *inputs = STEPS + (given.at("ramp") == "1"), *outputs = 2;
  return MX_SUCCESS;
}

MXReturnValue renorm_shapes(const Attributes&, Shapes* in, Shapes* out) {
  out->at(0) = out->at(1) = in->at(MEAN);
  return MX_SUCCESS;
}

MXReturnValue renorm_forward(const Attributes& given, Tensors* in, Tensors* out, const OpResource&) {
  const Renorm b(given, *in, 0);
  const auto value = [&](int which) { return in->at(which).data<float>(); };
  float *scale = out->at(0).data<float>(), *shift = out->at(1).data<float>();
  for (int64_t i = 0; i < b.parts * b.channels; ++i) {
    const int64_t c = i % b.channels;
    const float var = value(RUNNING_VAR)[c], gamma = value(OWN_GAMMA)[c];
    scale[i] = gamma * b.r(value(DEVIATION)[i], var);
    shift[i] = value(OWN_BETA)[c] + gamma * b.d(value(MEAN)[i], value(RUNNING_MEAN)[c], var);
  }
  return MX_SUCCESS;
}

MXReturnValue renorm_backward(const Attributes& given, Tensors* in, Tensors* out, const OpResource&) {
  const int first = 2;
  const Renorm b(given, *in, first);
  const auto value = [&](int which) { return in->at(first + which).data<float>(); };
  const auto to = [&](int which) { return out->at(which).data<float>(); };
  const float *of_scale = in->at(0).data<float>(), *of_shift = in->at(1).data<float>();
  std::fill_n(to(MEAN), b.parts * b.channels, 0.0f);  // the statistics are taken as constants
  std::fill_n(to(DEVIATION), b.parts * b.channels, 0.0f);
  for (int64_t c = 0; c < b.channels; ++c) {
    const float usual = value(RUNNING_MEAN)[c], usual_var = value(RUNNING_VAR)[c];
    double gamma = 0, beta = 0, mean = 0, var = 0;
    for (int64_t part = 0; part < b.parts; ++part) {
      const int64_t i = part * b.channels + c;
      const float deviation = value(DEVIATION)[i];
      gamma += of_scale[i] * b.r(deviation, usual_var) + of_shift[i] * b.d(value(MEAN)[i], usual, usual_var);
      beta += of_shift[i];
      mean += value(MEAN)[i];
      var += 1.0 / (static_cast<double>(deviation) * deviation) - b.eps;
    }
    to(OWN_GAMMA)[c] = gamma, to(OWN_BETA)[c] = beta;
    to(RUNNING_MEAN)[c] = b.momentum * usual + (1 - b.momentum) * (mean / b.parts);
    to(RUNNING_VAR)[c] = b.momentum * usual_var + (1 - b.momentum) * (var / b.parts);
  }
  if (b.ramp) to(STEPS)[0] = value(STEPS)[0] + 1;
  return MX_SUCCESS;
}

}  // namespace

REGISTER_OP(ibnnet_centre)
    .setForward(centre, "cpu")
    .setBackward(centre, "cpu")
    .setParseAttrs(one_to_one)
    .setInferType(floats)
    .setInferShape(same_shape);

REGISTER_OP(ibnnet_mabn)
    .setForward(mabn_forward, "cpu")
    .setBackward(mabn_backward, "cpu")
    .setParseAttrs(mabn_arguments)
    .setInferType(floats)
    .setInferShape(mabn_shapes);

REGISTER_OP(ibnnet_renorm)
    .setForward(renorm_forward, "cpu")
    .setBackward(renorm_backward, "cpu")
    .setParseAttrs(renorm_arguments)
    .setInferType(floats)
    .setInferShape(renorm_shapes);
