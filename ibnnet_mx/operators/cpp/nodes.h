// Helpers for the operators' entries in mxnet's registry.

#pragma once

#include "old_abi.h"  // first

#include <nnvm/op.h>
#include <nnvm/op_attr_types.h>

#include "arrays.h"

namespace mxnet {
namespace op {

// Functions of libmxnet.so that its headers do not declare.
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

// Return a number among a node's attributes, `usual` if it is not there. Only `dict` is read: the fields of NodeAttrs
// behind it are not where this compiler looks for them (old_abi.h).
inline double number(const nnvm::NodeAttrs& attrs, const char* key, double usual) {
  for (const auto& pair : attrs.dict)
    if (pair.first == key) return std::stod(pair.second);
  return usual;
}

// Return the inputs of a node. They come after its attributes, one of which this compiler takes for larger (old_abi.h).
inline const std::vector<nnvm::NodeEntry>& inputs_of(const nnvm::Node& node) {
  static_assert(sizeof(std::unordered_map<std::string, std::string>) == 56, "8 more than with GCC 4.8");
  const char* here = reinterpret_cast<const char*>(&node.inputs) - 8;
  return *reinterpret_cast<const std::vector<nnvm::NodeEntry>*>(here);
}

// Ask for dense arrays, in any layout of oneDNN's.
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

// Set all types to float32. Another type is an error.
inline bool only_float32(const char* name, KindsOf* in, KindsOf* out) {
  for (auto* kinds : {in, out})
    for (int& kind : *kinds) {
      CHECK(kind == -1 || kind == mshadow::kFloat32) << name << " is for float32";
      kind = mshadow::kFloat32;
    }
  return true;
}

// Return the entry of an operator on the CPU that takes arrays in the layout that they have.
inline nnvm::Op& enter(const char* name, Compute compute) {
  return ::dmlc::Registry<nnvm::Op>::Get()
      ->__REGISTER_OR_GET__(name)
      .set_attr<mxnet::FInferStorageType>("FInferStorageType", infer_storage)
      .set_attr<bool>("TIsMKLDNN", true)
      .set_attr<mxnet::FComputeEx>("FComputeEx<cpu>", compute);
}

// The functions of an operator that has a gradient.
struct Layer {
  Compute compute;
  Shapes shapes;
  Types types;
  std::vector<std::string> (*names)(const nnvm::NodeAttrs&);
  std::vector<nnvm::NodeEntry> (*gradient)(const nnvm::ObjectPtr&, const std::vector<nnvm::NodeEntry>&);
};

// Return the entry of an operator that has a gradient and one output that is no help to it.
inline nnvm::Op& enter_layer(const char* name, const Layer& layer) {
  return enter(name, layer.compute)
      .set_attr<nnvm::FListInputNames>("FListInputNames", layer.names)
      .set_attr<nnvm::FNumVisibleOutputs>("FNumVisibleOutputs", [](const nnvm::NodeAttrs&) { return 1u; })
      .set_attr<mxnet::FInferShape>("FInferShape", layer.shapes)
      .set_attr<nnvm::FInferType>("FInferType", layer.types)
      .set_attr<nnvm::FGradient>("FGradient", layer.gradient);
}

// Return the values of a float32 array.
inline float* values(const NDArray& array) { return array.data().dptr<float>(); }

// Write values to an array, or add them, as requested.
inline void put(const NDArray& array, mxnet::OpReqType request, const std::vector<float>& values) {
  float* to = array.data().dptr<float>();
  for (size_t i = 0; i < values.size() && request != mxnet::kNullOp; ++i)
    to[i] = request == mxnet::kAddTo ? to[i] + values[i] : values[i];
}

}  // namespace ibnnet
