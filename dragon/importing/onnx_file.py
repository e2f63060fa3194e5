"""Reads an ONNX file with the tensors that lie in files beside it, and checks what the rest relies on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dragon.counting import how_many
from dragon.errors import PrototxtError, first_line
from dragon.files.kinds import kind_of_content
from dragon.files.onnx_package import onnx_module
from dragon.files.reading import open_regular, read_bytes

__all__ = ["read_onnx"]

_PER_BYTE = 2  # values that one byte of a tensor holds at most: those of 4 bits


def read_onnx(path: str | os.PathLike[str]) -> Any:
    """The ModelProto in a file, with all tensors inside and local functions inlined.

    Tensors in other files are read from the folder of the ONNX file only. Raises PrototxtError for a file that is
    missing, damaged, or refers to files outside, UsageError without the package onnx.
    """
    onnx = onnx_module()
    name = os.fspath(path)
    try:
        content = read_bytes(path)
    except OSError as error:
        raise PrototxtError(f"{name}: cannot be read: {error.strerror}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception:  # protobuf's implementations raise different types
        raise PrototxtError(f"{name}: {_what_else(content)}") from None
    if not model.HasField("graph") or not model.opset_import:
        raise PrototxtError(f"{name}: {_what_else(content)}")
    del content
    for tensor in _tensors(onnx, model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _load_external(onnx, tensor, Path(name))
        _check_size(onnx, tensor, name)
    _check_names(model, name)
    if model.functions:
        try:
            model = onnx_module("onnx.inliner").inline_local_functions(model)
        except Exception as error:
            raise PrototxtError(f"{name}: its functions cannot be inlined: {first_line(error)}") from None
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        if "is deprecated in" not in str(error):  # such operators are read: GroupNormalization of version 18 is one
            raise PrototxtError(f"{name}: not a valid ONNX model: {first_line(error)}") from None
    return model


def _what_else(content: bytes) -> str:
    if not content:
        return "empty, not an ONNX model"
    if _begins_as_onnx(content):
        return "a damaged ONNX model, or one that was cut off"
    kind = kind_of_content(content)
    return f"{kind}, not an ONNX model" if kind else "not an ONNX model, or a damaged one"


def _begins_as_onnx(content: bytes) -> bool:
    """Whether a file begins with a version of the form and the name of a producer or, without one, the graph."""
    if content[:1] != b"\x08" or not 3 <= int.from_bytes(content[1:2]) < 32:
        return False
    if content[2:3] == b"\x3a":
        return True
    name = content[4 : 4 + int.from_bytes(content[3:4])]  # that of a file in a .solverstate, which begins alike
    return content[2:3] == b"\x12" and not name.endswith((b".caffemodel", b".h5", b".safetensors"))


def _tensors(onnx: Any, model: Any) -> Iterator[Any]:
    """All tensors of a model: initialisers and attributes, those of subgraphs and functions included."""
    graphs, nodes = [model.graph], [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            graphs += [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs


def _check_names(model: Any, path: str) -> None:
    """Raise PrototxtError for names that are not text: protobuf hands them out as bytes."""
    graph = model.graph
    named = [graph.name, *(one.name for part in (graph.node, graph.input, graph.output) for one in part)]
    named += [name for node in graph.node for name in (*node.input, *node.output, node.op_type, node.domain)]
    named += [dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim]
    named += [tensor.name for tensor in graph.initializer]
    bad = next((name for name in named if not isinstance(name, str)), None)
    if bad is not None:
        raise PrototxtError(f"{path}: the name {bad!r} is not UTF-8")


def _load_external(onnx: Any, tensor: Any, model: Path) -> None:
    """Read the bytes of a tensor that lie in another file."""
    known = {entry.key: entry.value for entry in tensor.external_data}
    where = f'{model}: tensor "{tensor.name}"'
    location = known.get("location", "")
    folder = model.resolve().parent
    place = (folder / location).resolve()
    if not location or os.path.isabs(location) or not place.is_relative_to(folder) or place == folder:
        raise PrototxtError(f'{where} lies in "{location}", outside of the folder of the model, which is not read')
    try:
        offset, length = (int(known[key]) if key in known else None for key in ("offset", "length"))
    except ValueError:
        raise PrototxtError(f"{where} has an offset or a length that is not a number") from None
    try:
        with open_regular(place) as file:
            size = os.fstat(file.fileno()).st_size
            start = offset or 0
            count = size - start if length is None else length
            if start < 0 or count < 0 or start + count > size:
                raise PrototxtError(
                    f'{where} has {how_many(count, "byte")} from byte {start} of "{location}", which has '
                    f"{how_many(size, 'byte')}"
                )
            file.seek(start)
            tensor.raw_data = file.read(count)
    except OSError as error:
        raise PrototxtError(f'{where} lies in "{location}", which cannot be read: {error.strerror}') from None
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _check_size(onnx: Any, tensor: Any, name: str) -> None:
    """Raise PrototxtError unless a tensor holds as many values as its shape says."""
    count = math.prod(tensor.dims)
    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    held = max(_PER_BYTE * len(tensor.raw_data), _PER_BYTE * max(map(len, fields)), len(tensor.string_data))
    if min(tensor.dims, default=0) < 0 or count > held:
        raise PrototxtError(f'{name}: tensor "{tensor.name}" of shape {tuple(tensor.dims)} has too few values')
