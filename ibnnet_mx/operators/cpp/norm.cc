// ibnnet_norm: a norm in training mode, with the sum and the ReLU that mostly follow it: y = relu(norm(x) + skip), in
// two passes over memory.
//
// Channels from `begin` to `end` are normalised picture by picture in `groups` groups. The others are normalised over
// `parts` parts of the batch, whose pictures lie batch / parts apart. The backward pass moves the running statistics,
// as BatchNorm's does. The operator reads and writes the layout that its input has.

#include "groups.h"
#include "nodes.h"

namespace ibnnet {
namespace {

enum Output { kY, kMeanOut, kInverseOut, kOutputs };

// Return an (N, C) vector of zeros for the pictures and channels of a grid.
std::vector<float> of_channels(const Grid& grid) { return std::vector<float>(grid.pictures * grid.channels); }

// Compute y, and the coefficients that lead to it.
template <typename T>
Coefficients forward_of(const Settings& s, const InputArray& x, const InputArray* skip, Learned learned, T* y) {
  const Grid& grid = x.grid;
  const Kernels<T>& with = kernels<T>();
  const T* from = static_cast<const T*>(x.data);
  const T* other = skip ? static_cast<const T*>(skip->data) : nullptr;
  Coefficients k = {of_channels(grid), of_channels(grid), of_channels(grid), of_channels(grid)};
  std::vector<float> squares = of_channels(grid);
  each_row(grid, [&](int64_t i, int64_t offset) { with.moments(grid.row, from + offset, &k.mean[i], &squares[i]); });
  finish(s, grid, learned, squares, &k);
  if (!y) return k;  // a graph that computes y anew may want the statistics alone
  each_row(grid, [&](int64_t i, int64_t offset) {
    with.apply(grid.row, k.affine(i), s.relu, from + offset, other ? other + offset : nullptr, y + offset);
  });
  return k;
}

// The forward pass.
void forward(const nnvm::NodeAttrs& attrs, const mxnet::OpContext&, const Arrays& in, const Requests& request,
             const Arrays& out) {
  const Settings s = settings(attrs);
  const Places at(s);
  const Learned learned = {values(in[1]), values(in[2])};
  const InputArray x(in[0]);
  const std::unique_ptr<InputArray> skip(s.skip ? new InputArray(in[at.skip], x) : nullptr);
  OutputArray y(out[kY], request[kY], x);
  const Coefficients k = in[0].dtype() == mshadow::kBfloat16
                             ? forward_of<bfloat>(s, x, skip.get(), learned, static_cast<bfloat*>(y.data))
                             : forward_of<float>(s, x, skip.get(), learned, static_cast<float*>(y.data));
  std::copy(k.mean.begin(), k.mean.end(), values(out[kMeanOut]));
  std::copy(k.inverse.begin(), k.inverse.end(), values(out[kInverseOut]));
  y.commit();
  done();
}

// Compute the sums of dy, and the gradients of x and skip. y: nullptr unless the mask is its sign.
template <typename T>
void backward_of(const Settings& s, const InputArray& dy, const InputArray& x, const InputArray* y, const float* gamma,
                 const Coefficients& k, Gradients* g) {
  const Grid& grid = x.grid;
  const Kernels<T>& with = kernels<T>();
  const Mask mask = !s.relu ? Mask::kNone : y ? Mask::kOutput : Mask::kSign;
  const T *px = static_cast<const T*>(x.data), *pdy = static_cast<const T*>(dy.data);
  const T* py = y ? static_cast<const T*>(y->data) : nullptr;
  T *dx = static_cast<T*>(g->x), *dskip = static_cast<T*>(g->skip);
  const auto given = [&](int64_t offset) { return Given<T>{px + offset, py ? py + offset : nullptr, pdy + offset}; };
  each_row(grid, [&](int64_t i, int64_t offset) {
    with.slopes(grid.row, k.affine(i), mask, given(offset), &g->sums[i], &g->products[i]);
  });
  if (!dx && !dskip) return;
  Slopes slopes = {of_channels(grid), of_channels(grid), of_channels(grid)};
  find_slopes(s, grid, k, *g, gamma, &slopes);
  each_row(grid, [&](int64_t i, int64_t offset) {
    with.gradient(grid.row, k.affine(i), mask, slopes.slope(i), given(offset), dx ? dx + offset : nullptr,
                  dskip ? dskip + offset : nullptr);
  });
}

// The inputs of the backward node; behind them running_mean and running_var, then y, where there are such.
enum BackwardInput { kDy, kX, kGamma, kBeta, kMean, kInverse, kRest };

// Return the coefficients of the forward pass.
Coefficients coefficients_of(const Arrays& in, const Grid& grid) {
  const int64_t C = grid.channels, all = grid.pictures * C;
  const float *mean = values(in[kMean]), *inverse = values(in[kInverse]);
  const float *gamma = values(in[kGamma]), *beta = values(in[kBeta]);
  Coefficients k = {{mean, mean + all}, {inverse, inverse + all}, of_channels(grid), of_channels(grid)};
  for (int64_t i = 0; i < all; ++i) {
    k.scale[i] = gamma[i % C] * k.inverse[i];
    k.shift[i] = beta[i % C];
  }
  return k;
}

// Write the gradients of gamma and beta.
void put_learned(const Grid& grid, const Coefficients& k, const Gradients& g, const Requests& request,
                 const Arrays& out) {
  const int64_t C = grid.channels;
  std::vector<float> of_gamma(C), of_beta(C);
  for (int64_t c = 0; c < C; ++c) {
    double gamma = 0, beta = 0;
    for (int64_t i = c; i < grid.pictures * C; i += C) {
      gamma += static_cast<double>(g.products[i]) * k.inverse[i];
      beta += g.sums[i];
    }
    of_gamma[c] = gamma;
    of_beta[c] = beta;
  }
  put(out[1], request[1], of_gamma);
  put(out[2], request[2], of_beta);
}

// The backward pass.
void backward(const nnvm::NodeAttrs& attrs, const mxnet::OpContext&, const Arrays& in, const Requests& request,
              const Arrays& out) {
  const Settings s = settings(attrs);
  const InputArray x(in[kX]), dy(in[kDy], x);
  const std::unique_ptr<InputArray> y(s.relu && s.skip ? new InputArray(in[kRest + 2 * s.statistics], x) : nullptr);
  const Coefficients k = coefficients_of(in, x.grid);
  OutputArray dx(out[0], request[0], x), dskip(out[s.skip ? 3 : 0], s.skip ? request[3] : mxnet::kNullOp, x);
  Gradients g = {dx.data, dskip.data, of_channels(x.grid), of_channels(x.grid)};
  if (in[kX].dtype() == mshadow::kBfloat16)
    backward_of<bfloat>(s, dy, x, y.get(), values(in[kGamma]), k, &g);
  else
    backward_of<float>(s, dy, x, y.get(), values(in[kGamma]), k, &g);
  dx.commit();
  dskip.commit();
  done();
  put_learned(x.grid, k, g, request, out);
  if (s.statistics) move_statistics(s, x.grid, k, values(in[kRest]), values(in[kRest + 1]));
}

// Make the backward node.
std::vector<nnvm::NodeEntry> gradient(const nnvm::ObjectPtr& node, const std::vector<nnvm::NodeEntry>& from) {
  const Settings s = settings(node->attrs);
  const Places at(s);
  const auto& in = inputs_of(*node);
  std::vector<nnvm::NodeEntry> inputs = {from[0], in[0], in[1], in[2], {node, kMeanOut, 0}, {node, kInverseOut, 0}};
  if (s.statistics) inputs.insert(inputs.end(), {in[at.mean], in[at.var]});
  if (s.relu && s.skip) inputs.push_back({node, kY, 0});
  const auto back = mxnet::op::MakeGradNode("_backward_ibnnet_norm", node, inputs, node->attrs.dict);
  std::vector<nnvm::NodeEntry> gradients = {back[0], back[1], back[2]};
  for (int i = 0; i < 2 * s.statistics; ++i)
    gradients.push_back({mxnet::op::MakeNode("_NoGradient", "NoGradient", nullptr, nullptr, nullptr), 0, 0});
  if (s.skip) gradients.push_back(back[3]);
  return gradients;
}

// Infer all shapes from x.
bool infer_shape(const nnvm::NodeAttrs& attrs, ShapesOf* in, ShapesOf* out) {
  const Settings s = settings(attrs);
  const Places at(s);
  const mxnet::TShape x = in->at(0);
  if (!mxnet::shape_is_known(x)) return false;
  CHECK_EQ(x.ndim(), 4) << "ibnnet_norm is for (N, C, H, W)";
  const mxnet::TShape channels(mshadow::Shape1(x[1])), rest(mshadow::Shape1(x[1] - (s.end - s.begin)));
  in->at(1) = in->at(2) = channels;
  if (s.statistics) in->at(at.mean) = in->at(at.var) = rest;
  if (s.skip) in->at(at.skip) = x;
  out->at(kY) = x;
  out->at(kMeanOut) = out->at(kInverseOut) = mxnet::TShape(mshadow::Shape2(x[0], x[1]));
  return true;
}

// Infer the type of pictures; everything else is float32.
bool infer_type(const nnvm::NodeAttrs& attrs, KindsOf* in, KindsOf* out) {
  const Settings s = settings(attrs);
  const Places at(s);
  int type = in->at(0) != -1 ? in->at(0) : out->at(kY);
  if (type == -1 && s.skip) type = in->at(at.skip);
  for (size_t i = 1; i < in->size(); ++i)
    if (!s.skip || static_cast<int>(i) != at.skip) in->at(i) = mshadow::kFloat32;
  out->at(kMeanOut) = out->at(kInverseOut) = mshadow::kFloat32;
  if (type == -1) return false;
  CHECK(type == mshadow::kFloat32 || type == mshadow::kBfloat16) << "ibnnet_norm is for float32 and bfloat16";
  in->at(0) = out->at(kY) = type;
  if (s.skip) in->at(at.skip) = type;
  return true;
}

// Return the inputs' names.
std::vector<std::string> names(const nnvm::NodeAttrs& attrs) {
  const Settings s = settings(attrs);
  std::vector<std::string> inputs = {"data", "gamma", "beta"};
  if (s.statistics) inputs.insert(inputs.end(), {"running_mean", "running_var"});
  if (s.skip) inputs.push_back("skip");
  return inputs;
}

// Return the number of inputs.
uint32_t count_inputs(const nnvm::NodeAttrs& attrs) { return Places(settings(attrs)).count; }

// Return the number of the backward node's inputs.
uint32_t count_backward_inputs(const nnvm::NodeAttrs& attrs) {
  const Settings s = settings(attrs);
  return kRest + 2 * s.statistics + (s.relu && s.skip);
}

// Return the inputs that the backward node writes to: the running statistics.
std::vector<uint32_t> moved_inputs(const nnvm::NodeAttrs& attrs, uint32_t first) {
  if (!settings(attrs).statistics) return {};
  return {first, first + 1};
}

const nnvm::Op& ibnnet_norm_entry =
    enter_layer("ibnnet_norm", {forward, infer_shape, infer_type, names, gradient})
        .set_num_inputs(count_inputs)
        .set_num_outputs(kOutputs)
        .set_attr<nnvm::FMutateInputs>(
            "FMutateInputs",
            [](const nnvm::NodeAttrs& attrs) { return moved_inputs(attrs, Places(settings(attrs)).mean); })
        .add_argument("data", "NDArray-or-Symbol", "(N, C, H, W)")
        .add_argument("gamma", "NDArray-or-Symbol", "(C,)")
        .add_argument("beta", "NDArray-or-Symbol", "(C,)")
        .add_argument("running_mean", "NDArray-or-Symbol", "of the channels outside of begin to end")
        .add_argument("running_var", "NDArray-or-Symbol", "of the channels outside of begin to end")
        .add_argument("skip", "NDArray-or-Symbol", "(N, C, H, W)");

const nnvm::Op& backward_ibnnet_norm_entry =
    enter("_backward_ibnnet_norm", backward)
        .set_num_inputs(count_backward_inputs)
        .set_num_outputs([](const nnvm::NodeAttrs& attrs) { return 3u + settings(attrs).skip; })
        .set_attr<nnvm::TIsBackward>("TIsBackward", true)
        .set_attr<nnvm::FMutateInputs>("FMutateInputs",
                                       [](const nnvm::NodeAttrs& attrs) { return moved_inputs(attrs, kRest); })
        .set_attr<nnvm::FInplaceOption>("FInplaceOption", [](const nnvm::NodeAttrs& attrs) {
          return std::vector<std::pair<int, int>>{{0, settings(attrs).skip ? 3 : 0}};
        });

}  // namespace

}  // namespace ibnnet
