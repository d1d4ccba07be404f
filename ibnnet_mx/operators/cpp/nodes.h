// What the operators' entries in mxnet's registry share.

#pragma once

#include "old_abi.h"  // first

#include <nnvm/op.h>
#include <nnvm/op_attr_types.h>

#include "arrays.h"

namespace mxnet {
namespace op {

// libmxnet.so has these, its headers have not.
std::vector<nnvm::NodeEntry> MakeGradNode(const char* name, const nnvm::ObjectPtr& forward,
                                          const std::vector<nnvm::NodeEntry>& inputs,
                                          const std::unordered_map<std::string, std::string>& attributes);
nnvm::ObjectPtr MakeNode(const char* op, const std::string& name, const std::vector<nnvm::NodeEntry>* inputs,
                         const std::unordered_map<std::string, std::string>* attributes,
                         const nnvm::ObjectPtr* forward);

}  // namespace op
}  // namespace mxnet

namespace ibnnet {

using mxnet::NDArray;
using Arrays = std::vector<NDArray>;
using Requests = std::vector<mxnet::OpReqType>;

// The numbers among a node's attributes. Of NodeAttrs, what comes after dict is not where this compiler looks for it.
inline double number(const nnvm::NodeAttrs& attrs, const char* key, double usual) {
  for (const auto& pair : attrs.dict)
    if (pair.first == key) return std::stod(pair.second);
  return usual;
}

// The inputs of a node: they come after its attributes, of which one is larger to this compiler than to libmxnet.so.
inline const std::vector<nnvm::NodeEntry>& inputs_of(const nnvm::Node& node) {
  static_assert(sizeof(std::unordered_map<std::string, std::string>) == 56, "8 more than with GCC 4.8");
  const char* here = reinterpret_cast<const char*>(&node.inputs) - 8;
  return *reinterpret_cast<const std::vector<nnvm::NodeEntry>*>(here);
}

inline bool infer_storage(const nnvm::NodeAttrs&, const int, mxnet::DispatchMode* mode, std::vector<int>* in,
                          std::vector<int>* out) {
  for (auto* arrays : {in, out})
    for (int& kind : *arrays) kind = mxnet::kDefaultStorage;
  *mode = mxnet::DispatchMode::kFComputeEx;
  return true;
}

using Compute = void (*)(const nnvm::NodeAttrs&, const mxnet::OpContext&, const Arrays&, const Requests&,
                         const Arrays&);
using Shapes = bool (*)(const nnvm::NodeAttrs&, ShapesOf*, ShapesOf*);
using Types = bool (*)(const nnvm::NodeAttrs&, KindsOf*, KindsOf*);

inline bool only_float32(const char* name, KindsOf* in, KindsOf* out) {
  for (auto* kinds : {in, out})
    for (int& kind : *kinds) {
      CHECK(kind == -1 || kind == mshadow::kFloat32) << name << " is for float32";
      kind = mshadow::kFloat32;
    }
  return true;
}

// The entry of an operator on the CPU that is given arrays in whatever layout they have.
inline nnvm::Op& enter(const char* name, Compute compute) {
  return ::dmlc::Registry<nnvm::Op>::Get()
      ->__REGISTER_OR_GET__(name)
      .set_attr<mxnet::FInferStorageType>("FInferStorageType", infer_storage)
      .set_attr<bool>("TIsMKLDNN", true)
      .set_attr<mxnet::FComputeEx>("FComputeEx<cpu>", compute);
}

// Of one that has a gradient: its shapes, types, names of inputs.
inline nnvm::Op& enter_layer(const char* name, Compute compute, Shapes shapes, Types types,
                             std::vector<std::string> (*names)(const nnvm::NodeAttrs&),
                             std::vector<nnvm::NodeEntry> (*gradient)(const nnvm::ObjectPtr&,
                                                                      const std::vector<nnvm::NodeEntry>&)) {
  return enter(name, compute)
      .set_attr<nnvm::FListInputNames>("FListInputNames", names)
      .set_attr<nnvm::FNumVisibleOutputs>("FNumVisibleOutputs", [](const nnvm::NodeAttrs&) { return 1u; })
      .set_attr<mxnet::FInferShape>("FInferShape", shapes)
      .set_attr<nnvm::FInferType>("FInferType", types)
      .set_attr<nnvm::FGradient>("FGradient", gradient);
}

inline float* values(const NDArray& array) { return array.data().dptr<float>(); }

inline void put(const NDArray& array, mxnet::OpReqType request, const std::vector<float>& values) {
  float* to = array.data().dptr<float>();
  for (size_t i = 0; i < values.size() && request != mxnet::kNullOp; ++i)
    to[i] = request == mxnet::kAddTo ? to[i] + values[i] : values[i];
}

}  // namespace ibnnet
