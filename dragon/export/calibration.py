"""Data that shows how large the values in a net become: of its data layer, a database, images, an array."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST
from dragon.data.image_file import Color
from dragon.data.images import read_image, read_image_list
from dragon.data.resize import resize_bilinear
from dragon.engines.int8.table import HEAD as RANGES_HEAD
from dragon.errors import DataError, UsageError
from dragon.export.deployed import Deployed
from dragon.files.folders import files_below
from dragon.files.npy import npy_rows
from dragon.files.reading import open_regular
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition

__all__ = ["calibration_batches"]

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".gif", ".webp", ".tif", ".tiff")


def calibration_batches(
    deployed: Deployed, name: str, shape: Sequence[int], source: str | None, count: int
) -> Iterator[NDArray[np.float32]]:
    """Batches of the shape of input `name` of a deployed net, at most `count` of them.

    source: an LMDB or LevelDB, read as the net's data layer would; a folder of images, or a list of them as
    convert-imageset takes, resized to the input, with channels blue, green, red from 0 to 255; a .npy file of inputs
    (items, ...). None: the data layer that the net had. Raises UsageError without a source, DataError for one that
    cannot be used.
    """
    layer = deployed.data.get(name)
    if source is None:
        if layer is None:
            raise UsageError(
                "int8 needs calibration data: --calibration with an LMDB, a folder of images or a .npy file, "
                "or a model with a data layer"
            )
        return _of_layer(layer, name, deployed, count)
    path = Path(source)
    if path.suffix == ".npy":
        return itertools.islice(_of_array(path, shape), count)
    if path.is_file():
        _refuse_ranges(path)
        listed = [Path(file) for file, _ in read_image_list(source, f"{path.parent}/")]
        return itertools.islice(_of_images(listed, shape), count)
    if not path.is_dir():
        raise DataError(f"calibration data {source} does not exist")
    files = [file for file in files_below(path) if file.suffix.lower() in _IMAGES]
    if files:
        return itertools.islice(_of_images(files, shape), count)
    backend = pb.DataParameter.LMDB if (path / "data.mdb").exists() else pb.DataParameter.LEVELDB
    own = pb.LayerParameter(name="calibration", type="Data", top=[name])
    if layer is not None:
        own.transform_param.CopyFrom(layer.transform_param)
        own.transform_param.mirror = False
    own.data_param.source, own.data_param.backend, own.data_param.batch_size = source, backend, shape[0]
    return _of_layer(own, name, deployed, count)


def _refuse_ranges(path: Path) -> None:
    """Raise UsageError for a file of `dragon calibrate`, which has ranges of inputs of layers in place of data."""
    try:
        with open_regular(path) as file:
            head = file.read(len(RANGES_HEAD.encode()))
    except OSError:
        return  # the list's reader says why
    if head == RANGES_HEAD.encode():
        raise UsageError(
            f"{path}: ranges that `dragon calibrate` measured, for --precision int8; an export measures its own, "
            "from an LMDB, a folder or list of images, or a .npy file"
        )


def _of_layer(layer: pb.LayerParameter, name: str, deployed: Deployed, count: int) -> Iterator[NDArray[np.float32]]:
    alone = pb.NetParameter(layer=[layer])
    with Net(Definition(alone, folder=deployed.definition.folder), phase=TEST, engine="numpy", seed=1) as net:
        for _ in range(count):
            net.run_forward()
            yield np.array(net.blobs[name].peek(), np.float32)


def _of_array(path: Path, shape: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    with npy_rows(path, "calibration data") as array:
        given = array.shape
        if given[1:] != tuple(shape[1:]) or array.dtype.kind not in "fiu" or not given or given[0] < shape[0]:
            raise DataError(
                f"calibration data {path}: expected numbers of shape (at least {shape[0]}, "
                f"{', '.join(map(str, shape[1:]))}), got {array.dtype} of shape {given}"
            )
        for start in range(0, given[0] - shape[0] + 1, shape[0]):
            yield array.read(start, start + shape[0]).astype(np.float32, copy=False)


def _of_images(files: Sequence[Path], shape: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise UsageError(f"images need an input (N, 1 or 3, H, W), the net's has shape {tuple(shape)}")
    color = Color.COLOR if shape[1] == 3 else Color.GRAY
    batch: list[NDArray[Any]] = []
    for file in itertools.islice(itertools.cycle(files), max(len(files), shape[0])):
        batch.append(resize_bilinear(read_image(str(file), color), shape[2], shape[3]))
        if len(batch) == shape[0]:
            yield np.stack(batch).astype(np.float32)
            batch = []
