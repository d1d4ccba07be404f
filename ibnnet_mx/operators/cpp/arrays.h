// How the pixels of an NDArray lie in memory: as oneDNN's convolutions left them, so that nothing is copied about.

#pragma once

#include <mxnet/ndarray.h>
#include <mxnet/op_attr_types.h>

#include <algorithm>

#include "kernels.h"

namespace mxnet {

// What libmxnet.so has of its own operators and does not tell in its headers.
class MKLDNNStream {
 public:
  static MKLDNNStream* Get();
  void Submit(bool cleanup = true);
};
enum OutDataOp { Noop, CopyBack, AddBack };
using mkldnn_output_t = std::pair<OutDataOp, dnnl::memory*>;
mkldnn_output_t CreateMKLDNNMem(const NDArray& array, const dnnl::memory::desc& layout, OpReqType request,
                                const NDArray* inplace = nullptr);
void CommitOutput(const NDArray& array, const mkldnn_output_t& written);

}  // namespace mxnet

namespace ibnnet {

// (N, C, H, W) as rows: rows of picture n and block b begin n * of_picture + b * of_block values from the first.
struct Grid {
  int64_t pictures, channels, blocks, of_picture, of_block;
  Row row;

  int64_t at(int64_t n, int64_t b) const { return n * of_picture + b * of_block; }
  bool operator==(const Grid& other) const {
    return of_picture == other.of_picture && of_block == other.of_block && row.stride == other.row.stride &&
           row.lanes == other.row.lanes;
  }
};

inline Grid plain_grid(const mxnet::TShape& shape) {
  const int64_t pixels = shape[2] * shape[3];
  return {shape[0], shape[1], shape[1], shape[1] * pixels, pixels, {pixels, 1, 1}};
}

// The grid of a layout in blocks of channels or with channels last; lanes 0: a layout that is neither.
inline Grid grid_of(const dnnl_memory_desc_t& layout, int bytes) {
  Grid grid = {layout.dims[0], layout.dims[1], 0, 0, 0, {layout.dims[2] * layout.dims[3], 0, 0}};
  const auto& blocking = layout.format_desc.blocking;
  const int64_t width = layout.dims[3], *strides = blocking.strides;
  for (int axis = 0; axis < 4; ++axis)
    if (layout.padded_dims[axis] != layout.dims[axis]) return grid;
  if (layout.format_kind != dnnl_blocked || layout.offset0 || strides[2] != width * strides[3]) return grid;
  int lanes = 0;
  if (blocking.inner_nblks == 1 && blocking.inner_idxs[0] == 1) {
    lanes = blocking.inner_blks[0];
    if ((lanes != 8 && lanes != 16) || strides[3] != lanes) return grid;
    grid.of_block = strides[1];
  } else if (blocking.inner_nblks == 0 && strides[1] == 1) {
    lanes = bytes == 2 && grid.channels % 32 == 0 ? 32 : grid.channels % 16 == 0 ? 16 : grid.channels % 8 == 0 ? 8 : 0;
    grid.of_block = lanes;
  }
  if (!lanes) return grid;
  grid.of_picture = strides[0], grid.blocks = grid.channels / lanes;
  grid.row.stride = strides[3], grid.row.lanes = lanes;
  return grid;
}

struct Layout {
  dnnl::memory::desc layout;
  Grid grid;
};

// (N, C, H, W), or weights, as they are without oneDNN.
inline Layout plain_layout(const mxnet::TShape& shape, int type) {
  Layout made = {{}, plain_grid(shape)};
  dnnl_memory_desc_t& to = made.layout.data;
  to.ndims = 4, to.format_kind = dnnl_blocked;
  to.data_type = type == mshadow::kBfloat16 ? dnnl_bf16 : dnnl_f32;
  int64_t stride = 1;
  for (int axis = 3; axis >= 0; --axis) {
    to.dims[axis] = to.padded_dims[axis] = shape[axis];
    to.format_desc.blocking.strides[axis] = stride;
    stride *= shape[axis];
  }
  return made;
}

// float32 in blocks of `lanes` channels, of which there are a multiple.
inline Layout blocked_layout(const mxnet::TShape& shape, int lanes) {
  Layout made = plain_layout(shape, mshadow::kFloat32);
  auto& blocking = made.layout.data.format_desc.blocking;
  blocking.strides[2] *= lanes, blocking.strides[3] *= lanes, blocking.strides[1] *= lanes;
  blocking.inner_nblks = 1, blocking.inner_blks[0] = lanes, blocking.inner_idxs[0] = 1;
  made.grid = grid_of(made.layout.data, sizeof(float));
  return made;
}

// An array that is read: its grid and first value. It may hold a copy that is laid out in another way.
struct Source : Layout {
  mxnet::NDArray array;
  const void* data;

  explicit Source(const mxnet::NDArray& given) : array(given) {
    if (array.IsMKLDNNData()) {
      layout = array.GetMKLDNNData()->get_desc();
      grid = grid_of(layout.data, mshadow::mshadow_sizeof(array.dtype()));
      // A reshaped array still has the layout of the other shape.
      for (int axis = 0; axis < 4; ++axis)
        if (layout.data.ndims != 4 || layout.data.dims[axis] != array.shape()[axis]) grid.row.lanes = 0;
      if (grid.row.lanes) {
        data = array.GetMKLDNNData()->get_data_handle();
        return;
      }
      array = array.Reorder2Default();
    }
    static_cast<Layout&>(*this) = plain_layout(array.shape(), array.dtype());
    data = array.data().dptr_;
  }

  // As `like` is laid out.
  Source(const mxnet::NDArray& given, const Layout& like) : Source(given) {
    if (grid == like.grid) return;
    data = array.GetMKLDNNDataReorder(like.layout)->get_data_handle();
    mxnet::MKLDNNStream::Get()->Submit(false);
    grid = like.grid;
  }
};

// An array that is written as `like` is laid out; data is nullptr where nobody wants it. Make it after every Source.
struct Target {
  const mxnet::NDArray& array;
  mxnet::mkldnn_output_t held = {mxnet::Noop, nullptr};
  void* data = nullptr;

  Target(const mxnet::NDArray& given, mxnet::OpReqType request, const Layout& like) : array(given) {
    if (request == mxnet::kNullOp) return;
    if (request == mxnet::kWriteInplace) {  // each value is read before it is written over
      const_cast<mxnet::NDArray&>(array).InvalidateMKLDNNData();
      request = mxnet::kWriteTo;
    }
    held = mxnet::CreateMKLDNNMem(array, like.layout, request);
    data = held.second->get_data_handle();
  }
  void commit() {
    if (data) mxnet::CommitOutput(array, held);
  }
};

inline void done() { mxnet::MKLDNNStream::Get()->Submit(); }  // lets go of what was borrowed

}  // namespace ibnnet
