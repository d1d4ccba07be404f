// ibnnet_update: a step of SGD with momentum for all weights of a network, in one pass over memory.
//
// Inputs: the weights, their gradients, their states, as many of each; outputs: the weights, in place.
// g = rescale * gradient + wd * weight; state = momentum * state - lr * g; weight += state, or with nesterov
// weight += momentum * state - lr * g. lrs and wds: a number for each weight.

#include <cstdlib>

#include "nodes.h"

namespace ibnnet {
namespace {

constexpr int64_t kPiece = 1 << 15;  // values that a thread works on at a time

// Return the number of weights.
int64_t count(const nnvm::NodeAttrs& attrs) { return number(attrs, "num_args", 0) / 3; }

// Return the numbers of an attribute such as "(0.1, 0.1)", which has `count` of them.
std::vector<float> numbers(const nnvm::NodeAttrs& attrs, const char* key, size_t count) {
  std::vector<float> list;
  for (const auto& pair : attrs.dict) {
    if (pair.first != key) continue;
    for (const char* at = pair.second.c_str(); *at;) {
      char* after = nullptr;
      const float value = std::strtof(at, &after);
      if (after != at) list.push_back(value);
      at = after != at ? after : at + 1;
    }
  }
  CHECK_EQ(list.size(), count) << "ibnnet_update: " << key << " needs a number for each weight";
  return list;
}

// A part of one weight.
struct Piece {
  float *weight, *state;         // written
  const float *from, *gradient;  // read: the weight before the step, in the plain layout
  float lr, wd;
  int64_t size;
};

// Update a part of a weight.
void step(const Piece& piece, float momentum, float rescale, bool nesterov) {
  const Piece p = piece;
#pragma omp simd
  for (int64_t i = 0; i < p.size; ++i) {
    const float weight = p.from[i], slope = p.lr * (rescale * p.gradient[i] + p.wd * weight);
    const float state = momentum * p.state[i] - slope;
    p.state[i] = state;
    p.weight[i] = weight + (nesterov ? momentum * state - slope : state);
  }
}

// Update all weights.
void forward(const nnvm::NodeAttrs& attrs, const mxnet::OpContext&, const Arrays& in, const Requests&,
             const Arrays& out) {
  const size_t n = out.size();
  const std::vector<float> lrs = numbers(attrs, "lrs", n), wds = numbers(attrs, "wds", n);
  const float momentum = number(attrs, "momentum", 0), rescale = number(attrs, "rescale_grad", 1);
  const bool nesterov = number(attrs, "nesterov", 0) != 0;
  // An array may have one of oneDNN's layouts: a weight after an evaluation, a gradient that oneDNN computed.
  Arrays plain;
  for (const NDArray& array : in) plain.push_back(array.IsMKLDNNData() ? array.Reorder2Default() : array);
  std::vector<Piece> pieces;
  for (size_t i = 0; i < n; ++i) {
    for (const NDArray* array : {&out[i], &in[2 * n + i]})
      if (array->IsMKLDNNData()) const_cast<NDArray*>(array)->InvalidateMKLDNNData();
    float *weight = values(out[i]), *state = values(in[2 * n + i]);
    const float *from = values(plain[i]), *gradient = values(plain[n + i]), *before = values(plain[2 * n + i]);
    const int64_t size = out[i].shape().Size();
    if (before != state) std::copy(before, before + size, state);
    for (int64_t k = 0; k < size; k += kPiece)
      pieces.push_back({
          .weight = weight + k,
          .state = state + k,
          .from = from + k,
          .gradient = gradient + k,
          .lr = lrs[i],
          .wd = wds[i],
          .size = std::min(kPiece, size - k),
      });
  }
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < pieces.size(); ++i) step(pieces[i], momentum, rescale, nesterov);
}

// Infer the shapes of the outputs: those of the weights.
bool infer_shape(const nnvm::NodeAttrs&, ShapesOf* in, ShapesOf* out) {
  const size_t n = out->size();
  CHECK_EQ(in->size(), 3 * n) << "ibnnet_update is for weights, gradients and states, as many of each";
  for (size_t i = 0; i < in->size(); ++i)
    CHECK_EQ(in->at(i), in->at(i % n)) << "ibnnet_update: a gradient or state has another shape than its weight";
  for (size_t i = 0; i < n; ++i) out->at(i) = in->at(i);
  return true;
}

// Infer the types: float32.
bool infer_type(const nnvm::NodeAttrs&, KindsOf* in, KindsOf* out) { return only_float32("ibnnet_update", in, out); }

const nnvm::Op& ibnnet_update_entry =
    enter("ibnnet_update", forward)
        .set_num_inputs([](const nnvm::NodeAttrs& attrs) { return static_cast<uint32_t>(3 * count(attrs)); })
        .set_num_outputs([](const nnvm::NodeAttrs& attrs) { return static_cast<uint32_t>(count(attrs)); })
        .set_attr<std::string>("key_var_num_args", "num_args")
        .set_attr<nnvm::FMutateInputs>("FMutateInputs",
                                       [](const nnvm::NodeAttrs& attrs) {
                                         std::vector<uint32_t> states;
                                         for (int64_t i = 2 * count(attrs); i < 3 * count(attrs); ++i)
                                           states.push_back(i);
                                         return states;
                                       })
        .set_attr<mxnet::FInferShape>("FInferShape", infer_shape)
        .set_attr<nnvm::FInferType>("FInferType", infer_type)
        .add_argument("data", "NDArray-or-Symbol[]", "weights, gradients, states");

}  // namespace
}  // namespace ibnnet
