// ibnnet_norm: a norm in training mode, with what mostly follows it: y = relu(norm(x) + skip), in two
// passes over memory.
//
// Channels from `begin` to `end` are normalised picture by picture in `groups` groups, the others over `parts` parts of
// the batch, whose pictures lie batch / parts apart. The backward pass moves the running statistics, as BatchNorm's
// does. It reads and writes the layout that its input has.

#include "groups.h"
#include "nodes.h"

namespace ibnnet {
namespace {

template <typename T>
void forward_of(const Settings& s, const Source& x, const Source* skip, const float* gamma, const float* beta, T* y,
                float* mean, float* inverse) {
  const Grid& grid = x.grid;
  const Kernels<T>& with = kernels<T>();
  const int64_t C = grid.channels, rows = grid.pictures * grid.blocks, all = grid.pictures * C;
  const T* from = static_cast<const T*>(x.data);
  const T* other = skip ? static_cast<const T*>(skip->data) : nullptr;
  Coefficients k = {C, std::vector<float>(all), std::vector<float>(all), std::vector<float>(all),
                    std::vector<float>(all)};
  std::vector<float> squares(all);
#pragma omp parallel for
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t n = i / grid.blocks, b = i % grid.blocks, at = n * C + b * grid.row.lanes;
    with.moments(grid.row, from + grid.at(n, b), &k.mean[at], &squares[at]);
  }
  finish(s, grid, gamma, beta, &squares, &k);
  if (y)  // where it is computed anew, its statistics may be all that is wanted
#pragma omp parallel for
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t n = i / grid.blocks, b = i % grid.blocks, at = n * C + b * grid.row.lanes, o = grid.at(n, b);
      with.apply(grid.row, k.affine(at), s.relu, from + o, other ? other + o : nullptr, y + o);
    }
  std::copy(k.mean.begin(), k.mean.end(), mean);
  std::copy(k.inverse.begin(), k.inverse.end(), inverse);
}

void forward(const nnvm::NodeAttrs& attrs, const mxnet::OpContext&, const Arrays& in, const Requests& request,
             const Arrays& out) {
  const Settings s = settings(attrs);
  const Places at(settings(attrs));
  const Source x(in[0]);
  const std::unique_ptr<Source> skip(at.skip < 0 ? nullptr : new Source(in[at.skip], x));
  Target y(out[0], request[0], x);
  if (in[0].dtype() == mshadow::kBfloat16)
    forward_of<bfloat>(s, x, skip.get(), values(in[1]), values(in[2]), static_cast<bfloat*>(y.data), values(out[1]),
                       values(out[2]));
  else
    forward_of<float>(s, x, skip.get(), values(in[1]), values(in[2]), static_cast<float*>(y.data), values(out[1]),
                      values(out[2]));
  y.commit();
  done();
}

template <typename T>
void backward_of(const Settings& s, const Source& dy, const Source& x, const Source* y, const float* gamma,
                 const Coefficients& k, Gradients* g) {
  const Grid& grid = x.grid;
  const Kernels<T>& with = kernels<T>();
  const int64_t C = grid.channels, rows = grid.pictures * grid.blocks, all = grid.pictures * C;
  const Mask mask = !s.relu ? Mask::kNone : y ? Mask::kOutput : Mask::kSign;
  const T *px = static_cast<const T*>(x.data), *pdy = static_cast<const T*>(dy.data);
  const T* py = y ? static_cast<const T*>(y->data) : nullptr;
  T *dx = static_cast<T*>(g->x), *dskip = static_cast<T*>(g->skip);
#pragma omp parallel for
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t n = i / grid.blocks, b = i % grid.blocks, at = n * C + b * grid.row.lanes, o = grid.at(n, b);
    with.slopes(grid.row, k.affine(at), mask, px + o, py ? py + o : nullptr, pdy + o, &g->sums[at], &g->products[at]);
  }
  if (!dx && !dskip) return;
  std::vector<float> of_dy(all), of_x(all), constant(all);
  slopes_of(s, grid, k, *g, gamma, &of_dy, &of_x, &constant);
#pragma omp parallel for
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t n = i / grid.blocks, b = i % grid.blocks, at = n * C + b * grid.row.lanes, o = grid.at(n, b);
    with.gradient(grid.row, k.affine(at), mask, {&of_dy[at], &of_x[at], &constant[at]}, px + o, py ? py + o : nullptr,
                  pdy + o, dx ? dx + o : nullptr, dskip ? dskip + o : nullptr);
  }
}

// What the backward node is given: dy, x, gamma, beta, mean, inverse, then running_mean and running_var, then y.
enum { kDy, kX, kGamma, kBeta, kMean, kInverse, kRest };

void backward(const nnvm::NodeAttrs& attrs, const mxnet::OpContext&, const Arrays& in, const Requests& request,
              const Arrays& out) {
  const Settings s = settings(attrs);
  const bool statistics = s.statistics, has_y = s.relu && s.skip;
  const Source x(in[kX]), dy(in[kDy], x);
  const std::unique_ptr<Source> y(has_y ? new Source(in[kRest + 2 * statistics], x) : nullptr);
  const int64_t C = x.grid.channels, all = x.grid.pictures * C;
  Coefficients k = {C,
                    {values(in[kMean]), values(in[kMean]) + all},
                    {values(in[kInverse]), values(in[kInverse]) + all},
                    std::vector<float>(all),
                    std::vector<float>(all)};
  const float *gamma = values(in[kGamma]), *beta = values(in[kBeta]);
  for (int64_t i = 0; i < all; ++i) k.scale[i] = gamma[i % C] * k.inverse[i], k.shift[i] = beta[i % C];
  Target dx(out[0], request[0], x), dskip(out[s.skip ? 3 : 0], s.skip ? request[3] : mxnet::kNullOp, x);
  Gradients g = {dx.data, dskip.data, std::vector<float>(all), std::vector<float>(all)};
  if (in[kX].dtype() == mshadow::kBfloat16)
    backward_of<bfloat>(s, dy, x, y.get(), gamma, k, &g);
  else
    backward_of<float>(s, dy, x, y.get(), gamma, k, &g);
  dx.commit();
  dskip.commit();
  done();
  std::vector<float> of_gamma(C), of_beta(C);
  for (int64_t c = 0; c < C; ++c) {
    double a = 0, b = 0;
    for (int64_t i = c; i < all; i += C) a += static_cast<double>(g.products[i]) * k.inverse[i], b += g.sums[i];
    of_gamma[c] = a, of_beta[c] = b;
  }
  put(out[1], request[1], of_gamma);
  put(out[2], request[2], of_beta);
  if (statistics) move_statistics(s, x.grid, k, values(in[kRest]), values(in[kRest + 1]));
}

std::vector<nnvm::NodeEntry> gradient(const nnvm::ObjectPtr& node, const std::vector<nnvm::NodeEntry>& from) {
  const Settings s = settings(node->attrs);
  const Places at(s);
  const auto& in = inputs_of(*node);
  std::vector<nnvm::NodeEntry> wanted = {from[0], in[0], in[1], in[2], {node, 1, 0}, {node, 2, 0}};
  if (s.statistics) wanted.insert(wanted.end(), {in[at.mean], in[at.var]});
  if (s.relu && s.skip) wanted.push_back({node, 0, 0});
  const auto back = mxnet::op::MakeGradNode("_backward_ibnnet_norm", node, wanted, node->attrs.dict);
  std::vector<nnvm::NodeEntry> found = {back[0], back[1], back[2]};
  for (int i = 0; i < 2 * s.statistics; ++i)
    found.push_back({mxnet::op::MakeNode("_NoGradient", "NoGradient", nullptr, nullptr, nullptr), 0, 0});
  if (s.skip) found.push_back(back[3]);
  return found;
}

bool infer_shape(const nnvm::NodeAttrs& attrs, ShapesOf* in, ShapesOf* out) {
  const Settings s = settings(attrs);
  const Places at(settings(attrs));
  const mxnet::TShape x = in->at(0);
  if (!mxnet::shape_is_known(x)) return false;
  CHECK_EQ(x.ndim(), 4) << "ibnnet_norm is for (N, C, H, W)";
  const mxnet::TShape channels(mshadow::Shape1(x[1])), rest(mshadow::Shape1(x[1] - (s.end - s.begin)));
  in->at(1) = in->at(2) = channels;
  if (at.mean >= 0) in->at(at.mean) = in->at(at.var) = rest;
  if (at.skip >= 0) in->at(at.skip) = x;
  out->at(0) = x, out->at(1) = out->at(2) = mxnet::TShape(mshadow::Shape2(x[0], x[1]));
  return true;
}

bool infer_type(const nnvm::NodeAttrs& attrs, KindsOf* in, KindsOf* out) {
  const int skip = Places(settings(attrs)).skip;
  for (size_t i = 1; i < in->size(); ++i)
    if (static_cast<int>(i) != skip) in->at(i) = mshadow::kFloat32;
  out->at(1) = out->at(2) = mshadow::kFloat32;
  int type = in->at(0) != -1 ? in->at(0) : out->at(0);
  if (type == -1 && skip >= 0) type = in->at(skip);
  if (type == -1) return false;
  CHECK(type == mshadow::kFloat32 || type == mshadow::kBfloat16) << "ibnnet_norm is for float32 and bfloat16";
  in->at(0) = out->at(0) = type;
  if (skip >= 0) in->at(skip) = type;
  return true;
}

std::vector<std::string> names(const nnvm::NodeAttrs& attrs) {
  const Places at(settings(attrs));
  std::vector<std::string> found = {"data", "gamma", "beta"};
  if (at.mean >= 0) found.insert(found.end(), {"running_mean", "running_var"});
  if (at.skip >= 0) found.push_back("skip");
  return found;
}

const nnvm::Op& ibnnet_norm_entry =
    enter_layer("ibnnet_norm", forward, infer_shape, infer_type, names, gradient)
        .set_num_inputs(
            [](const nnvm::NodeAttrs& attrs) { return static_cast<uint32_t>(Places(settings(attrs)).count); })
        .set_num_outputs(3)
        .set_attr<nnvm::FMutateInputs>("FMutateInputs",
                                       [](const nnvm::NodeAttrs& attrs) {
                                         const Places at(settings(attrs));
                                         if (at.mean < 0) return std::vector<uint32_t>();
                                         return std::vector<uint32_t>{static_cast<uint32_t>(at.mean),
                                                                      static_cast<uint32_t>(at.var)};
                                       })
        .add_argument("data", "NDArray-or-Symbol", "(N, C, H, W)")
        .add_argument("gamma", "NDArray-or-Symbol", "(C,)")
        .add_argument("beta", "NDArray-or-Symbol", "(C,)")
        .add_argument("running_mean", "NDArray-or-Symbol", "of the channels outside of begin to end")
        .add_argument("running_var", "NDArray-or-Symbol", "of the channels outside of begin to end")
        .add_argument("skip", "NDArray-or-Symbol", "(N, C, H, W)");

const nnvm::Op& backward_ibnnet_norm_entry =
    enter("_backward_ibnnet_norm", backward)
        .set_num_inputs([](const nnvm::NodeAttrs& attrs) {
          const Settings s = settings(attrs);
          return static_cast<uint32_t>(kRest + 2 * settings(attrs).statistics + (s.relu && s.skip));
        })
        .set_num_outputs([](const nnvm::NodeAttrs& attrs) { return 3u + settings(attrs).skip; })
        .set_attr<nnvm::TIsBackward>("TIsBackward", true)
        .set_attr<nnvm::FMutateInputs>("FMutateInputs",
                                       [](const nnvm::NodeAttrs& attrs) {
                                         if (!settings(attrs).statistics) return std::vector<uint32_t>();
                                         return std::vector<uint32_t>{kRest, kRest + 1};
                                       })
        .set_attr<nnvm::FInplaceOption>("FInplaceOption", [](const nnvm::NodeAttrs& attrs) {
          return std::vector<std::pair<int, int>>{{0, settings(attrs).skip ? 3 : 0}};
        });

}  // namespace

}  // namespace ibnnet
