// ibnnet_excite: squeeze-and-excitation (arXiv:1709.01507) with the sum and the ReLU that mostly follow it:
// y = relu(x * sigmoid(w2 . relu(w1 . mean of x)) + skip), in two passes over memory. x (N, C, H, W), w1 (R, C),
// w2 (C, R). The sum and the last ReLU are optional.
//
//       x (N, C, H, W) ---- mean (N, C) ---- w1 ---- relu: hidden (N, R) ---- w2 ---- sigmoid: gate (N, C)
//         |                                                                                |
//         +----------------------------------------- * ------------------------------------+
//                                                    |
//                                             + skip, relu: y (N, C, H, W)

#include <cmath>

#include "nodes.h"

namespace ibnnet {
namespace {

enum Input { kX, kFirst, kSecond, kSkip };
enum Output { kY, kMean, kHidden, kGate, kOutputs };

// Return true if skip is added.
bool adds(const nnvm::NodeAttrs& attrs) { return number(attrs, "add", 0) != 0; }

// Return true if y is cut off at 0.
bool cuts(const nnvm::NodeAttrs& attrs) { return number(attrs, "relu", 0) != 0; }

// The shape of a layer: x (n, columns), w (rows, columns), y (n, rows).
struct Dense {
  int64_t n, rows, columns;
};

// Compute y = x . w transposed.
void dense(Dense shape, const float* x, const float* w, float* y) {
  const int64_t rows = shape.rows, columns = shape.columns;
#pragma omp parallel for
  for (int64_t i = 0; i < shape.n * rows; ++i) {
    const float *from = x + i / rows * columns, *by = w + i % rows * columns;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < columns; ++k) sum += from[k] * by[k];
    y[i] = sum;
  }
}

// Compute y (n, columns) = sum over rows of factor(i, row) * from (rows, columns).
template <typename F>
void combine(Dense shape, const float* from, F factor, float* y) {
  const int64_t columns = shape.columns;
#pragma omp parallel for
  for (int64_t i = 0; i < shape.n; ++i) {
    std::fill_n(y + i * columns, columns, 0.0f);
    for (int64_t r = 0; r < shape.rows; ++r) {
      const float by = factor(i, r);
#pragma omp simd
      for (int64_t k = 0; k < columns; ++k) y[i * columns + k] += by * from[r * columns + k];
    }
  }
}

// Compute the gradients of a layer: dx (n, columns) = dy . w and dw (rows, columns) = dy transposed . x.
void dense_gradients(Dense shape, const float* x, const float* w, const float* dy, float* dx, float* dw) {
  const int64_t rows = shape.rows;
  combine(shape, w, [&](int64_t i, int64_t r) { return dy[i * rows + r]; }, dx);
  combine({rows, shape.n, shape.columns}, x, [&](int64_t r, int64_t i) { return dy[i * rows + r]; }, dw);
}

// Compute mean, hidden and gate, and y unless it is nullptr.
template <typename T>
void forward_of(const InputArray& x, const InputArray* skip, bool relu, const Arrays& in, T* y, const Arrays& out) {
  const Grid& grid = x.grid;
  const Kernels<T>& with = kernels<T>();
  const int64_t C = grid.channels, N = grid.pictures, R = in[kFirst].shape()[0];
  const T* from = static_cast<const T*>(x.data);
  const T* other = skip ? static_cast<const T*>(skip->data) : nullptr;
  float *mean = values(out[kMean]), *hidden = values(out[kHidden]), *gate = values(out[kGate]);
  std::vector<float> unused(N * C), zero(N * C);
  each_row(grid, [&](int64_t i, int64_t offset) { with.moments(grid.row, from + offset, mean + i, &unused[i]); });
  dense({N, R, C}, mean, values(in[kFirst]), hidden);
  for (int64_t i = 0; i < N * R; ++i) hidden[i] = std::max(hidden[i], 0.0f);
  dense({N, C, R}, hidden, values(in[kSecond]), gate);
  for (int64_t i = 0; i < N * C; ++i) gate[i] = 1 / (1 + std::exp(-gate[i]));
  if (!y) return;
  each_row(grid, [&](int64_t i, int64_t offset) {
    const Affine a = {&zero[i], gate + i, &zero[i]};
    with.apply(grid.row, a, relu, from + offset, other ? other + offset : nullptr, y + offset);
  });
}

// The forward pass.
void forward(const nnvm::NodeAttrs& attrs, const mxnet::OpContext&, const Arrays& in, const Requests& request,
             const Arrays& out) {
  const InputArray x(in[kX]);
  const std::unique_ptr<InputArray> skip(adds(attrs) ? new InputArray(in[kSkip], x) : nullptr);
  OutputArray y(out[kY], request[kY], x);
  if (in[kX].dtype() == mshadow::kBfloat16)
    forward_of(x, skip.get(), cuts(attrs), in, static_cast<bfloat*>(y.data), out);
  else
    forward_of(x, skip.get(), cuts(attrs), in, static_cast<float*>(y.data), out);
  y.commit();
  done();
}

// The inputs of the backward node; y is there if it was cut off.
enum BackwardInput { kDy, kOfX, kOfFirst, kOfSecond, kOfMean, kOfHidden, kOfGate, kOfY };

// The gradients that the backward pass computes. x and skip: nullptr if nobody wants them.
struct Gradients {
  void *x, *skip;
  std::vector<float> first, second;
};

// Compute the gradients. y: nullptr if it was not cut off.
template <typename T>
void backward_of(const InputArray& dy, const InputArray& x, const InputArray* y, const Arrays& in, Gradients* g) {
  const Grid& grid = x.grid;
  const Kernels<T>& with = kernels<T>();
  const int64_t C = grid.channels, N = grid.pictures, R = in[kOfFirst].shape()[0];
  const Mask mask = y ? Mask::kOutput : Mask::kNone;
  const T *px = static_cast<const T*>(x.data), *pdy = static_cast<const T*>(dy.data);
  const T* py = y ? static_cast<const T*>(y->data) : nullptr;
  T *dx = static_cast<T*>(g->x), *dskip = static_cast<T*>(g->skip);
  const float *gate = values(in[kOfGate]), *hidden = values(in[kOfHidden]);
  std::vector<float> sums(N * C), slope(N * C), zero(N * C), inner(N * R), mean(N * C);
  const auto affine = [&](int64_t i) { return Affine{&zero[i], gate + i, &zero[i]}; };
  const auto given = [&](int64_t offset) { return Given<T>{px + offset, py ? py + offset : nullptr, pdy + offset}; };
  each_row(grid, [&](int64_t i, int64_t offset) {
    with.slopes(grid.row, affine(i), mask, given(offset), &sums[i], &slope[i]);
  });
  for (int64_t i = 0; i < N * C; ++i) slope[i] *= gate[i] * (1 - gate[i]);
  dense_gradients({N, C, R}, hidden, values(in[kOfSecond]), slope.data(), inner.data(), g->second.data());
  for (int64_t i = 0; i < N * R; ++i) inner[i] = hidden[i] > 0 ? inner[i] : 0;
  dense_gradients({N, R, C}, values(in[kOfMean]), values(in[kOfFirst]), inner.data(), mean.data(), g->first.data());
  for (float& value : mean) value /= grid.row.pixels;
  each_row(grid, [&](int64_t i, int64_t offset) {
    const Slope b = {gate + i, &zero[i], &mean[i]};
    with.gradient(grid.row, affine(i), mask, b, given(offset), dx ? dx + offset : nullptr,
                  dskip ? dskip + offset : nullptr);
  });
}

// The backward pass.
void backward(const nnvm::NodeAttrs& attrs, const mxnet::OpContext&, const Arrays& in, const Requests& request,
              const Arrays& out) {
  const InputArray x(in[kOfX]), dy(in[kDy], x);
  const std::unique_ptr<InputArray> y(cuts(attrs) ? new InputArray(in[kOfY], x) : nullptr);
  const bool add = adds(attrs);
  const size_t weights = in[kOfFirst].shape().Size();
  OutputArray dx(out[0], request[0], x), dskip(out[add ? 3 : 0], add ? request[3] : mxnet::kNullOp, x);
  Gradients g = {dx.data, dskip.data, std::vector<float>(weights), std::vector<float>(weights)};
  if (in[kOfX].dtype() == mshadow::kBfloat16)
    backward_of<bfloat>(dy, x, y.get(), in, &g);
  else
    backward_of<float>(dy, x, y.get(), in, &g);
  dx.commit();
  dskip.commit();
  done();
  put(out[1], request[1], g.first);
  put(out[2], request[2], g.second);
}

// Make the backward node.
std::vector<nnvm::NodeEntry> gradient(const nnvm::ObjectPtr& node, const std::vector<nnvm::NodeEntry>& from) {
  const auto& in = inputs_of(*node);
  std::vector<nnvm::NodeEntry> inputs = {from[0], in[kX], in[kFirst], in[kSecond]};
  for (uint32_t i : {kMean, kHidden, kGate}) inputs.push_back({node, i, 0});
  if (cuts(node->attrs)) inputs.push_back({node, kY, 0});
  return mxnet::op::MakeGradNode("_backward_ibnnet_excite", node, inputs, node->attrs.dict);
}

// Infer all shapes from x and w1.
bool infer_shape(const nnvm::NodeAttrs& attrs, ShapesOf* in, ShapesOf* out) {
  const mxnet::TShape x = in->at(kX), first = in->at(kFirst);
  if (!mxnet::shape_is_known(x) || !mxnet::shape_is_known(first)) return false;
  CHECK(x.ndim() == 4 && first.ndim() == 2 && first[1] == x[1]) << "ibnnet_excite is for (N, C, H, W) and (R, C)";
  in->at(kSecond) = mxnet::TShape(mshadow::Shape2(x[1], first[0]));
  if (adds(attrs)) in->at(kSkip) = x;
  out->at(kY) = x;
  out->at(kMean) = out->at(kGate) = mxnet::TShape(mshadow::Shape2(x[0], x[1]));
  out->at(kHidden) = mxnet::TShape(mshadow::Shape2(x[0], first[0]));
  return true;
}

// Infer the type of pictures; everything else is float32.
bool infer_type(const nnvm::NodeAttrs& attrs, KindsOf* in, KindsOf* out) {
  const int type = in->at(kX) != -1 ? in->at(kX) : out->at(kY);
  in->at(kFirst) = in->at(kSecond) = mshadow::kFloat32;
  for (int i = kMean; i < kOutputs; ++i) out->at(i) = mshadow::kFloat32;
  if (type == -1) return false;
  CHECK(type == mshadow::kFloat32 || type == mshadow::kBfloat16) << "ibnnet_excite is for float32 and bfloat16";
  in->at(kX) = out->at(kY) = type;
  if (adds(attrs)) in->at(kSkip) = type;
  return true;
}

// Return the inputs' names.
std::vector<std::string> names(const nnvm::NodeAttrs& attrs) {
  std::vector<std::string> inputs = {"data", "first", "second"};
  if (adds(attrs)) inputs.push_back("skip");
  return inputs;
}

const nnvm::Op& ibnnet_excite_entry = enter_layer("ibnnet_excite", {forward, infer_shape, infer_type, names, gradient})
                                          .set_num_inputs([](const nnvm::NodeAttrs& attrs) { return 3u + adds(attrs); })
                                          .set_num_outputs(kOutputs)
                                          .add_argument("data", "NDArray-or-Symbol", "(N, C, H, W)")
                                          .add_argument("first", "NDArray-or-Symbol", "(R, C)")
                                          .add_argument("second", "NDArray-or-Symbol", "(C, R)")
                                          .add_argument("skip", "NDArray-or-Symbol", "(N, C, H, W)");

const nnvm::Op& backward_ibnnet_excite_entry =
    enter("_backward_ibnnet_excite", backward)
        .set_num_inputs([](const nnvm::NodeAttrs& attrs) { return static_cast<uint32_t>(kOfY + cuts(attrs)); })
        .set_num_outputs([](const nnvm::NodeAttrs& attrs) { return 3u + adds(attrs); })
        .set_attr<nnvm::TIsBackward>("TIsBackward", true)
        .set_attr<nnvm::FInplaceOption>("FInplaceOption", [](const nnvm::NodeAttrs& attrs) {
          return std::vector<std::pair<int, int>>{{0, adds(attrs) ? 3 : 0}};
        });

}  // namespace
}  // namespace ibnnet
