"""Reads and writes .safetensors files: arrays by key, and strings as metadata; through the package safetensors.

Weights of ours have the keys LAYER/INDEX and, as metadata, `net` (the name of the net) and `layers` (JSON: a list of
[layer, type, number of blobs], in the order of the net).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dragon.errors import WeightsError, one_line
from dragon.extras import install_command
from dragon.files.atomic import write_atomically
from dragon.files.reading import open_regular
from dragon.memory.bf16 import from_bf16
from dragon.memory.storage import Array

__all__ = ["Stored", "layer_tensors", "layers_of", "read_safetensors", "write_safetensors"]

_BLOB = re.compile(r"(.*)/(0|[1-9]\d{0,2})", re.DOTALL)
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "BOOL": "?", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip
_DTYPES = frozenset(np.dtype(name) for name in _TYPES.values())

Stored = tuple[dict[str, Array], dict[str, str]]  # arrays by key, and the metadata


def _library() -> Any:
    try:
        import safetensors
    except ImportError:
        raise WeightsError(f"safetensors files need a package: {install_command('safetensors')}") from None
    return safetensors


def read_safetensors(path: str | Path) -> Stored:
    """All arrays of a file, in the order of the file, and its metadata. bfloat16 becomes float32.

    Raises WeightsError for a missing or damaged file, for a type of number that NumPy lacks, and without the package.
    """
    library = _library()
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None
    try:
        stored = library.deserialize(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
    except (library.SafetensorError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the file is damaged: {one_line(str(error))}") from None
    arrays = {key: _array(path, key, value) for key, value in sorted(stored, key=lambda item: _begin(header, item[0]))}
    return arrays, dict(header.get("__metadata__") or {})


def _begin(header: Mapping[str, Any], key: str) -> tuple[int, str]:
    return header[key]["data_offsets"][0], key


def _array(path: str | Path, key: str, value: Mapping[str, Any]) -> Array:
    data, kind, shape = value["data"], value["dtype"], tuple(value["shape"])
    if kind == "BF16":
        return from_bf16(np.frombuffer(data, "<u2")).reshape(shape)
    if kind not in _TYPES:
        raise WeightsError(f'{path}: "{key}" has numbers of type {kind}, which are not read: store it as F32')
    return np.frombuffer(data, _TYPES[kind]).reshape(shape)


def write_safetensors(path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays and metadata, atomically; equal content has equal bytes. Raises OSError, WeightsError."""
    _library()
    from safetensors.numpy import save

    for key, array in arrays.items():
        if array.dtype not in _DTYPES:
            raise WeightsError(f'{path}: "{key}" has the type {array.dtype}, which safetensors cannot store')
    content = save({key: np.asarray(array, order="C") for key, array in arrays.items()}, dict(metadata))
    write_atomically(path, _in_order(content))


def _in_order(content: bytes) -> bytes:
    """The file with its metadata in order; the package writes it in another order each time."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the values begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def layer_tensors(
    net: str, layers: Sequence[tuple[str, str, Sequence[Array]]]
) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and metadata of a file with the weights of layers: (name, type, blobs) of each."""
    arrays = {f"{name}/{i}": array for name, _, blobs in layers for i, array in enumerate(blobs)}
    table = [[name, kind, len(blobs)] for name, kind, blobs in layers]
    return arrays, {"format": "dragon", "net": net, "layers": json.dumps(table, ensure_ascii=False)}


def layers_of(path: str | Path) -> Iterator[tuple[str, list[Array]]]:
    """Name and blobs of each layer of a file that holds weights of ours. Raises WeightsError for other content."""
    arrays, metadata = read_safetensors(path)
    found: dict[str, dict[int, Array]] = {}
    for name in _order(metadata):
        found[name] = {}
    for key, array in arrays.items():
        match = _BLOB.fullmatch(key)
        if match is None:
            raise WeightsError(
                f'{path}: holds "{one_line(key)}", expected blobs named LAYER/0, LAYER/1, ...; a state_dict of PyTorch '
                "is brought in by dragon import --torch-weights"
            )
        found.setdefault(match[1], {})[int(match[2])] = array
    for name, blobs in found.items():
        if sorted(blobs) != list(range(len(blobs))):
            raise WeightsError(
                f'{path}: layer "{one_line(name)}" lacks blob {min(set(range(len(blobs))) - set(blobs))}'
            )
        yield name, [blobs[i] for i in range(len(blobs))]


def _order(metadata: Mapping[str, str]) -> list[str]:
    """The names of the layers in the order of the net, as far as the metadata tells it."""
    try:
        table = json.loads(metadata.get("layers", "[]"))
        return [str(row[0]) for row in table if row[2]]
    except (ValueError, TypeError, IndexError, KeyError, RecursionError):
        return []
