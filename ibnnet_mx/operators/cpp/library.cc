// The library's entry point, which mxnet calls when it loads the library. The operators of steps.h are registered by
// it; those of nodes.h register themselves before.

#include <mxnet/lib_api.h>

// Accept mxnet 1.9.
mxnet::ext::MXReturnValue initialize(int version) {
  if (version >= 10900 && version < 20000) return mxnet::ext::MX_SUCCESS;
  MX_ERROR_MSG << "these operators are for mxnet 1.9" << std::endl;
  return mxnet::ext::MX_FAIL;
}
