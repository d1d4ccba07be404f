// How the pixels of an NDArray lie in memory. The operators read and write the layouts of oneDNN's convolutions, so
// that nothing is copied between them.
//
//   plain (NCHW)              n: c: pixels                    a block is one channel
//   blocks (nChw8c, nChw16c)  n: block: pixels: lanes         a block is 8 or 16 channels
//   channels last (NHWC)      n: pixels: channels             a block is 8, 16 or 32 neighbouring channels

#pragma once

#include <mxnet/ndarray.h>
#include <mxnet/op_attr_types.h>

#include <algorithm>

#include "kernels.h"

namespace mxnet {

// Functions of libmxnet.so that its headers do not declare.
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

// (N, C, H, W) as rows. The row of picture n and block b begins n * picture_stride + b * block_stride values from the
// first value. lanes 0: the layout is none of those above.
struct Grid {
  int64_t pictures, channels, blocks, picture_stride, block_stride;
  Row row;

  // Return the values before the row of picture n and block b.
  int64_t at(int64_t n, int64_t b) const { return n * picture_stride + b * block_stride; }
  // Return true if both lay out their rows alike.
  bool operator==(const Grid& other) const {
    return picture_stride == other.picture_stride && block_stride == other.block_stride &&
           row.stride == other.row.stride && row.lanes == other.row.lanes;
  }
};

// Call f(i, offset) for all rows, in parallel. i: the row's first channel among (N, C); offset: values before the row.
template <typename F>
void each_row(const Grid& grid, F f) {
#pragma omp parallel for
  for (int64_t row = 0; row < grid.pictures * grid.blocks; ++row) {
    const int64_t n = row / grid.blocks, b = row % grid.blocks;
    f(n * grid.channels + b * grid.row.lanes, grid.at(n, b));
  }
}

// Return the grid of NCHW.
inline Grid plain_grid(const mxnet::TShape& shape) {
  const int64_t pixels = shape[2] * shape[3];
  return {
      .pictures = shape[0],
      .channels = shape[1],
      .blocks = shape[1],
      .picture_stride = shape[1] * pixels,
      .block_stride = pixels,
      .row = {.pixels = pixels, .stride = 1, .lanes = 1},
  };
}

// Return the number of channels of a block with channels last, for values of `bytes`; 0: none fits.
inline int lanes_of(int64_t channels, int bytes) {
  if (bytes == 2 && channels % 32 == 0) return 32;
  if (channels % 16 == 0) return 16;
  return channels % 8 == 0 ? 8 : 0;
}

// Return the grid of a layout in blocks of channels or with channels last; lanes 0: the layout is neither.
inline Grid grid_of(const dnnl_memory_desc_t& layout, int bytes) {
  Grid grid = {
      .pictures = layout.dims[0],
      .channels = layout.dims[1],
      .blocks = 0,
      .picture_stride = 0,
      .block_stride = 0,
      .row = {.pixels = layout.dims[2] * layout.dims[3], .stride = 0, .lanes = 0},
  };
  const auto& blocking = layout.format_desc.blocking;
  const int64_t width = layout.dims[3], *strides = blocking.strides;
  for (int axis = 0; axis < 4; ++axis)
    if (layout.padded_dims[axis] != layout.dims[axis]) return grid;
  if (layout.format_kind != dnnl_blocked || layout.offset0 || strides[2] != width * strides[3]) return grid;
  int lanes = 0;
  if (blocking.inner_nblks == 1 && blocking.inner_idxs[0] == 1) {
    lanes = blocking.inner_blks[0];
    if ((lanes != 8 && lanes != 16) || strides[3] != lanes) return grid;
    grid.block_stride = strides[1];
  } else if (blocking.inner_nblks == 0 && strides[1] == 1) {
    lanes = lanes_of(grid.channels, bytes);
    grid.block_stride = lanes;
  }
  if (!lanes) return grid;
  grid.picture_stride = strides[0];
  grid.blocks = grid.channels / lanes;
  grid.row.stride = strides[3];
  grid.row.lanes = lanes;
  return grid;
}

// A layout for oneDNN and for us.
struct Layout {
  dnnl::memory::desc layout;
  Grid grid;
};

// Return the layout of (N, C, H, W), or of weights, as they are without oneDNN.
inline Layout plain_layout(const mxnet::TShape& shape, int type) {
  Layout plain = {{}, plain_grid(shape)};
  dnnl_memory_desc_t& to = plain.layout.data;
  to.ndims = 4;
  to.format_kind = dnnl_blocked;
  to.data_type = type == mshadow::kBfloat16 ? dnnl_bf16 : dnnl_f32;
  int64_t stride = 1;
  for (int axis = 3; axis >= 0; --axis) {
    to.dims[axis] = to.padded_dims[axis] = shape[axis];
    to.format_desc.blocking.strides[axis] = stride;
    stride *= shape[axis];
  }
  return plain;
}

// Return the layout of float32 in blocks of `lanes` channels. The channels are a multiple of it.
inline Layout blocked_layout(const mxnet::TShape& shape, int lanes) {
  Layout blocked = plain_layout(shape, mshadow::kFloat32);
  auto& blocking = blocked.layout.data.format_desc.blocking;
  for (int axis = 1; axis < 4; ++axis) blocking.strides[axis] *= lanes;
  blocking.inner_nblks = 1;
  blocking.inner_blks[0] = lanes;
  blocking.inner_idxs[0] = 1;
  blocked.grid = grid_of(blocked.layout.data, sizeof(float));
  return blocked;
}

// An array that is read: its grid and first value. It may be a copy in another layout.
struct InputArray : Layout {
  mxnet::NDArray array;
  const void* data;

  // The array as it is, or in the plain layout if its own has no grid.
  explicit InputArray(const mxnet::NDArray& given) : array(given) {
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

  // The array in the layout of `like`.
  InputArray(const mxnet::NDArray& given, const Layout& like) : InputArray(given) {
    if (grid == like.grid) return;
    data = array.GetMKLDNNDataReorder(like.layout)->get_data_handle();
    mxnet::MKLDNNStream::Get()->Submit(false);
    grid = like.grid;
  }
};

// An array that is written in the layout of `like`. data is nullptr if nobody wants it. Make it after each InputArray:
// it may use the memory that an InputArray reads.
struct OutputArray {
  const mxnet::NDArray& array;
  mxnet::mkldnn_output_t output = {mxnet::Noop, nullptr};
  void* data = nullptr;

  // The memory to write to, in the layout of `like`.
  OutputArray(const mxnet::NDArray& given, mxnet::OpReqType request, const Layout& like) : array(given) {
    if (request == mxnet::kNullOp) return;
    if (request == mxnet::kWriteInplace) {  // each value is read before it is replaced
      const_cast<mxnet::NDArray&>(array).InvalidateMKLDNNData();
      request = mxnet::kWriteTo;
    }
    output = mxnet::CreateMKLDNNMem(array, like.layout, request);
    data = output.second->get_data_handle();
  }

  // Hand over what was written. With kAddTo it is added to the array.
  void commit() {
    if (data) mxnet::CommitOutput(array, output);
  }
};

// Run what oneDNN was asked for, and give its temporary memory back.
inline void done() { mxnet::MKLDNNStream::Get()->Submit(); }

}  // namespace ibnnet
