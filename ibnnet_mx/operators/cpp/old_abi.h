// Types to talk to libmxnet.so, which GCC 4.8 made. Include this before any header of mxnet.
//
// Two things of the standard library have changed since, beside std::string (for which there is a compiler flag):
// std::function passed values to its function as they are, now as references; std::unordered_map is 8 bytes larger.

#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dmlc {
class any;
}
namespace nnvm {
struct NodeAttrs;
}
namespace mxnet {
class TShape;
enum class DispatchMode;
}  // namespace mxnet

namespace ibnnet {

template <typename Signature>
class OldFunction;

// A std::function of GCC 4.8, in its layout.
template <typename R, typename... Arguments>
class OldFunction<R(Arguments...)> {
  using Manager = bool (*)(OldFunction*, const OldFunction*, int);
  using Invoker = R (*)(const OldFunction*, Arguments...);
  enum { kTypeInfo, kPointer, kClone, kDestroy };

  void* target_[2] = {nullptr, nullptr};
  Manager manager_ = nullptr;
  Invoker invoker_ = nullptr;

 public:
  // Empty functions, and one that calls a copy of f.
  OldFunction() = default;
  OldFunction(std::nullptr_t) {}  // NOLINT
  template <typename F, typename = decltype(std::declval<F&>()(std::declval<Arguments>()...))>
  OldFunction(F f) {  // NOLINT
    target_[0] = new F(std::move(f));
    manager_ = [](OldFunction* to, const OldFunction* from, int operation) {
      if (operation == kPointer) to->target_[0] = from->target_[0];
      if (operation == kClone) to->target_[0] = new F(*static_cast<F*>(from->target_[0]));
      if (operation == kDestroy) delete static_cast<F*>(to->target_[0]);
      return false;
    };
    invoker_ = [](const OldFunction* self, Arguments... arguments) -> R {
      return (*static_cast<F*>(self->target_[0]))(arguments...);
    };
  }

  // Copies share nothing.
  OldFunction(const OldFunction& other) : manager_(other.manager_), invoker_(other.invoker_) {
    if (manager_) manager_(this, &other, kClone);
  }
  OldFunction& operator=(OldFunction other) {
    std::swap(target_, other.target_);
    std::swap(manager_, other.manager_);
    std::swap(invoker_, other.invoker_);
    return *this;
  }
  ~OldFunction() {
    if (manager_) manager_(this, this, kDestroy);
  }

  // Call the function; it must not be empty.
  R operator()(Arguments... arguments) const { return invoker_(this, arguments...); }
  explicit operator bool() const { return manager_ != nullptr; }
};

using ShapesOf = std::vector<mxnet::TShape>;
using KindsOf = std::vector<int>;

}  // namespace ibnnet

namespace std {

#define OLD(...)                                                            \
  template <>                                                               \
  class function<__VA_ARGS__> : public ::ibnnet::OldFunction<__VA_ARGS__> { \
   public:                                                                  \
    using ::ibnnet::OldFunction<__VA_ARGS__>::OldFunction;                  \
  };

OLD(void(dmlc::any*))
OLD(void(nnvm::NodeAttrs*))
OLD(bool(const nnvm::NodeAttrs&, ::ibnnet::ShapesOf*, ::ibnnet::ShapesOf*))
OLD(bool(const nnvm::NodeAttrs&, ::ibnnet::KindsOf*, ::ibnnet::KindsOf*))
OLD(bool(const nnvm::NodeAttrs&, int, mxnet::DispatchMode*, ::ibnnet::KindsOf*, ::ibnnet::KindsOf*))

#undef OLD

}  // namespace std
