// What mxnet/ndarray.h and we need of oneDNN's classes. They are declared here and not taken from oneDNN's own header,
// for that defines them inline by calls of C functions that libmxnet.so keeps to itself; the methods it does export.

#pragma once

#include <memory>

#include <dnnl_types.h>

struct dnnl_memory;

namespace dnnl {

struct memory {
  struct desc {
    dnnl_memory_desc_t data;
  };
  desc get_desc() const;
  void* get_data_handle() const;

 private:
  std::shared_ptr<dnnl_memory> held_;
};

}  // namespace dnnl

namespace mkldnn = dnnl;
