"""An ONNX graph while it is built: operations on values, and constants. It needs no package onnx.

A value is named by a text that is unique in the graph; what it is called in the file is decided at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dragon.graph.node import Node
from dragon.memory.blob import Blob

__all__ = ["BEFORE_ALL", "Graph", "Operation", "Subgraph", "differing"]

BEFORE_ALL = -(2**31)  # the end of a slice backwards that takes the first element too

Dims: TypeAlias = "list[int]"


@dataclass
class Operation:
    """One node of the file. attributes: numbers, texts, lists of them, arrays, or a Subgraph."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    layer: str


@dataclass
class Subgraph:
    """The body of a Scan: it reads its own inputs and any value of the graph around it."""

    inputs: list[tuple[str, Sequence[int]]]
    outputs: list[str]
    operations: list[Operation] = field(default_factory=list)


class Graph:
    """Operations and constants of a net.

    opset: the version of ONNX's operators. growing: by the id of a blob, the axes that grow with the batch; empty for a
    batch of fixed size.
    """

    def __init__(self, opset: int, growing: Mapping[int, frozenset[int]] | None = None) -> None:
        self.opset = opset
        self.growing = growing or {}
        self.operations: list[Operation] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.current: dict[str, str] = {}  # the value of a blob, by its name
        self.layer = ""  # the one that is written now
        self._known: dict[Any, str] = {}
        self._numbers: Iterator[int] = itertools.count()

    # -- values -----------------------------------------------------------------------------------------------
    def bottom(self, node: Node, index: int = 0) -> str:
        """The value of a bottom."""
        return self.current[node.bottom_names[index]]

    def bottoms(self, node: Node) -> list[str]:
        """The values of all bottoms."""
        return [self.current[name] for name in node.bottom_names]

    def new_value(self, what: str) -> str:
        """A new name for a value, which the file does not have to use."""
        return f"{self.layer}/{what}:{next(self._numbers)}"

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The value of an operation with one output. An empty input is one that is left out."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """The values of an operation with several outputs."""
        values = [self.new_value(kind) for _ in range(outputs)]
        given = {name: value for name, value in attributes.items() if value is not None}
        self.operations.append(Operation(kind, list(inputs), values, given, self.layer))
        return values

    # -- constants --------------------------------------------------------------------------------------------
    def constant(self, value: ArrayLike, what: str = "constant", exact: bool = False) -> str:
        """A constant of its own: float32, or float64 with `exact`; int64 and bool as they are."""
        array = np.asarray(value)
        array = array.astype(np.float64 if exact else np.float32) if array.dtype.kind == "f" else array
        name = self.new_value(what)
        self.constants[name] = np.ascontiguousarray(array).reshape(array.shape)
        return name

    def blob(self, blob: Blob, what: str, shape: Sequence[int] | None = None) -> str:
        """A learned blob as a constant, perhaps in another shape; layers that share it share the constant."""
        wanted = tuple(blob.shape if shape is None else shape)
        key = (id(blob.data_storage), wanted)
        if key not in self._known:
            self._known[key] = self.constant(blob.peek().reshape(wanted), what)
        return self._known[key]

    def ints(self, values: Sequence[int]) -> str:
        """A list of integers, such as axes; equal ones are one constant."""
        return self._shared(np.array(list(values), np.int64))

    def number(self, value: float) -> str:
        """A single float32; equal ones are one constant."""
        return self._shared(np.array(value, np.float32))

    def _shared(self, array: NDArray[Any]) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.constant(array)
        return self._known[key]

    # -- shapes -----------------------------------------------------------------------------------------------
    def grows(self, blob: Blob, axis: int) -> bool:
        """Whether an axis of a blob grows with the batch."""
        return axis in self.growing.get(id(blob), ())

    def dims(self, blob: Blob) -> Dims:
        """The shape of a blob for a Reshape: -1 for the axis that grows with the batch."""
        return [-1 if self.grows(blob, axis) else dim for axis, dim in enumerate(blob.shape)]

    def lead(self, node: Node, count: int) -> int:
        """The first axis of a view of bottom 0 whose first axis holds all that grow: -1, or `count` if none does."""
        return -1 if self.growing.get(id(node.bottoms[0])) else count

    def reshape(self, x: str, dims: Sequence[int]) -> str:
        """Another shape, in which -1 stands for what is left."""
        return self.op("Reshape", x, self.ints(dims))

    def like(self, x: str, blob: Blob) -> str:
        """A value in the shape of a blob."""
        return self.reshape(x, self.dims(blob))

    def shape_of(self, x: str, blob: Blob) -> str:
        """The shape of a value of the shape of `blob`, as a list of integers."""
        return self.op("Shape", x) if self.growing.get(id(blob)) else self.ints(blob.shape)

    # -- operations that changed between opsets, or need constants -----------------------------------------------
    def reduce(self, kind: str, x: str, axes: Sequence[int], keep: bool = True) -> str:
        """ReduceSum, ReduceMean or ReduceMax over axes."""
        if kind == "ReduceSum" or self.opset >= 18:
            return self.op(kind, x, self.ints(axes), keepdims=int(keep))
        return self.op(kind, x, axes=list(axes), keepdims=int(keep))

    def slice(self, x: str, parts: Mapping[int, slice]) -> str:
        """The part of a value that slices, each with start, stop and step, take by axis."""
        starts, ends, steps = ([getattr(part, end) for part in parts.values()] for end in ("start", "stop", "step"))
        steps = [1 if step is None else step for step in steps]
        return self.op("Slice", x, self.ints(starts), self.ints(ends), self.ints(list(parts)), self.ints(steps))

    def scaled(self, x: str, factor: float, shift: float = 0.0) -> str:
        """A value times a factor, plus a shift, without what does nothing."""
        x = x if factor == 1 else self.op("Mul", x, self.number(factor))
        return x if shift == 0 else self.op("Add", x, self.number(shift))

    def cast(self, x: str, kind: str) -> str:
        """A value as FLOAT, DOUBLE, INT64 or BOOL."""
        return self.op("Cast", x, to=kind)

    def along_channels(self, values: ArrayLike, ndim: int, what: str) -> str:
        """A constant (C) in a shape that broadcasts over (N, C, ...)."""
        array = np.asarray(values).reshape(-1)
        return self.constant(array.reshape(-1, *[1] * max(0, ndim - 2)) if ndim > 1 else array, what)

    def subgraph(self, inputs: Mapping[str, Sequence[int]]) -> tuple[Graph, Subgraph]:
        """A graph whose operations become the body of a Scan, with float inputs of these shapes by name."""
        inner = Graph(self.opset, self.growing)
        inner.layer, inner.constants, inner._known, inner._numbers = (
            self.layer, self.constants, self._known, self._numbers,
        )  # fmt: skip
        body = Subgraph([(self.new_value(name), shape) for name, shape in inputs.items()], [], inner.operations)
        return inner, body


def differing(first: Graph, second: Graph) -> list[str]:
    """Layers whose operations, their constants or attributes are others in the second graph of the same net."""
    found = []
    for one, other in zip(first.operations, second.operations, strict=False):
        if one.layer not in found and not _same(one, other, first, second):
            found.append(one.layer)
    return found


def _same(one: Operation, other: Operation, first: Graph, second: Graph) -> bool:
    if one.kind != other.kind or len(one.inputs) != len(other.inputs):
        return False
    for mine, theirs in zip(one.inputs, other.inputs, strict=True):
        if mine in first.constants and not np.array_equal(first.constants[mine], second.constants.get(theirs, [])):
            return False
    return all(
        isinstance(value, Subgraph) or np.array_equal(value, other.attributes.get(name, ()))
        for name, value in one.attributes.items()
    )
