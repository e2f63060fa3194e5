"""Reads and writes the layers of weights files, .caffemodel, HDF5 and safetensors, as names and arrays."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.errors import MissingWeightsError, WeightsError
from dragon.files.kinds import SAFETENSORS, is_safetensors, kind_of
from dragon.files.names import links, mark, named_groups
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.graph.wiring import Wiring
    from dragon.proto import dragon_pb2 as pb
    from dragon.proto.binary import Destination

__all__ = ["h5_checksum", "is_hdf5", "read_weights", "stored_layers", "write_arrays", "write_h5", "write_h5_arrays"]

CHECKSUM = "dragon_crc32"  # attribute of the file, by which a solver state identifies its model
_PIECE = 1 << 22  # values read at a time when they are only checked


def is_hdf5(path: str | Path) -> bool:
    """Whether the name of a file ends in .h5 or .hdf5."""
    return str(path).endswith((".h5", ".hdf5"))


def read_weights(path: str | Path, profile: str | None = None) -> Iterator[tuple[str, Sequence[Array]]]:
    """Name and arrays of each layer of a .caffemodel, HDF5 or .safetensors file.

    Raises WeightsError for a missing or damaged file, and for a layer with a blob that is stored with another layer.
    """
    for name, arrays in stored_layers(path, profile):
        whole = [array for array in arrays if array is not None]
        if len(whole) < len(arrays):
            lost = next(i for i, array in enumerate(arrays) if array is None)
            raise WeightsError(
                f'{path}: layer "{name}" lacks blob {lost}, which it shares with another layer: files of Caffe hold it '
                "for that one alone; load the file into its net and save that again"
            )
        yield name, whole


def stored_layers(
    path: str | Path,
    profile: str | None = None,
    hdf5: bool | None = None,
    skip: Callable[[str], bool] | None = None,
    into: Destination | None = None,
    wanted: Container[str] = (),
    verify: bool = True,
) -> Iterator[tuple[str, Sequence[Array | None]]]:
    """Name and arrays of each layer of a .caffemodel, HDF5 or .safetensors file; None for another layer's blob (HDF5).

    skip, into, verify: as for `dragon.proto.binary.iter_layers`. wanted: layers whose values are checked even if they
    are skipped. hdf5: None recognises the format. Raises WeightsError for a missing or damaged file.
    """
    if not os.path.isfile(path):
        kind = kind_of(path)
        if kind:
            raise WeightsError(f"{path}: expected weights, this is {kind}")
        raise MissingWeightsError(f"{path}: no such weights file")
    if hdf5 is None and (is_safetensors(path) or kind_of(path) == SAFETENSORS):
        from dragon.files.safetensors import layers_of

        yield from layers_of(path)
        return
    if hdf5 is None:
        hdf5 = is_hdf5(path) or kind_of(path) == "an HDF5 file"
    stored = _stored_h5(path, skip, into, wanted) if hdf5 else _stored_binary(path, profile, skip, into, verify)
    try:
        yield from stored
    except WeightsError:
        kind = kind_of(path)
        if kind is None or kind == "an HDF5 file":
            raise
        raise WeightsError(f"{path}: expected weights (.caffemodel, HDF5 or safetensors), this is {kind}") from None


def _stored_binary(
    path: str | Path, profile: str | None, skip: Callable[[str], bool] | None, into: Destination | None, verify: bool
) -> Iterator[tuple[str, Sequence[Array]]]:
    from dragon.proto.binary import iter_layers

    for layer in iter_layers(path, profile=profile, into=into, skip=skip, verify=verify):
        found = layer.name, [blob.array for blob in layer.blobs]
        del layer
        yield found
        del found


def _stored_h5(
    path: str | Path, skip: Callable[[str], bool] | None, into: Destination | None, wanted: Container[str]
) -> Iterator[tuple[str, Sequence[Array | None]]]:
    from dragon.files.hdf5 import open_h5
    from dragon.files.hdf5_checks import check_sizes

    with open_h5(path) as file:
        if "data" not in file:
            raise WeightsError(f'{path}: not a weights file (it has no group "data")')
        read: list[Any] = []
        for name, group in named_groups(file["data"]):
            datasets = _datasets(group)
            if skip is None or not skip(name):
                read += [dataset for dataset in datasets if dataset is not None]
                check_sizes(read)
                yield name, [_values(dataset, name, i, into) for i, dataset in enumerate(datasets)]
                continue
            yield name, [None if d is None else np.broadcast_to(np.zeros((), d.dtype), d.shape) for d in datasets]
            if name in wanted:
                for dataset in datasets:
                    _try_reading(dataset)


def _datasets(group: Any) -> list[Any]:
    """The datasets "0", "1", ... of a group, None for missing ones. Raises ValueError for other content."""
    from dragon.files.hdf5 import require_numbers

    found = {link: item for link, item in group.items() if not hasattr(item, "items")}
    for link, item in found.items():
        if not link.isdecimal() or len(link) > 3 or link != str(int(link)):
            raise ValueError(f'{group.name} holds "{link}", expected blobs named 0, 1, ...')
        require_numbers(item)
    return [found.get(str(i)) for i in range(max((int(link) for link in found), default=-1) + 1)]


def _values(dataset: Any, name: str, index: int, into: Destination | None) -> Array | None:
    if dataset is None:
        return None
    own = into(name, index, dataset.size) if into is not None and dataset.ndim and dataset.size else None
    if own is None or dataset.dtype.kind == "b":
        array: Array = dataset[()]
        return array
    own = own.reshape(dataset.shape)
    dataset.read_direct(own)
    return own


def _try_reading(dataset: Any) -> None:
    """Read a compressed dataset piece by piece, to find damage; the values are discarded."""
    if dataset is not None and dataset.chunks and dataset.size:
        rows = max(1, _PIECE * dataset.shape[0] // dataset.size)
        for first in range(0, dataset.shape[0], rows):
            dataset[first : first + rows]


def write_h5(net: Wiring, path: str | Path, write_diff: bool = False) -> None:
    """Write the blobs of a net in Caffe's HDF5 layout, shared ones as links to those of the owner, atomically.

    Raises WeightsError when the file cannot be written.
    """
    from dragon.files.hdf5 import atomic_h5

    try:
        with atomic_h5(path, checksum=True) as file:
            _write_blobs(net, file, write_diff)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror or error}") from None


def write_h5_arrays(path: str | Path, weights: Mapping[str, Sequence[Array]]) -> None:
    """Write arrays by layer name as `write_h5` writes the blobs of a net. Raises WeightsError."""
    from dragon.files.hdf5 import atomic_h5, write_values

    link_of = links(name for name, arrays in weights.items() if arrays)
    checksum = 0
    try:
        with atomic_h5(path, checksum=True) as file:
            data = file.create_group("data")
            for name, arrays in weights.items():
                if arrays:
                    group = data.create_group(link_of[name])
                    mark(group, name, link_of[name])
                for k, array in enumerate(arrays):
                    checksum = _added(checksum, array)
                    write_values(group, str(k), array)
            file.attrs[CHECKSUM] = np.uint32(checksum)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror or error}") from None


def write_arrays(path: str | Path, net: pb.NetParameter, weights: Mapping[str, Sequence[Array]]) -> None:
    """Write a net with its weights, by layer name, in the format that the name of the file ends in, atomically.

    .h5 and .hdf5: HDF5. .safetensors: arrays alone. Any other: .caffemodel. Raises OSError or WeightsError.
    """
    if is_hdf5(path):
        write_h5_arrays(path, weights)
    elif is_safetensors(path):
        from dragon.files.safetensors import layer_tensors, write_safetensors

        kinds = {layer.name: layer.type for layer in net.layer}
        layers = [(name, kinds.get(name, ""), arrays) for name, arrays in weights.items() if arrays]
        write_safetensors(path, *layer_tensors(net.name, layers))
    else:
        from dragon.proto.binary import write_caffemodel

        write_caffemodel(path, net, weights)


def _added(checksum: int, values: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data, checksum)


def _write_blobs(net: Wiring, file: Any, write_diff: bool) -> None:
    from dragon.files.hdf5 import write_values

    link_of = links(name for name, blobs in net.params.items() if blobs)
    data, diff = file.create_group("data"), file.create_group("diff") if write_diff else None
    owners: dict[int, str] = {}
    checksum = 0
    for name, blobs in net.params.items():
        groups = [outer.create_group(link_of[name]) for outer in (data, diff) if outer is not None]
        for group in groups:
            mark(group, name, link_of[name])
        for k, blob in enumerate(blobs):
            key = id(blob.data_storage)
            checksum = _added(checksum, blob.peek())
            if key in owners:  # shared parameters are links to those of the owner
                groups[0][str(k)] = file[owners[key]]
            else:
                write_values(groups[0], str(k), blob.peek())
                owners[key] = f"{groups[0].name}/{k}"
            if diff is not None:
                write_values(groups[1], str(k), blob.peek_diff())
    file.attrs[CHECKSUM] = np.uint32(checksum)


def h5_checksum(path: str | Path) -> int | None:
    """The checksum (CRC-32) of the values that is stored in an HDF5 file; None for a file of another program.

    Raises WeightsError if the file cannot be read.
    """
    from dragon.files.hdf5 import open_h5

    with open_h5(path) as file:
        value = file.attrs.get(CHECKSUM)
        return None if value is None else int(value)
