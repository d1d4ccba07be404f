// The choice among the compiled variants of the kernels.

#include <cstdlib>
#include <string>

#include "kernels.h"
#include "winograd.h"

namespace ibnnet {

#define OF_VARIANT(name)                  \
  namespace name {                        \
  extern const Kernels<float> of_float;   \
  extern const Kernels<bfloat> of_bfloat; \
  extern const Winograd of_winograd;      \
  }

OF_VARIANT(plain)
#if defined(__x86_64__)
OF_VARIANT(avx2)
OF_VARIANT(avx512)
#endif

namespace {

// The kernels of one instruction set.
struct Variant {
  const Kernels<float>* of_float;
  const Kernels<bfloat>* of_bfloat;
  const Winograd* of_winograd;
};

// Return the fastest variant that this processor runs. DNNL_MAX_CPU_ISA, oneDNN's own limit, decides upon its layouts
// as well and holds for ours; its values AVX512_... forbid nothing that is used here.
Variant best() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const char* variable = std::getenv("DNNL_MAX_CPU_ISA");
  const std::string limit = variable ? variable : "";
  const bool narrow = limit == "SSE41" || limit == "AVX", middle = limit.compare(0, 4, "AVX2") == 0;
  if (!narrow && !middle && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return {&avx512::of_float, &avx512::of_bfloat, &avx512::of_winograd};
  if (!narrow && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {&avx2::of_float, &avx2::of_bfloat, &avx2::of_winograd};
#endif
  return {&plain::of_float, &plain::of_bfloat, nullptr};
}

// Return the variant that is used in this process.
const Variant& chosen() {
  static const Variant variant = best();
  return variant;
}

}  // namespace

// kernels.h and winograd.h tell what these return.
template <>
const Kernels<float>& kernels<float>() {
  return *chosen().of_float;
}

template <>
const Kernels<bfloat>& kernels<bfloat>() {
  return *chosen().of_bfloat;
}

const Winograd* winograd() { return chosen().of_winograd; }

}  // namespace ibnnet
