#include "kernels.h"

namespace ibnnet {

#define OF_VARIANT(name)                  \
  namespace name {                        \
  extern const Kernels<float> of_float;   \
  extern const Kernels<bfloat> of_bfloat; \
  }

OF_VARIANT(plain)
#if defined(__x86_64__)
OF_VARIANT(avx2)
OF_VARIANT(avx512)
#endif

namespace {

enum class Set { kPlain, kAvx2, kAvx512 };

Set best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return Set::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Set::kAvx2;
#endif
  return Set::kPlain;
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
  static const Set set = best();
#if defined(__x86_64__)
  if (set == Set::kAvx512) return avx512::of_float;
  if (set == Set::kAvx2) return avx2::of_float;
#endif
  return plain::of_float;
}

template <>
const Kernels<bfloat>& kernels<bfloat>() {
  static const Set set = best();
#if defined(__x86_64__)
  if (set == Set::kAvx512) return avx512::of_bfloat;
  if (set == Set::kAvx2) return avx2::of_bfloat;
#endif
  return plain::of_bfloat;
}

}  // namespace ibnnet
