// ibnnet_excite: y = relu(x * sigmoid(w2 . relu(w1 . mean of x)) + skip), squeeze-and-excitation (arXiv:1709.01507)
// with what follows it, in two passes over memory. x (N, C, H, W), w1 (R, C), w2 (C, R); relu and the sum where asked
// for.

#include <cmath>

#include "nodes.h"

namespace ibnnet {
namespace {

enum Input { kX, kFirst, kSecond, kSkip };
enum Output { kY, kMean, kHidden, kGate, kOutputs };

bool adds(const nnvm::NodeAttrs& attrs) { return number(attrs, "add", 0) != 0; }
bool cuts(const nnvm::NodeAttrs& attrs) { return number(attrs, "relu", 0) != 0; }

// y (n, rows) = x (n, columns) . w (rows, columns)
void dense(const float* x, const float* w, int64_t n, int64_t rows, int64_t columns, float* y) {
#pragma omp parallel for
  for (int64_t i = 0; i < n * rows; ++i) {
    const float *from = x + i / rows * columns, *by = w + i % rows * columns;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < columns; ++k) sum += from[k] * by[k];
    y[i] = sum;
  }
}

// y (n, columns) = sum over rows of factor(i, row) * from (rows, columns)
template <typename F>
void combine(const float* from, F factor, int64_t n, int64_t rows, int64_t columns, float* y) {
#pragma omp parallel for
  for (int64_t i = 0; i < n; ++i) {
    std::fill_n(y + i * columns, columns, 0.0f);
    for (int64_t r = 0; r < rows; ++r) {
      const float by = factor(i, r);
#pragma omp simd
      for (int64_t k = 0; k < columns; ++k) y[i * columns + k] += by * from[r * columns + k];
    }
  }
}

// Of its backward pass: dx (n, columns) = dy (n, rows) . w, dw (rows, columns) = dy . x
void dense_gradients(const float* x, const float* w, const float* dy, int64_t n, int64_t rows, int64_t columns,
                     float* dx, float* dw) {
  combine(w, [&](int64_t i, int64_t r) { return dy[i * rows + r]; }, n, rows, columns, dx);
  combine(x, [&](int64_t r, int64_t i) { return dy[i * rows + r]; }, rows, n, columns, dw);
}

template <typename T>
void forward_of(const Source& x, const Source* skip, bool relu, const Arrays& in, T* y, const Arrays& out) {
  const Grid& grid = x.grid;
  const Kernels<T>& with = kernels<T>();
  const int64_t C = grid.channels, N = grid.pictures, R = in[kFirst].shape()[0], rows = N * grid.blocks;
  const T* from = static_cast<const T*>(x.data);
  const T* other = skip ? static_cast<const T*>(skip->data) : nullptr;
  float *mean = values(out[kMean]), *hidden = values(out[kHidden]), *gate = values(out[kGate]);
  std::vector<float> unused(N * C), zero(N * C);
#pragma omp parallel for
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t n = i / grid.blocks, b = i % grid.blocks, at = n * C + b * grid.row.lanes;
    with.moments(grid.row, from + grid.at(n, b), mean + at, &unused[at]);
  }
  dense(mean, values(in[kFirst]), N, R, C, hidden);
  for (int64_t i = 0; i < N * R; ++i) hidden[i] = std::max(hidden[i], 0.0f);
  dense(hidden, values(in[kSecond]), N, C, R, gate);
  for (int64_t i = 0; i < N * C; ++i) gate[i] = 1 / (1 + std::exp(-gate[i]));
  if (y)
#pragma omp parallel for
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t n = i / grid.blocks, b = i % grid.blocks, at = n * C + b * grid.row.lanes, o = grid.at(n, b);
      with.apply(grid.row, {&zero[at], gate + at, &zero[at]}, relu, from + o, other ? other + o : nullptr, y + o);
    }
}

void forward(const nnvm::NodeAttrs& attrs, const mxnet::OpContext&, const Arrays& in, const Requests& request,
             const Arrays& out) {
  const Source x(in[kX]);
  const std::unique_ptr<Source> skip(adds(attrs) ? new Source(in[kSkip], x) : nullptr);
  Target y(out[kY], request[kY], x);
  if (in[kX].dtype() == mshadow::kBfloat16)
    forward_of(x, skip.get(), cuts(attrs), in, static_cast<bfloat*>(y.data), out);
  else
    forward_of(x, skip.get(), cuts(attrs), in, static_cast<float*>(y.data), out);
  y.commit();
  done();
}

// The backward node is given dy, x, w1, w2, mean, hidden, gate and, where it was cut off, y.
enum Given { kDy, kOfX, kOfFirst, kOfSecond, kOfMean, kOfHidden, kOfGate, kOfY };

template <typename T>
void backward_of(const Source& dy, const Source& x, const Source* y, const Arrays& in, T* dx, T* dskip,
                 std::vector<float>* of_first, std::vector<float>* of_second) {
  const Grid& grid = x.grid;
  const Kernels<T>& with = kernels<T>();
  const int64_t C = grid.channels, N = grid.pictures, R = in[kOfFirst].shape()[0], rows = N * grid.blocks;
  const Mask mask = y ? Mask::kOutput : Mask::kNone;
  const T *px = static_cast<const T*>(x.data), *pdy = static_cast<const T*>(dy.data);
  const T* py = y ? static_cast<const T*>(y->data) : nullptr;
  const float *gate = values(in[kOfGate]), *hidden = values(in[kOfHidden]);
  std::vector<float> sums(N * C), slope(N * C), zero(N * C), inner(N * R), mean(N * C);
#pragma omp parallel for
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t n = i / grid.blocks, b = i % grid.blocks, at = n * C + b * grid.row.lanes, o = grid.at(n, b);
    const Affine a = {&zero[at], gate + at, &zero[at]};
    with.slopes(grid.row, a, mask, px + o, py ? py + o : nullptr, pdy + o, &sums[at], &slope[at]);
  }
  for (int64_t i = 0; i < N * C; ++i) slope[i] *= gate[i] * (1 - gate[i]);
  dense_gradients(hidden, values(in[kOfSecond]), slope.data(), N, C, R, inner.data(), of_second->data());
  for (int64_t i = 0; i < N * R; ++i) inner[i] = hidden[i] > 0 ? inner[i] : 0;
  dense_gradients(values(in[kOfMean]), values(in[kOfFirst]), inner.data(), N, R, C, mean.data(), of_first->data());
  for (float& value : mean) value /= grid.row.pixels;
#pragma omp parallel for
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t n = i / grid.blocks, b = i % grid.blocks, at = n * C + b * grid.row.lanes, o = grid.at(n, b);
    const Affine a = {&zero[at], gate + at, &zero[at]};
    with.gradient(grid.row, a, mask, {gate + at, &zero[at], &mean[at]}, px + o, py ? py + o : nullptr, pdy + o,
                  dx ? dx + o : nullptr, dskip ? dskip + o : nullptr);
  }
}

void backward(const nnvm::NodeAttrs& attrs, const mxnet::OpContext&, const Arrays& in, const Requests& request,
              const Arrays& out) {
  const Source x(in[kOfX]), dy(in[kDy], x);
  const std::unique_ptr<Source> y(cuts(attrs) ? new Source(in[kOfY], x) : nullptr);
  const bool add = adds(attrs);
  Target dx(out[0], request[0], x), dskip(out[add ? 3 : 0], add ? request[3] : mxnet::kNullOp, x);
  std::vector<float> of_first(in[kOfFirst].shape().Size()), of_second(of_first.size());
  if (in[kOfX].dtype() == mshadow::kBfloat16)
    backward_of(dy, x, y.get(), in, static_cast<bfloat*>(dx.data), static_cast<bfloat*>(dskip.data), &of_first,
                &of_second);
  else
    backward_of(dy, x, y.get(), in, static_cast<float*>(dx.data), static_cast<float*>(dskip.data), &of_first,
                &of_second);
  dx.commit();
  dskip.commit();
  done();
  put(out[1], request[1], of_first);
  put(out[2], request[2], of_second);
}

std::vector<nnvm::NodeEntry> gradient(const nnvm::ObjectPtr& node, const std::vector<nnvm::NodeEntry>& from) {
  const auto& in = inputs_of(*node);
  std::vector<nnvm::NodeEntry> wanted = {from[0], in[kX], in[kFirst], in[kSecond]};
  for (uint32_t i : {kMean, kHidden, kGate}) wanted.push_back({node, i, 0});
  if (cuts(node->attrs)) wanted.push_back({node, kY, 0});
  return mxnet::op::MakeGradNode("_backward_ibnnet_excite", node, wanted, node->attrs.dict);
}

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

std::vector<std::string> names(const nnvm::NodeAttrs& attrs) {
  std::vector<std::string> found = {"data", "first", "second"};
  if (adds(attrs)) found.push_back("skip");
  return found;
}

const nnvm::Op& ibnnet_excite_entry = enter_layer("ibnnet_excite", forward, infer_shape, infer_type, names, gradient)
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
