// The training step of MABN (arXiv:2001.06838) as a single operator of mxnet, for the CPU.
//
// Statistics are means over a window of the last K calls. A state (K, C) holds what the calls before gave; a batch may
// have several parts, each of which counts as a call:
//
//   moments, K = 4          [ k0 | k1 | k2 | k3 ]           what the calls before gave, the oldest first
//   parts of this call                          [ p0 | p1 ]
//   window of part 0             [ k1 | k2 | k3 | p0 ]      mean of K
//   window of part 1                  [ k2 | k3 | p0 | p1 ]
//   moments afterwards                [ k2 | k3 | p0 | p1 ]
//
// `formal` is the formula of the paper's authors: one part, and call t replaces slot t % K.

#include "steps.h"

namespace {

// Return the sum of the squares of a row.
ANY_CPU float sum_of_squares(const float* x, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += x[k] * x[k];
  return sum;
}

// Return the sum of the products of two rows.
ANY_CPU float sum_of_products(const float* x, const float* y, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += x[k] * y[k];
  return sum;
}

// Compute z = x * of_x + y * of_y.
ANY_CPU void combine(const float* x, float of_x, const float* y, float of_y, float* z, int64_t n) {
#pragma omp simd
  for (int64_t k = 0; k < n; ++k) z[k] = x[k] * of_x + y[k] * of_y;
}

// ibnnet_mabn: x, gamma, beta, running, iters, moments, slopes -> y, squares, moment; the latter two (parts, C).

enum MabnInput { X, GAMMA, BETA, RUNNING, ITERS, MOMENTS, SLOPES, MABN_INPUTS };
enum MabnOutput { Y, SQUARES, MOMENT, MABN_OUTPUTS };

// The attributes, the sizes and the number t of this call.
struct Mabn {
  bool formal;
  bool warm;  // the window is not full yet: a part's own statistics are used
  bool free;  // ratio is limited by clip; before it is 1
  int64_t rows, channels, pixels, parts, calls, t;
  float eps, momentum, clip;

  // first: the number of x among the inputs.
  Mabn(const Attributes& given, Tensors& in, int first) {
    const MXTensor& x = in[first + X];
    formal = given.at("formal") == "1";
    rows = x.shape[0];
    channels = x.shape[1];
    pixels = x.shape[2] * x.shape[3];
    parts = std::stol(given.at("parts"));
    calls = in[first + MOMENTS].shape[0];
    eps = number(given, "eps");
    momentum = number(given, "momentum");
    clip = number(given, "clip");
    t = static_cast<int64_t>(in[first + ITERS].data<float>()[0]) + 1;
    const int64_t warmup = std::stol(given.at("warmup")), last = std::stol(given.at("fixed"));
    warm = formal ? t <= calls || t < warmup : t == 1;
    free = formal ? t > last : t >= warmup;
  }

  // Pictures of a part, and values of a part's channel.
  int64_t size() const { return rows / parts; }
  float count() const { return static_cast<float>(size() * pixels); }

  // The place of row i (a picture's channel) among (parts, C).
  int64_t place(int64_t i) const { return i / channels / size() * channels + i % channels; }

  // Return the mean over the window of each part, of old (K, C) and new (parts, C) values: (parts, C).
  Row windows(const float* old_values, const float* new_values) const {
    Row means(parts * channels);
    for (int64_t part = 0; part < parts; ++part)
      for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (int64_t k = 0; k < calls; ++k)
          if (formal ? k != t % calls : k > part) sum += old_values[k * channels + c];
        for (int64_t j = std::max<int64_t>(0, part - calls + 1); j <= part; ++j) sum += new_values[j * channels + c];
        means[part * channels + c] = warm ? new_values[part * channels + c] : static_cast<float>(sum / calls);
      }
    return means;
  }

  // Write the state for the next call, (K, C).
  void advance(const float* old_values, const float* new_values, float* next) const {
    for (int64_t k = 0; k < calls; ++k) {
      const int64_t from = formal ? k : k + parts;
      if (from < calls)
        std::copy_n(old_values + from * channels, channels, next + k * channels);
      else
        std::fill_n(next + k * channels, channels, 0.0f);
    }
    for (int64_t part = formal ? 0 : std::max<int64_t>(0, parts - calls); part < parts; ++part) {
      const int64_t slot = formal ? t % calls : calls - parts + part;
      std::copy_n(new_values + part * channels, channels, next + slot * channels);
    }
  }

  // Return ratio / sqrt(moment + eps).
  float factor(float moment, float running) const {
    const float deviation = std::sqrt(moment + eps), ratio = deviation / std::sqrt(running + eps);
    return (free ? std::min(std::max(ratio, 1 / clip), clip) : 1.0f) / deviation;
  }

  // Return the sum over the pictures of a part of one value for each picture and channel.
  double over_part(const Row& values, int64_t part, int64_t c) const {
    double sum = 0;
    for (int64_t n = part * size(); n < (part + 1) * size(); ++n) sum += values[n * channels + c];
    return sum;
  }
};

// Count inputs and outputs.
MXReturnValue mabn_arguments(const Attributes&, int* inputs, int* outputs) {
  *inputs = MABN_INPUTS;
  *outputs = MABN_OUTPUTS;
  return MX_SUCCESS;
}

// Infer the shapes of the outputs.
MXReturnValue mabn_shapes(const Attributes& given, Shapes* in, Shapes* out) {
  const std::vector<unsigned> small = {static_cast<unsigned>(std::stoul(given.at("parts"))), in->at(X)[1]};
  out->at(Y) = in->at(X);
  out->at(SQUARES) = small;
  out->at(MOMENT) = small;
  return MX_SUCCESS;
}

// Compute y = x * gamma * ratio / sqrt(moment + eps) + beta.
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
  for (int64_t i = 0; i < all; ++i) affine(x + i * n, scale[m.place(i)], beta[i % C], y + i * n, n);
  return MX_SUCCESS;
}

// The sums over the pixels of each picture's channel, (N, C): of x * dy, and of dy.
struct Sums {
  Row products, dy;
};

// The coefficients of the gradient of x, (parts, C): dx = dy * scale + x * pull, and the slopes that pull is made of.
struct Pulls {
  Row scale, slope, pull;
};

// Compute scale and slope, the gradients of gamma and beta, and the next running moment.
void mabn_statistics(const Mabn& m, Tensors& in, Tensors& out, const Sums& sums, Pulls* pulls) {
  const int first = MABN_OUTPUTS, after = MABN_OUTPUTS + MABN_INPUTS;
  const float *gamma = in[first + GAMMA].data<float>(), *running = in[first + RUNNING].data<float>();
  const float* moment = in[after + MOMENT].data<float>();
  const int64_t C = m.channels;
  const float usual = m.momentum;
  for (int64_t c = 0; c < C; ++c) {
    double of_gamma = 0, of_beta = 0, recent = 0;
    for (int64_t part = 0; part < m.parts; ++part) {
      const int64_t i = part * C + c;
      const float factor = m.factor(moment[i], running[c]);
      const double product = m.over_part(sums.products, part, c);
      pulls->scale[i] = gamma[c] * factor;
      pulls->slope[i] = product * pulls->scale[i] / m.count();
      of_gamma += product * factor;
      of_beta += m.over_part(sums.dy, part, c);
      recent += moment[i] / m.parts;
    }
    out[GAMMA].data<float>()[c] = of_gamma;
    out[BETA].data<float>()[c] = of_beta;
    const double old = !m.formal && m.t == 1 ? recent : running[c];  // the first call replaces the initial value
    out[RUNNING].data<float>()[c] = usual * old + (1 - usual) * recent;
  }
}

// Compute all gradients and the next states.
//
// With z = x / sqrt(moment + eps), h = gradient * gamma * ratio and p = mean of h * z:
// dx = (h - z * psi) / sqrt(moment + eps), where psi is the mean of p over the window.
MXReturnValue mabn_backward(const Attributes& given, Tensors* in, Tensors* out, const OpResource&) {
  const int first = MABN_OUTPUTS, after = MABN_OUTPUTS + MABN_INPUTS;
  const Mabn m(given, *in, first);
  const int64_t all = m.rows * m.channels, n = m.pixels, small = m.parts * m.channels;
  const float *dy = in->at(0).data<float>(), *x = in->at(first + X).data<float>();
  const float *squares = in->at(after + SQUARES).data<float>(), *moment = in->at(after + MOMENT).data<float>();
  float* dx = out->at(X).data<float>();
  Sums sums = {Row(all), Row(all)};
  Pulls pulls = {Row(small), Row(small), Row(small)};
#pragma omp parallel for
  for (int64_t i = 0; i < all; ++i) {
    sums.products[i] = sum_of_products(x + i * n, dy + i * n, n);
    sums.dy[i] = sum_of(dy + i * n, n);
  }
  mabn_statistics(m, *in, *out, sums, &pulls);
  out->at(ITERS).data<float>()[0] = m.t;
  m.advance(in->at(first + MOMENTS).data<float>(), squares, out->at(MOMENTS).data<float>());
  const float* slopes = in->at(first + SLOPES).data<float>();
  const Row psi = m.windows(slopes, pulls.slope.data());
  m.advance(slopes, pulls.slope.data(), out->at(SLOPES).data<float>());
  for (int64_t i = 0; i < small; ++i) pulls.pull[i] = -psi[i] / (moment[i] + m.eps);
#pragma omp parallel for
  for (int64_t i = 0; i < all; ++i) {
    const int64_t at = m.place(i);
    combine(dy + i * n, pulls.scale[at], x + i * n, pulls.pull[at], dx + i * n, n);
  }
  return MX_SUCCESS;
}

}  // namespace

REGISTER_OP(ibnnet_mabn)
    .setForward(mabn_forward, "cpu")
    .setBackward(mabn_backward, "cpu")
    .setParseAttrs(mabn_arguments)
    .setInferType(floats)
    .setInferShape(mabn_shapes);
