// The training step of BatchNorm of small parts, and centred weights, as operators of mxnet, for the CPU.

#include "steps.h"

namespace {

// ibnnet_centre: w -> w - its mean for each output channel; the gradient likewise.

// Count inputs and outputs: one of each.
MXReturnValue one_to_one(const Attributes&, int* inputs, int* outputs) {
  *inputs = 1;
  *outputs = 1;
  return MX_SUCCESS;
}

// Infer the shape.
MXReturnValue same_shape(const Attributes&, Shapes* in, Shapes* out) {
  out->at(0) = in->at(0);
  return MX_SUCCESS;
}

// The forward pass, and the backward pass, whose first input is the gradient.
MXReturnValue centre(const Attributes&, Tensors* in, Tensors* out, const OpResource&) {
  MXTensor& from = in->at(0);
  const int64_t rows = from.shape[0], n = from.size() / rows;
  const float* x = from.data<float>();
  float* y = out->at(0).data<float>();
#pragma omp parallel for
  for (int64_t i = 0; i < rows; ++i) affine(x + i * n, 1, -sum_of(x + i * n, n) / n, y + i * n, n);
  return MX_SUCCESS;
}

// ibnnet_renorm: Batch Renormalization of x without its pass over the pixels, which BatchNorm makes.
// Inputs: mean and 1 / sqrt(var + eps) of each part, gamma, beta, running mean, running var; with a ramp, iters.
// Outputs: scale and shift of (x - mean) / sqrt(var + eps), both (parts * C,).

enum RenormInput { MEAN, INVERSE, GAMMA, BETA, RUNNING_MEAN, RUNNING_VAR, STEPS };

// The attributes, and the limits of r and d at this step (arXiv:1702.03275).
struct Renorm {
  bool ramp;
  int64_t channels, parts;
  float eps, momentum, r_max, d_max;

  // first: the number of `mean` among the inputs.
  Renorm(const Attributes& given, Tensors& in, int first) {
    ramp = given.at("ramp") == "1";
    channels = in[first + GAMMA].size();
    parts = in[first + MEAN].size() / channels;
    eps = number(given, "eps");
    momentum = number(given, "momentum");
    r_max = 1;
    d_max = 0;
    if (!ramp) return;
    const float steps = in[first + STEPS].data<float>()[0], begin = number(given, "warmup");
    const auto done = [&](const char* end) {
      return std::min(std::max((steps - begin) / std::max(number(given, end) - begin, 1.0f), 0.0f), 1.0f);
    };
    r_max = 1 + (number(given, "r_max") - 1) * done("r_iters");
    d_max = number(given, "d_max") * done("d_iters");
  }

  // Return value, at least `low`, at most `high`.
  static float within(float value, float low, float high) { return std::min(std::max(value, low), high); }

  // Return r = deviation of the part / running deviation, clipped.
  float r(float inverse, float var) const { return within(1 / (inverse * std::sqrt(var + eps)), 1 / r_max, r_max); }

  // Return d = (mean - running mean) / running deviation, clipped.
  float d(float mean, float usual, float var) const {
    return within((mean - usual) / std::sqrt(var + eps), -d_max, d_max);
  }
};

// Count inputs and outputs.
MXReturnValue renorm_arguments(const Attributes& given, int* inputs, int* outputs) {
  *inputs = STEPS + (given.at("ramp") == "1");
  *outputs = 2;
  return MX_SUCCESS;
}

// Infer the shapes of the outputs.
MXReturnValue renorm_shapes(const Attributes&, Shapes* in, Shapes* out) {
  out->at(0) = out->at(1) = in->at(MEAN);
  return MX_SUCCESS;
}

// Compute scale and shift.
MXReturnValue renorm_forward(const Attributes& given, Tensors* in, Tensors* out, const OpResource&) {
  const Renorm b(given, *in, 0);
  const auto value = [&](int which) { return in->at(which).data<float>(); };
  float *scale = out->at(0).data<float>(), *shift = out->at(1).data<float>();
  for (int64_t i = 0; i < b.parts * b.channels; ++i) {
    const int64_t c = i % b.channels;
    const float var = value(RUNNING_VAR)[c], gamma = value(GAMMA)[c];
    scale[i] = gamma * b.r(value(INVERSE)[i], var);
    shift[i] = value(BETA)[c] + gamma * b.d(value(MEAN)[i], value(RUNNING_MEAN)[c], var);
  }
  return MX_SUCCESS;
}

// Compute the gradients of gamma and beta, and the next values of the states. The statistics are constants.
MXReturnValue renorm_backward(const Attributes& given, Tensors* in, Tensors* out, const OpResource&) {
  const int first = 2;
  const Renorm b(given, *in, first);
  const auto value = [&](int which) { return in->at(first + which).data<float>(); };
  const auto to = [&](int which) { return out->at(which).data<float>(); };
  const float *of_scale = in->at(0).data<float>(), *of_shift = in->at(1).data<float>();
  std::fill_n(to(MEAN), b.parts * b.channels, 0.0f);
  std::fill_n(to(INVERSE), b.parts * b.channels, 0.0f);
  for (int64_t c = 0; c < b.channels; ++c) {
    const float usual = value(RUNNING_MEAN)[c], usual_var = value(RUNNING_VAR)[c];
    double gamma = 0, beta = 0, mean = 0, var = 0;
    for (int64_t part = 0; part < b.parts; ++part) {
      const int64_t i = part * b.channels + c;
      const float inverse = value(INVERSE)[i];
      gamma += of_scale[i] * b.r(inverse, usual_var) + of_shift[i] * b.d(value(MEAN)[i], usual, usual_var);
      beta += of_shift[i];
      mean += value(MEAN)[i];
      var += 1.0 / (static_cast<double>(inverse) * inverse) - b.eps;
    }
    to(GAMMA)[c] = gamma;
    to(BETA)[c] = beta;
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

REGISTER_OP(ibnnet_renorm)
    .setForward(renorm_forward, "cpu")
    .setBackward(renorm_backward, "cpu")
    .setParseAttrs(renorm_arguments)
    .setInferType(floats)
    .setInferShape(renorm_shapes);
