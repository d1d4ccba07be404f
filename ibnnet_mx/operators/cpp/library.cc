// The library's way in, for mxnet's lib_api.h; its operators of the kind of norm.cc are there as soon as it is loaded.

#include <mxnet/lib_api.h>

mxnet::ext::MXReturnValue initialize(int version) {
  if (version >= 10900 && version < 20000) return mxnet::ext::MX_SUCCESS;
  MX_ERROR_MSG << "these operators are for mxnet 1.9" << std::endl;
  return mxnet::ext::MX_FAIL;
}
