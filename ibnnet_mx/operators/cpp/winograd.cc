// ibnnet_winograd: y = Convolution(x, w) with 3x3 weights, stride 1, padded by 1, in fewer multiplications.
// x (N, C, H, W), w (O, C, 3, 3), y (N, O, H, W); float32, C and O multiples of 32.

#include "winograd.h"

#include "nodes.h"

namespace ibnnet {
namespace {

enum Input { kX, kWeight };
enum BackwardInput { kDy, kOfX, kOfWeight };

// Return the sizes of a convolution.
Conv conv_of(const NDArray& x, const NDArray& w) {
  return {
      .pictures = x.shape()[0],
      .from = x.shape()[1],
      .to = w.shape()[0],
      .height = x.shape()[2],
      .width = x.shape()[3],
  };
}

// Return the layouts that the kernels take, and the values of arrays.
Layout pixels(const NDArray& array) { return blocked_layout(array.shape(), winograd()->lanes); }
Layout weights(const NDArray& array) { return plain_layout(array.shape(), mshadow::kFloat32); }
const float* read(const InputArray& from) { return static_cast<const float*>(from.data); }
float* written(const OutputArray& to) { return static_cast<float*>(to.data); }

// The forward pass.
void forward(const nnvm::NodeAttrs&, const mxnet::OpContext&, const Arrays& in, const Requests& request,
             const Arrays& out) {
  const InputArray x(in[kX], pixels(in[kX])), w(in[kWeight], weights(in[kWeight]));
  OutputArray y(out[0], request[0], pixels(out[0]));
  if (y.data) winograd()->forward(conv_of(in[kX], in[kWeight]), read(x), read(w), written(y));
  y.commit();
  done();
}

// The backward pass.
void backward(const nnvm::NodeAttrs&, const mxnet::OpContext&, const Arrays& in, const Requests& request,
              const Arrays& out) {
  const InputArray dy(in[kDy], pixels(in[kDy])), x(in[kOfX], pixels(in[kOfX]));
  const InputArray w(in[kOfWeight], weights(in[kOfWeight]));
  const Conv conv = conv_of(in[kOfX], in[kOfWeight]);
  OutputArray dx(out[0], request[0], pixels(out[0])), dw(out[1], request[1], weights(out[1]));
  if (dx.data) winograd()->to_data(conv, read(dy), read(w), written(dx));
  if (dw.data) winograd()->to_weight(conv, read(x), read(dy), written(dw));
  dx.commit();
  dw.commit();
  done();
}

// Make the backward node.
std::vector<nnvm::NodeEntry> gradient(const nnvm::ObjectPtr& node, const std::vector<nnvm::NodeEntry>& from) {
  const auto& in = inputs_of(*node);
  return mxnet::op::MakeGradNode("_backward_ibnnet_winograd", node, {from[0], in[kX], in[kWeight]}, node->attrs.dict);
}

// Infer the shape of y from x and w.
bool infer_shape(const nnvm::NodeAttrs&, ShapesOf* in, ShapesOf* out) {
  const mxnet::TShape x = in->at(kX), w = in->at(kWeight);
  if (!mxnet::shape_is_known(x) || !mxnet::shape_is_known(w)) return false;
  CHECK(x.ndim() == 4 && w.ndim() == 4 && w[1] == x[1] && w[2] == 3 && w[3] == 3)
      << "ibnnet_winograd is for (N, C, H, W) and (O, C, 3, 3), not " << x << " and " << w;
  CHECK(w[0] % kMultiple == 0 && w[1] % kMultiple == 0)
      << "ibnnet_winograd is for multiples of " << kMultiple << " channels, not for weights " << w;
  out->at(0) = mxnet::TShape(mshadow::Shape4(x[0], w[0], x[2], x[3]));
  return true;
}

// Infer the types: float32.
bool infer_type(const nnvm::NodeAttrs&, KindsOf* in, KindsOf* out) { return only_float32("ibnnet_winograd", in, out); }

// Return the inputs' names.
std::vector<std::string> names(const nnvm::NodeAttrs&) { return {"data", "weight"}; }

// Register both operators if they are fast on this processor. Python sees by their names whether they are.
bool enter_both() {
  if (!winograd()) return false;
  enter_layer("ibnnet_winograd", {forward, infer_shape, infer_type, names, gradient})
      .set_num_inputs(2)
      .set_num_outputs(1)
      .add_argument("data", "NDArray-or-Symbol", "(N, C, H, W)")
      .add_argument("weight", "NDArray-or-Symbol", "(O, C, 3, 3)");
  enter("_backward_ibnnet_winograd", backward)
      .set_num_inputs(3)
      .set_num_outputs(2)
      .set_attr<nnvm::TIsBackward>("TIsBackward", true);
  return true;
}

const bool entered = enter_both();

}  // namespace
}  // namespace ibnnet
