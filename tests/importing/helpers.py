"""ONNX models of a few nodes, and the check that a net made of one computes the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from dragon.export.caffe.known import beyond_bvlc
from dragon.importing.convert import Imported, import_onnx
from dragon.importing.verify import verify
from dragon.surgery.model import Model

Array = NDArray[Any]
ONE = "one"  # the value of a case that is an input of the model


@dataclass(frozen=True)
class X:
    """A computed input of a node, of a shape; kind: its type."""

    shape: tuple[int, ...]
    kind: int = onnx.TensorProto.FLOAT


def x(*shape: int, kind: int = onnx.TensorProto.FLOAT) -> X:
    return X(shape, kind)


def c(*shape: int, seed: int = 0) -> Array:
    """Random constants."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


@dataclass
class Case:
    """One node. bvlc: whether BVLC's layers compute it, or words of the error that says why not."""

    op: str
    inputs: Sequence[X | Array | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 17
    outputs: int = 1
    bvlc: bool | str = True
    types: str = ""  # of the layers, in order, without Input and Parameter

    @property
    def id(self) -> str:
        texts = [f"{name}={value}" for name, value in self.attributes.items()]
        return f"{self.op}-{self.opset}-{'-'.join(map(str, texts))}"

    def model(self) -> onnx.ModelProto:
        names, inputs, constants = [], {}, {}
        for k, value in enumerate(self.inputs):
            names.append("" if value is None else f"i{k}")
            if isinstance(value, X):
                inputs[f"i{k}"] = value
            elif value is not None:
                constants[f"i{k}"] = value
        outputs = [f"o{k}" for k in range(self.outputs)]
        node = helper.make_node(self.op, names, outputs, name="node", **self.attributes)
        return model([node], inputs, outputs, constants, self.opset)


def case(op: str, *inputs: X | Array | None, opset: int = 17, outputs: int = 1, bvlc: bool | str = True,
         types: str = "", **attributes: Any) -> Case:  # fmt: skip
    return Case(op, inputs, attributes, opset, outputs, bvlc, types)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, X | Sequence[int | str]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model; its outputs have the types and shapes that inference finds."""
    given = []
    for name, value in inputs.items():
        kind, shape = (value.kind, value.shape) if isinstance(value, X) else (onnx.TensorProto.FLOAT, value)
        given.append(helper.make_tensor_value_info(name, kind, shape))
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    made = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(list(nodes), "graph", given, made, tensors)
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    known = {value.name: value for value in onnx.shape_inference.infer_shapes(found, data_prop=True).graph.value_info}
    inferred = onnx.shape_inference.infer_shapes(found, data_prop=True).graph.output
    for output, better in zip(found.graph.output, inferred, strict=True):
        output.CopyFrom(known.get(output.name, better))
        if not output.type.HasField("tensor_type"):  # onnx infers no shape for GroupNormalization
            output.type.CopyFrom(given[0].type)
    return found


def load(what: onnx.ModelProto, folder: Path, bvlc: bool = False, **options: Any) -> Imported:
    """The net of a model, which goes through a file."""
    path = folder / "model.onnx"
    path.write_bytes(what.SerializeToString())
    return import_onnx(path, bvlc=bvlc, **options)


def check(what: onnx.ModelProto, folder: Path, bvlc: bool = False, tolerance: float = 1e-5, **options: Any) -> Model:
    """The net of a model, which computes the same. bvlc: of BVLC's layers alone."""
    imported = load(what, folder, bvlc, **options)
    assert set(imported.graph.outputs.values()) <= imported.graph.shapes.keys() | imported.graph.constants.keys()
    verify(imported, tolerance)
    assert not bvlc or not [layer.type for layer in imported.model.net.layer if beyond_bvlc(layer)]
    names = [layer.name for layer in imported.model.net.layer]
    assert len(set(names)) == len(names)
    return imported.model


def types(net: Model) -> str:
    """The types of the layers that compute."""
    return " ".join(layer.type for layer in net.net.layer if layer.type not in ("Input", "Parameter"))


def run_case(one: Case, folder: Path) -> None:
    """A case by Dragon's layers and by BVLC's."""
    import pytest

    from dragon.errors import PrototxtError

    what = one.model()
    net = check(what, folder)
    if one.types:
        assert types(net) == one.types
    if isinstance(one.bvlc, str):
        with pytest.raises(PrototxtError, match=one.bvlc):
            load(what, folder, bvlc=True)
    else:
        assert one.bvlc
        check(what, folder, bvlc=True)
