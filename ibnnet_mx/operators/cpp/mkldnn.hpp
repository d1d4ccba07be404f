// The part of oneDNN's classes that mxnet/ndarray.h and we need. oneDNN's own header defines them inline, by calls of C
// functions that libmxnet.so does not export. It does export the methods, which are declared here.

#pragma once

#include <memory>

#include <dnnl_types.h>

struct dnnl_memory;

namespace dnnl {

// The same names and layout as in oneDNN.
struct memory {
  struct desc {
    dnnl_memory_desc_t data;
  };
  desc get_desc() const;
  void* get_data_handle() const;

 private:
  std::shared_ptr<dnnl_memory> memory_;
};

}  // namespace dnnl

namespace mkldnn = dnnl;
