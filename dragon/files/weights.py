"""Loads and saves the weights of a net, .caffemodel, HDF5 or safetensors, matched by layer name as in Caffe.

Layers that only the file has are skipped; layers that only the net has keep their values. Shapes must be equal, except
for axes of extent 1 (old files store every blob with four axes).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dragon.counting import how_many
from dragon.errors import WeightsError, nearest
from dragon.files.kinds import is_safetensors
from dragon.files.shared_blobs import explain_missing
from dragon.files.stored_weights import is_hdf5, stored_layers, write_arrays, write_h5
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto.blobs import same_but_ones

if TYPE_CHECKING:
    from dragon.graph.wiring import Wiring

__all__ = ["load_weights", "note_missing", "save_weights"]

log = logging.getLogger("dragon")


@dataclass
class _Target:
    """The blobs that weights of one name are copied to: those of a layer of the net, and of layers in other nets."""

    net: Wiring
    blobs: Sequence[Blob]
    further: list[Sequence[Blob]] = field(default_factory=list)


def load_weights(
    net: Wiring,
    paths: Sequence[str | Path],
    profile: str | None = None,
    hdf5: bool | None = None,
    also: Sequence[Wiring] = (),
) -> list[str]:
    """Copy the blobs of all layers that the files, one after another, have in common with the net.

    also: further nets whose layers are loaded, where they do not share the memory of `net`, such as test nets of a
    solver. Returns the names of the layers. Raises WeightsError for a missing or damaged file, for a shape that does
    not fit, and for a file that has no layer of the net; all files are checked before any value is copied. So it does,
    afterwards, for a file that was changed between its check and its copy.
    """
    targets = _targets(net, also)
    versions = [_version(path) for path in paths]
    loaded = [name for path in paths for name in _checked(targets, net, path, profile, hdf5)]
    for path in paths:
        own = partial(_own_memory, targets)
        stored = stored_layers(path, profile, hdf5, lambda name: name not in targets, own, verify=False)
        for name, arrays in stored:
            if arrays and name in targets:
                _copy_layer(targets[name], arrays)
            del arrays  # so that only one layer at a time is in memory
    for path, version in zip(paths, versions, strict=True):
        if _version(path) != version:
            raise WeightsError(
                f"{path}: was changed while it was loaded, so the net's values are neither the old file's nor the new "
                "one's: load it again"
            )
    return loaded


def _version(path: str | Path) -> tuple[int, ...] | None:
    """What is another number once a file is written again or replaced; None for one that is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # the latter for a byte 0; what reads the file has words for both
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _targets(net: Wiring, also: Sequence[Wiring]) -> dict[str, _Target]:
    targets = {name: _Target(net, blobs) for name, blobs in net.params.items()}
    for other in also:
        for name, blobs in other.params.items():
            known = targets.setdefault(name, _Target(other, blobs))
            if all(mine.data_storage is not its.data_storage for mine in blobs for its in known.blobs):
                known.further.append(blobs)
    return targets


def _checked(
    targets: dict[str, _Target], net: Wiring, path: str | Path, profile: str | None, hdf5: bool | None
) -> list[str]:
    """Names of the layers of a file that are targets. Raises WeightsError unless all of them can be copied."""
    loaded: list[str] = []
    seen: list[str] = []
    for name, arrays in stored_layers(path, profile, hdf5, lambda _: True, wanted=targets):
        if arrays:
            seen.append(name)
            if name in targets:
                _check_layer(targets[name], path, name, arrays)
                loaded.append(name)
    if not loaded and net.params:
        wanted = next(iter(net.params))
        raise WeightsError(
            f"{path}: weights of another net: none of its {how_many(len(seen), 'layer')} with parameters is in "
            f'net "{net.name}",'
            f' which wants "{wanted}"{nearest(wanted, seen)}'
        )
    unused = [name for name in seen if name not in loaded]
    if unused:
        log.info("%s: the net has no layer for the weights of %s", path, _listed(unused))
    return loaded


def _own_memory(targets: dict[str, _Target], name: str, index: int, count: int) -> Array | None:
    """The memory of the net that a blob of a file can be read into; None unless the counts are equal."""
    blobs = targets[name].blobs if name in targets else ()
    if index >= len(blobs) or blobs[index].count != count:
        return None
    return blobs[index].data_storage.overwrite()[:count]


def note_missing(net: Wiring, path: str | Path, loaded: Collection[str]) -> None:
    """Log a warning about layers without weights in the file, which is intended in fine-tuning, otherwise a mistake."""
    missing = [name for name, blobs in net.params.items() if name not in loaded and _owns(net, blobs)]
    if missing:
        log.warning("%s: no weights for %s: they stay as they are", path, _listed(missing))


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _check_layer(target: _Target, path: str | Path, name: str, arrays: Sequence[Array | None]) -> None:
    layers = (node.layer for node in target.net.nodes if node.name == name)  # looked for only to name it in an error
    for blobs in (target.blobs, *target.further):
        # a file of BVLC Caffe's in HDF5 has no blob that belongs to another layer
        missing = [blob for blob, array in zip_longest(blobs, arrays) if array is None]
        if len(arrays) > len(blobs) or (missing and _owns(target.net, missing)):
            layer = next(layers)
            shapes = [str(array.shape) for array in arrays if array is not None]
            hint = layer.explain_blobs(len(shapes))
            lost = [
                i
                for i, (blob, array) in enumerate(zip_longest(blobs, arrays))
                if array is None and _owns(target.net, [blob])
            ]
            why = f"; {hint}" if hint else explain_missing(target.net.param.layer, name, lost, len(arrays))
            raise WeightsError(
                f"{path}: {layer.where} has {how_many(len(blobs), 'parameter blob')}, the file has {len(shapes)}"
                f" of shapes {', '.join(shapes)}" + why
            )
        for i, (blob, array) in enumerate(zip(blobs, arrays, strict=False)):
            if array is not None and not same_but_ones(blob.shape, array.shape):
                where = next(layers).where
                raise WeightsError(
                    f"{path}: {where} parameter blob {i}: expected shape {blob.shape}, the file has {array.shape}"
                )


def _owns(net: Wiring, blobs: Sequence[Blob | None]) -> bool:
    """Whether one of the blobs is the net's own, and not the memory of another layer."""
    owned = {id(blob) for blob, _ in net.table.owned}
    return any(id(blob) in owned for blob in blobs)


def _copy_layer(target: _Target, arrays: Sequence[Array | None]) -> None:
    for blobs in (target.blobs, *target.further):
        for blob, array in zip(blobs, arrays, strict=False):
            if array is not None:
                values, own = np.asarray(array).reshape(-1), blob.data_storage.overwrite()[: blob.count]
                if not np.may_share_memory(values, own):  # large ones were read directly into the net
                    own[:] = values


def save_weights(net: Wiring, path: str | Path, write_diff: bool = False) -> None:
    """Write a net with its blobs, atomically: as HDF5 if the name ends in .h5 or .hdf5, else a .caffemodel.

    With the ending .safetensors the values alone are written, not the diffs. Raises WeightsError.
    """
    if is_hdf5(path):
        write_h5(net, path, write_diff)
        return
    if is_safetensors(path):
        write_arrays(path, net.param, {name: [blob.peek() for blob in blobs] for name, blobs in net.params.items()})
        return
    from dragon.proto.binary import write_caffemodel

    diffs = {name: [b.peek_diff() for b in blobs] for name, blobs in net.params.items()} if write_diff else None
    write_caffemodel(path, net.param, {name: [b.peek() for b in blobs] for name, blobs in net.params.items()}, diffs)
