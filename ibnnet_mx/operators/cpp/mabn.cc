// The training step of MABN as a single operator of mxnet, for the CPU.

#include "steps.h"

namespace {

ANY_CPU float sum_of_squares(const float* x, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += x[k] * x[k];
  return sum;
}

ANY_CPU float sum_of_products(const float* x, const float* y, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < n; ++k) sum += x[k] * y[k];
  return sum;
}

ANY_CPU void combine(const float* x, float of_x, const float* y, float of_y, float* z, int64_t n) {
#pragma omp simd
  for (int64_t k = 0; k < n; ++k) z[k] = x[k] * of_x + y[k] * of_y;
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

}  // namespace

REGISTER_OP(ibnnet_mabn)
    .setForward(mabn_forward, "cpu")
    .setBackward(mabn_backward, "cpu")
    .setParseAttrs(mabn_arguments)
    .setInferType(floats)
    .setInferShape(mabn_shapes);
