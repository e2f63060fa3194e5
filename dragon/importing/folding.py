"""Makes a Graph of an ONNX model: dimensions fixed, constants computed, shapes inferred, in one pass over the nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dragon.counting import how_many
from dragon.errors import PrototxtError, UsageError, first_line, nearest
from dragon.files.onnx_package import onnx_module
from dragon.importing.graph import Array, Graph, Node
from dragon.importing.loops import infer_scan
from dragon.importing.titles import title_of

__all__ = ["make_graph"]

_MOST_FOLDED = 1 << 26  # values of a constant that is computed here
_MOST_PASSED = 1 << 12  # values of a constant that shape inference is given: shapes, axes, pads
_SAME = ("Identity", "Dropout")  # give their first input, in a net that is not trained
_KEEPS_SHAPE = (
    "GroupNormalization",
    "MeanVarianceNormalization",
)  # their results have the shape of the first input, which onnx does not infer
# operators of ONNX whose results are whole numbers if all that they read is
_WHOLE = """
Add Concat Expand Flatten Gather Max MaxPool Min Mod Mul Neg Pad Reshape Slice Split Squeeze Sub Tile Transpose
Unsqueeze
"""
_KEEPS_WHOLE = frozenset(_WHOLE.split())
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")


def make_graph(model: Any, path: str, batch: int = 1, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """The graph of a model (a ModelProto), whose inputs get the shapes that are chosen here.

    batch: the first dimension of inputs where the model leaves it open. shapes: whole shapes of inputs by name, or by
    "" for the only input; they may differ from those of the file. Raises PrototxtError for a model that cannot be read,
    UsageError for other open dimensions and for shapes of inputs that are not there.
    """
    folder = _Folder(model, path)
    folder.read_inputs(batch, dict(shapes or {}))
    del model.graph.value_info[:]  # what the file says of shapes, which may be others now
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    for proto in model.graph.node:
        folder.add(proto)
    graph = folder.graph
    graph.outputs = {value.name: folder.same.get(value.name, value.name) for value in model.graph.output}
    graph.drop_unread()
    return graph


class _Folder:
    """Reads the nodes of a model in order."""

    def __init__(self, model: Any, path: str) -> None:
        self.onnx, self.model, self.path = onnx_module(), model, path
        self.schemas = onnx_module("onnx.defs")
        self.infer = onnx_module("onnx.shape_inference").infer_node_outputs
        self.numpy_helper = onnx_module("onnx.numpy_helper")
        self.evaluator = onnx_module("onnx.reference").ReferenceEvaluator
        self.opsets = {_domain(one.domain): one.version for one in model.opset_import}
        kinds = self.onnx.TensorProto
        self.floats = (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16)
        self.same: dict[str, str] = {}  # values that are another one
        self.whole: set[str] = set()  # values of a type of floats that are whole numbers
        self.kinds: dict[str, int] = {}  # their types, where a Cast made them
        self.graph = Graph([], [], {})
        for tensor in model.graph.initializer:
            self.graph.constants[tensor.name] = self._array(tensor)
        for sparse in model.graph.sparse_initializer:
            raise PrototxtError(f'{path}: the sparse tensor "{sparse.values.name}" is not read')

    def _array(self, tensor: Any) -> Array:
        try:
            found: Array = self.numpy_helper.to_array(tensor)
        except Exception as error:
            raise PrototxtError(f'{self.path}: tensor "{tensor.name}" is damaged: {first_line(error)}') from None
        return found

    # -- inputs ----------------------------------------------------------------------------------------------
    def read_inputs(self, batch: int, shapes: dict[str, Sequence[int]]) -> None:
        """Read the inputs and fix their shapes."""
        graph = self.graph
        inputs = [value for value in self.model.graph.input if value.name not in graph.constants]
        names = [value.name for value in inputs]
        if "" in shapes:
            if len(names) != 1:
                raise UsageError(f"a shape without a name needs a model with one input, {self.path} has {names}")
            shapes[names[0]] = shapes.pop("")
        for name in shapes:
            if name not in names:
                raise UsageError(f'{self.path} has no input "{name}"{nearest(name, names)}: it has {", ".join(names)}')
        named: dict[str, int] = {}  # dimensions by the model's names for them
        for value in inputs:
            known = value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")
            if not known and value.name not in shapes:
                raise UsageError(
                    f'{self.path}: input "{value.name}" has no shape: give one, as {value.name}:1,3,224,224'
                )
            self._fix(value, batch, shapes.get(value.name), named)

    def _fix(self, value: Any, batch: int, given: Sequence[int] | None, named: dict[str, int]) -> None:
        dims = list(value.type.tensor_type.shape.dim)
        if given is not None:
            if dims and len(given) != len(dims):
                raise UsageError(
                    f'{self.path}: input "{value.name}" has {how_many(len(dims), "axis")}, got the shape {tuple(given)}'
                )
            sizes = [int(size) for size in given]
            named |= {dim.dim_param: size for dim, size in zip(dims, sizes, strict=False) if dim.dim_param}
        else:
            sizes = []
            for axis, dim in enumerate(dims):
                if dim.HasField("dim_value") and dim.dim_value > 0:
                    sizes.append(dim.dim_value)
                elif dim.dim_param in named:
                    sizes.append(named[dim.dim_param])
                elif axis == 0:
                    sizes.append(batch)
                    named |= {dim.dim_param: batch} if dim.dim_param else {}
                else:
                    shown = ",".join(str(d.dim_value or d.dim_param or "?") for d in dims)
                    raise UsageError(
                        f'{self.path}: input "{value.name}" of shape {shown} leaves axis {axis} open: give its shape,'
                        f" as {value.name}:1,3,224,224"
                    )
        del value.type.tensor_type.shape.dim[:]
        for size in sizes:
            value.type.tensor_type.shape.dim.add(dim_value=size)
        self.graph.inputs.append(value.name)
        self.graph.shapes[value.name] = tuple(sizes)
        self.graph.types[value.name] = value.type.tensor_type.elem_type or self.onnx.TensorProto.FLOAT

    # -- nodes -----------------------------------------------------------------------------------------------
    def add(self, proto: Any) -> None:
        """Read a node: compute it, leave it out, or add it to the graph with the shapes of its results."""
        graph = self.graph
        domain = _domain(proto.domain)
        op = f"{domain}::{proto.op_type}" if domain else proto.op_type
        inputs = [self.same.get(name, name) for name in proto.input]
        title, attributes = title_of(proto), self._attributes(proto)
        opset = self.opsets.get(domain, 0)
        node = Node(op, title or proto.name, inputs, list(proto.output), attributes, opset, bool(title))
        if not any(node.outputs):
            raise PrototxtError(f'{self.path}: the node "{proto.name}" ({op}) has no output')
        if self._is_same(node):
            self._leave_out(node, proto)
            return
        if op == "If" and node.inputs[0] in graph.constants:
            self._take_branch(node)
            return
        if self._compute(node, proto):
            return
        graph.nodes.append(node)
        self._infer(node, proto)

    def _attributes(self, proto: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for attribute in proto.attribute:
            try:
                value = self.onnx.helper.get_attribute_value(attribute)
            except Exception as error:
                raise PrototxtError(f'{self.path}: node "{proto.name}" is damaged: {first_line(error)}') from None
            found[attribute.name] = self._array(value) if isinstance(value, self.onnx.TensorProto) else value
        return found

    def _is_same(self, node: Node) -> bool:
        """Whether the first output of a node is its first input."""
        if node.op in _SAME:
            training = self.graph.constants.get(node.inputs[2]) if node.has_input(2) else None
            return training is None or not training.any()
        if node.op != "Cast" or node.inputs[0] in self.graph.constants:
            return False
        old, new = self.graph.types.get(node.inputs[0]), node.integer("to", self.onnx.TensorProto.FLOAT)
        # a blob holds integers as floats
        return new in self.floats or old not in self.floats or self._is_whole(node.inputs[0])

    def _is_whole(self, value: str) -> bool:
        """Whether the values are whole numbers, of whatever type."""
        constant = self.graph.constants.get(value)
        if constant is None:
            return value in self.whole or self.graph.types.get(value, self.floats[0]) not in self.floats
        return constant.dtype.kind in "iub"

    def _leave_out(self, node: Node, proto: Any) -> None:
        source = node.inputs[0]
        self._alias(node.outputs[0], source)
        kind = node.integer("to", self.onnx.TensorProto.FLOAT) if node.op == "Cast" else self.kinds.get(proto.input[0])
        self.kinds |= {node.outputs[0]: kind} if kind is not None else {}
        if node.op == "Dropout" and node.has_output(1) and source in self.graph.shapes:
            self.graph.constants[node.outputs[1]] = np.ones(self.graph.shapes[source], bool)

    def _alias(self, name: str, source: str) -> None:
        """Let a value be another one."""
        self.same[name] = source
        if source in self.graph.constants:
            self.graph.constants[name] = self.graph.constants[source]

    def _take_branch(self, node: Node) -> None:
        """Read the nodes of the branch that a constant condition chooses."""
        condition = self.graph.constants[node.inputs[0]]
        branch = node.attributes["then_branch" if condition.any() else "else_branch"]
        for tensor in branch.initializer:
            self.graph.constants[tensor.name] = self._array(tensor)
        for proto in branch.node:
            self.add(proto)
        for name, value in zip(node.outputs, branch.output, strict=False):
            self._alias(name, self.same.get(value.name, value.name))

    def _compute(self, node: Node, proto: Any) -> bool:
        """Compute a node whose inputs are all constants, or whose result is; whether that was done."""
        constants, shapes = self.graph.constants, self.graph.shapes
        if node.op in ("Shape", "Size") and node.inputs[0] in shapes:
            shape = shapes[node.inputs[0]]
            start, end = node.integer("start", 0), node.attributes.get("end", len(shape))
            value = shape[start:end] if node.op == "Shape" else math.prod(shape)
            constants[node.outputs[0]] = np.array(value, np.int64)
            return True
        given = [name for name in node.inputs if name]
        if node.op in _RANDOM or any(name not in constants for name in given) or _has_graph(proto, self.onnx):
            return False
        if node.op.partition("::")[1] or self._result_size(node, proto) > _MOST_FOLDED:
            return False
        plain = self.onnx.NodeProto()
        plain.CopyFrom(proto)
        del plain.input[:]
        plain.input.extend(node.inputs)
        try:
            with np.errstate(all="ignore"):
                found = self.evaluator(plain, opsets={"": node.opset}).run(None, {n: constants[n] for n in set(given)})
        except Exception:
            return False  # the converters say that the operator has no form
        for name, array in zip((n for n in node.outputs if n), found, strict=False):
            constants[name] = np.asarray(array)
        return True

    def _result_size(self, node: Node, proto: Any) -> int:
        """Values in the largest result of a node whose inputs are constants; too many where that is not known."""
        if node.op == "Constant":
            return 0
        sizes = []
        for found in self._types_of_outputs(node, proto).values():
            if not found.HasField("tensor_type") or not found.tensor_type.HasField("shape"):
                return _MOST_FOLDED + 1 if node.op in ("ConstantOfShape", "Expand", "Tile", "Range") else 0
            sizes.append(math.prod(max(0, dim.dim_value) for dim in found.tensor_type.shape.dim))
        return max(sizes, default=0)

    def _infer(self, node: Node, proto: Any) -> None:
        first = node.inputs[0] if node.inputs else ""
        if node.op in _KEEPS_SHAPE and first in self.graph.shapes:
            self.graph.shapes[node.outputs[0]] = self.graph.shapes[first]
            self.graph.types[node.outputs[0]] = self.graph.types[first]
            return
        if node.op == "Scan":
            infer_scan(self.graph, node)
            return
        for name, found in self._types_of_outputs(node, proto).items():
            if not found.HasField("tensor_type"):
                continue
            self.graph.types[name] = found.tensor_type.elem_type
            dims = list(found.tensor_type.shape.dim)
            if node.op in _KEEPS_WHOLE and all(self._is_whole(given) for given in node.inputs if given):
                self.whole.add(name)
            if found.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
                self.graph.shapes[name] = tuple(dim.dim_value for dim in dims)

    def _types_of_outputs(self, node: Node, proto: Any) -> dict[str, Any]:
        """ONNX's own inference for one node; nothing where it cannot tell."""
        if node.op == "Split" and node.attributes.get("num_outputs", len(node.outputs)) != len(node.outputs):
            return {}  # there it reads beyond the end of a list, and ends the process
        make, helper = self.onnx.helper.make_tensor_type_proto, self.numpy_helper
        types, data = {}, {}
        single = self.onnx.TensorProto.FLOAT  # casts between floats are left out: all are of one type here
        for name in dict.fromkeys(proto.input):
            source = self.same.get(name, name)
            constant = self.graph.constants.get(source)
            if constant is not None:
                kind = self.onnx.helper.np_dtype_to_tensor_dtype(constant.dtype)
                types[name] = make(single if kind in self.floats else kind, constant.shape)
                if constant.size <= _MOST_PASSED and constant.dtype != object:
                    data[name] = helper.from_array(constant, name)
            elif source in self.graph.types:
                known = self.kinds.get(name, self.graph.types[source])
                types[name] = make(single if known in self.floats else known, self.graph.shapes.get(source))
        try:
            schema = self.schemas.get_schema(proto.op_type, node.opset, proto.domain)
            opset = self.onnx.helper.make_opsetid(proto.domain, node.opset)
            found: dict[str, Any] = self.infer(schema, proto, types, data, opset_imports=[opset])
        except Exception:
            return {}  # an operator of another domain, or inputs whose shapes are not known
        return found


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _has_graph(proto: Any, onnx: Any) -> bool:
    """Whether a node runs a graph of its own."""
    kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return any(attribute.type in kinds for attribute in proto.attribute)
