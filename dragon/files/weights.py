"""Weights in and out: .caffemodel and HDF5, matched by layer name as Caffe does.

A layer that the file has and the net has not is skipped; one that the net has and the file has not keeps its values.
Shapes must agree, except that equal counts are accepted when one side only has extra axes of 1 (old files store every
blob with four axes).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dragon.errors import WeightsError, nearest
from dragon.files.kinds import kind_of
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.bases.layer import Layer
    from dragon.graph.wiring import Wiring
    from dragon.proto.binary import Into

__all__ = ["load_weights", "note_missing", "read_weights", "save_weights", "write_h5"]

log = logging.getLogger("dragon")


def is_hdf5(path: str | Path) -> bool:
    return str(path).endswith((".h5", ".hdf5"))


def load_weights(net: Wiring, path: str | Path, profile: str | None = None, hdf5: bool | None = None) -> list[str]:
    """Copy the blobs of all layers that `net` and the file share; their names.

    WeightsError for a missing or damaged file, for a shape that does not fit, and when no layer is shared.
    """
    stored = read_weights(path, profile, hdf5, partial(_room, net))
    loaded: list[str] = []
    seen: list[str] = []
    for name, arrays in stored:
        if arrays:
            seen.append(name)
            blobs = net.params.get(name)
            if blobs is not None:
                _copy_layer(net, path, name, blobs, arrays)
                loaded.append(name)
        del arrays  # before the next layer is read: in memory is one at a time
    if not loaded and net.params:
        wanted = next(iter(net.params))
        raise WeightsError(
            f'{path}: weights of another net: none of its {len(seen)} layers with parameters is in net "{net.name}",'
            f' which wants "{wanted}"{nearest(wanted, seen)}'
        )
    unused = [name for name in seen if name not in loaded]
    if unused:
        log.info("%s: the net has no layer for the weights of %s", path, _listed(unused))
    return loaded


def _room(net: Wiring, name: str, index: int, count: int) -> Array | None:
    """The net's own memory for a blob of a file, where the counts agree."""
    blobs = net.params.get(name, ())
    if index >= len(blobs) or blobs[index].count != count:
        return None
    return blobs[index].data_storage.overwrite()[:count]


def note_missing(net: Wiring, path: str | Path, loaded: Collection[str]) -> None:
    """One line about the layers that no weights came for: right when fine-tuning, a slip otherwise."""
    missing = [name for name in net.params if name not in loaded]
    if missing:
        log.warning("%s: no weights for %s: they stay as they are", path, _listed(missing))


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def read_weights(
    path: str | Path, profile: str | None = None, hdf5: bool | None = None, into: Into | None = None
) -> Iterator[tuple[str, Sequence[Array]]]:
    """Name and arrays of each layer of a .caffemodel or HDF5 file.

    `into` is that of `dragon.proto.binary.iter_layers`. WeightsError for a missing or damaged file.
    """
    if not Path(path).is_file():
        kind = kind_of(path)
        raise WeightsError(f"{path}: expected weights, this is {kind}" if kind else f"{path}: no such weights file")
    if hdf5 is None:
        hdf5 = is_hdf5(path) or kind_of(path) == "an HDF5 file"
    return _of_weights(path, _read_h5(path) if hdf5 else _read_binary(path, profile, into))


def _of_weights(
    path: str | Path, stored: Iterator[tuple[str, Sequence[Array]]]
) -> Iterator[tuple[str, Sequence[Array]]]:
    """The same; an error about a file of another kind says which kind that is."""
    try:
        yield from stored
    except WeightsError:
        kind = kind_of(path)
        if kind is None or kind == "an HDF5 file":
            raise
        raise WeightsError(f"{path}: expected weights (.caffemodel or HDF5), this is {kind}") from None


def _copy_layer(net: Wiring, path: str | Path, name: str, blobs: Sequence[Blob], arrays: Sequence[Array]) -> None:
    layer = next(node.layer for node in net.nodes if node.name == name)
    if len(arrays) != len(blobs):
        raise WeightsError(
            f"{path}: {layer.where} has {len(blobs)} parameter blobs, the file has {len(arrays)}"
            f" of shapes {', '.join(str(a.shape) for a in arrays)}" + _known_form(layer, len(arrays))
        )
    for i, (blob, array) in enumerate(zip(blobs, arrays, strict=True)):
        if not _compatible(blob.shape, array.shape):
            raise WeightsError(
                f"{path}: {layer.where} parameter blob {i}: expected shape {blob.shape}, the file has {array.shape}"
            )
        values, own = np.asarray(array).reshape(-1), blob.data_storage.overwrite()[: blob.count]
        if not np.may_share_memory(values, own):  # large ones were read into place
            own[:] = values


def _known_form(layer: Layer, count: int) -> str:
    """What a file's number of blobs says about the form of the layer that wrote it."""
    if layer.type == "BN" and count == 2:
        return "; SegNet's BN has two: bn_param { bn_mode: INFERENCE }, or LEARN"
    if layer.type == "BN" and count == 4:
        return "; a BN with bn_param has four: bn_param { }, or profile neopenx"
    return ""


def _compatible(mine: Sequence[int], theirs: Sequence[int]) -> bool:
    if tuple(mine) == tuple(theirs):
        return True
    return int(np.prod(mine)) == int(np.prod(theirs)) and [d for d in mine if d != 1] == [d for d in theirs if d != 1]


def _read_binary(path: str | Path, profile: str | None, into: Into | None) -> Iterator[tuple[str, Sequence[Array]]]:
    from dragon.proto.binary import iter_layers

    for layer in iter_layers(path, profile=profile, into=into):
        found = layer.name, [blob.array for blob in layer.blobs]
        del layer
        yield found
        del found


def _read_h5(path: str | Path) -> Iterator[tuple[str, Sequence[Array]]]:
    from dragon.files.hdf5 import open_h5, read_array

    with open_h5(path) as file:
        if "data" not in file:
            raise WeightsError(f'{path}: not a weights file (it has no group "data")')
        for name, group in file["data"].items():
            yield name, [read_array(group[str(k)]) for k in range(len(group))]


def save_weights(net: Wiring, path: str | Path, write_diff: bool = False) -> None:
    """Write the net with its blobs, atomically; HDF5 when the name ends in .h5. Raises OSError."""
    if is_hdf5(path):
        write_h5(net, path, write_diff)
        return
    from dragon.proto.binary import write_caffemodel

    diffs = {name: [b.peek_diff() for b in blobs] for name, blobs in net.params.items()} if write_diff else None
    write_caffemodel(path, net.param, {name: [b.peek() for b in blobs] for name, blobs in net.params.items()}, diffs)


def write_h5(net: Wiring, path: str | Path, write_diff: bool = False) -> None:
    """Write the net's blobs in Caffe's HDF5 layout, shared ones as links to their owner's."""
    from dragon.files.hdf5 import atomic_h5

    with atomic_h5(path) as file:
        data, diff = file.create_group("data"), file.create_group("diff") if write_diff else None
        owners: dict[int, str] = {}
        for node in net.nodes:
            name, layer = node.name, node.layer
            if not layer.blobs:
                continue
            group = data.create_group(name)
            for k, blob in enumerate(layer.blobs):
                key = id(blob.data_storage)
                if key in owners:  # shared parameters are links to their owner's
                    group[str(k)] = file[owners[key]]
                    continue
                owners[key] = f"data/{name}/{k}"
                group.create_dataset(str(k), data=blob.peek())
                if diff is not None:
                    diff.create_dataset(f"{name}/{k}", data=blob.peek_diff())
