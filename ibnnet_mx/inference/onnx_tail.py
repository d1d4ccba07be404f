"""The softmax at the end of an .onnx file: cut it, or know of it, so that it is not applied twice."""

from __future__ import annotations

from typing import Any

from ibnnet_mx.errors import OptionError

SOFTMAX = ('Softmax', 'LogSoftmax')
PASSING = ('Identity', 'Flatten', 'Reshape', 'Squeeze', 'Unsqueeze', 'Dropout', 'Cast')
EXTERNAL = 1  # onnx.TensorProto.EXTERNAL: the numbers of an initialiser are in another file


def without_softmax(path: str) -> tuple[bytes | None, bool]:
    """Return (model without the softmax at its end, False), or (None, True) if it has one that cannot be cut.

    (None, False): the file gives no probabilities, or onnx is not installed, which is asked for elsewhere. A file whose
    numbers lie in other files cannot be cut in memory: its probabilities' logarithms serve as logits.
    Raises OptionError for onnx if the network ends in a sigmoid.
    """
    try:
        import onnx
    except ImportError:
        return None, False
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # what is wrong with it, onnxruntime says better
        return None, False
    name = _logits_of(model.graph, path)
    if name is None:
        return None, False
    if any(tensor.data_location == EXTERNAL for tensor in model.graph.initializer):
        return None, _tail(model.graph)[-1].op_type == 'Softmax'
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return model.SerializeToString(), False


def _tail(graph: Any) -> list[Any]:
    """Return the nodes at the end, from the last one to a softmax or sigmoid; [] if there is none."""
    makers = {output: node for node in graph.node for output in node.output}
    nodes, name = [], graph.output[0].name if graph.output else ''
    while name in makers:
        node = makers[name]
        nodes.append(node)
        if node.op_type in (*SOFTMAX, 'Sigmoid'):
            return nodes
        if node.op_type not in PASSING:
            return []
        name = node.input[0]
    return []


def _logits_of(graph: Any, path: str) -> str | None:
    """Return the name of the value that the softmax at the end takes; None if there is none."""
    tail = _tail(graph)
    if not tail:
        return None
    if tail[-1].op_type == 'Sigmoid':
        raise OptionError(
            'onnx', path, 'ends in a sigmoid, so that several classes may be true at once; this is for one class'
        )
    axis = next((attribute.i for attribute in tail[-1].attribute if attribute.name == 'axis'), -1)
    return tail[-1].input[0] if axis in (-1, 1) else None
