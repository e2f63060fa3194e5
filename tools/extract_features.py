"""`dragon extract-features`: saves blobs that a net computes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import click
import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST
from dragon.counting import how_many
from dragon.data import write_leveldb, write_lmdb
from dragon.errors import DataError, UsageError, nearest
from dragon.files.atomic import check_writable
from dragon.files.folders import make_folder
from dragon.files.hdf5 import atomic_h5
from dragon.files.names import file_names, links, mark
from dragon.graph.net import Net
from dragon.proto.assign import Assignment
from dragon.pycaffe.io import array_to_datum
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.json_output import json_option
from dragon.tools.common.models import TRAIN_VAL, model_and_weights
from dragon.tools.common.numbers import Count
from dragon.tools.common.outputs import refuse_input
from dragon.tools.common.profile import profile_option
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import read_changed_net, set_net_option

__all__ = ["command"]

_FILES = (".h5", ".hdf5", ".npz", ".npy")
_OTHER_FILES = (".bin", ".csv", ".dat", ".json", ".mat", ".parquet", ".pkl", ".pt", ".tsv", ".txt", ".xml")
_MAX_ZIP_NAME = 0xFFFF - len(".npy")  # bytes


class _Command(click.Command):
    """The command, which also accepts the arguments of Caffe's program, see `flags_of_caffe`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, flags_of_caffe(args))


def flags_of_caffe(args: list[str]) -> list[str]:
    """Convert arguments in the order of Caffe's extract_features to flags; leave others as they are.

    WEIGHTS NET BLOB,... OUT,... BATCHES lmdb|leveldb [CPU|GPU [DEVICE]]. Raises UsageError for others after these.
    """
    if len(args) < 6 or any(arg.startswith("-") for arg in args):
        return args
    weights, model, blobs, outs, batches, backend, *device = args
    flags = ["--weights", weights, "--model", model, "--batches", batches, "--backend", backend]
    flags += [word for name in blobs.split(",") for word in ("--blob", name)]
    flags += [word for name in outs.split(",") for word in ("--out", name)]
    if len(device) > 2 or (device and device[0].upper() not in ("CPU", "GPU")):
        raise click.UsageError(f"after the kind of database comes CPU or GPU and its number, got {' '.join(device)}")
    if device and device[0].upper() == "GPU":
        flags += ["--gpu", (device[1] if len(device) > 1 else "0").removeprefix("DEVICE_ID=")]
    return flags


@click.command("extract-features", cls=_Command)
@model_and_weights(TRAIN_VAL, "A prototxt with a data layer for the TEST phase.")
@click.option("--blob", "blobs", multiple=True, required=True, metavar="NAME", help="What to save; may be repeated.")
@click.option("--batches", type=Count(1), required=True, help="How many batches of the data layer.")
@click.option(
    "--out", "outs", required=True, multiple=True, type=click.Path(),
    help="NAME.h5, NAME.npz, NAME.npy or a folder for a database; one for all blobs, or one for each.",
)  # fmt: skip
@click.option("--backend", type=click.Choice(["lmdb", "leveldb"]), default="lmdb", help="Kind of database.")
@set_net_option
@profile_option
@allow_python
@engine_options
@json_option
def command(
    model: str,
    weights: str,
    blobs: tuple[str, ...],
    batches: int,
    outs: tuple[str, ...],
    backend: str,
    assignments: tuple[Assignment, ...],
    profile: str | None,
    choice: EngineChoice,
) -> dict[str, Any]:
    """Run a net over its data and save blobs, one row for each example: as HDF5, NumPy or a database of float Datums.

    With several blobs a database is made for each, as OUT/BLOB, where "/" in a name becomes "_". In HDF5 blob a/b is
    dataset b of group a; beside a blob a, and where a name is no path, it is escaped as in a URL ("a%2Fb").

    \b
    Example:
    dragon extract-features --model models/cifar10_quick/train_val.prototxt \\
      --weights runs/cifar10_quick/cifar10_quick_iter_5000.caffemodel \\
      --blob ip1 --batches 10 --out ip1.h5
    """
    if len(outs) not in (1, len(blobs)):
        raise UsageError(
            f"--out is given once, or once for each --blob: {how_many(len(blobs), 'time')}, got {len(outs)}"
        )
    blobs_of = {outs[0]: blobs} if len(outs) == 1 else {out: (blob,) for out, blob in zip(outs, blobs, strict=True)}
    if len(blobs_of) < len(outs):
        raise UsageError(f"--out names {next(out for out in outs if outs.count(out) > 1)} twice")
    for out, names in blobs_of.items():
        _check_out(out, names)
    engine, options = choice.resolve()
    net = Net(read_changed_net(model, assignments, profile=profile), weights, TEST, engine=engine, options=options)
    try:
        for out in blobs_of:
            refuse_input(out)
        features = _collect(net, blobs, batches)
    finally:
        net.close()
    files: list[dict[str, Any]] = []
    for out, names in blobs_of.items():
        _save({name: features[name] for name in names}, out, backend)
        for name in dict.fromkeys(names):
            count, *shape = features[name].shape
            click.echo(f"{out}: {name}, {how_many(count, 'row')} of {' x '.join(map(str, shape)) or '1'}")
            files.append({"path": out, "blob": name, "rows": count, "shape": shape})
    return {"files": files}


def _check_out(out: str, blobs: tuple[str, ...]) -> None:
    """Raise UsageError for an output that cannot hold these blobs, or exists already, OSError for one in no folder."""
    suffix = Path(out).suffix.lower()
    if suffix == ".npy" and len(blobs) > 1:
        raise UsageError(f"{out}: a .npy file holds one blob; .npz, .h5 or an LMDB hold several")
    if suffix == ".npz":
        _check_npz(out, blobs)
    if suffix in _OTHER_FILES:
        raise UsageError(f"{out}: .h5, .npz and .npy are files, other names folders of a database; {suffix} is neither")
    if suffix not in _FILES and os.path.lexists(out):
        raise UsageError(f"{out} exists already: remove it or choose another folder")
    check_writable(out, made=suffix not in _FILES and len(blobs) > 1)


def _collect(net: Net, blobs: tuple[str, ...], batches: int) -> dict[str, NDArray[Any]]:
    for name in blobs:
        if name not in net.blobs:
            raise UsageError(f'the net has no blob "{name}"{nearest(name, net.blobs)}')
    if net.inputs:
        raise UsageError(f'the net waits for "{net.inputs[0]}": features are taken from a net with a data layer')
    # up to the last layer that writes a wanted blob, since labels need not fit the layers after it
    last = max(node.index for node in net.nodes if set(node.top_names) & set(blobs))
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in blobs}
    with progress_bar() as progress:
        for i in range(batches):
            net.run_forward(0, last)
            for name in blobs:
                value = net.blobs[name].peek()
                parts[name].append(np.array(value if value.ndim else value[None]))
            progress("batches", i + 1, batches)
    for name, rows in parts.items():
        shapes = {part.shape[1:]: None for part in rows}
        if len(shapes) > 1:
            one, other = list(shapes)[:2]
            raise DataError(
                f'"{name}" has rows of shape {one} and of {other}, since images have sizes of their own: '
                "choose a blob whose rows have one shape, or give the data layer a crop_size"
            )
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def _save(features: dict[str, NDArray[Any]], out: str, backend: str) -> None:
    refuse_input(out)  # data, too, which are read by now
    suffix = Path(out).suffix.lower()
    write = write_leveldb if backend == "leveldb" else write_lmdb
    if suffix in (".h5", ".hdf5"):
        link_of = links(features)
        with atomic_h5(out) as file:
            for name, rows in features.items():
                mark(file.create_dataset(link_of[name], data=rows), name, link_of[name])
    elif suffix in (".npz", ".npy"):
        from dragon.files.atomic import atomic_write

        with atomic_write(out) as file:
            if suffix == ".npy":
                np.save(file, next(iter(features.values())))
            else:
                _save_npz(file, features)
    elif len(features) == 1:
        write(out, _records(next(iter(features.values()))))
    else:
        make_folder(out)
        folder_of = file_names(features)
        for name, rows in features.items():
            write(Path(out) / folder_of[name], _records(rows))


def _check_npz(out: str, blobs: Iterable[str]) -> None:
    """Raise UsageError for names that NumPy cannot distinguish in a .npz, or that ZIP cannot hold."""
    for name in blobs:
        if name.endswith(".npy") and name.removesuffix(".npy") in blobs:
            other = name.removesuffix(".npy")
            raise UsageError(f'{out}: NumPy does not tell "{name}" from "{other}" in a .npz: choose .h5')
        if "\0" in name or len(name.encode()) > _MAX_ZIP_NAME:
            raise UsageError(f'{out}: "{name[:40]}" cannot be a name in a .npz: choose .h5')


def _save_npz(file: IO[bytes], features: dict[str, NDArray[Any]]) -> None:
    """Write an .npz as np.savez does, which takes names as keywords and therefore cannot save a blob named `file`."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, rows in features.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, rows, allow_pickle=False)


def _records(rows: NDArray[Any]) -> Iterator[tuple[bytes, bytes]]:
    """Float Datums under keys of ten digits: (C, H, W), with 1 for missing axes, and further axes flattened into W."""
    for i, row in enumerate(rows):
        shape = (*row.shape, 1, 1, 1)[:3] if row.ndim < 3 else (*row.shape[:2], -1)
        yield f"{i:010d}".encode(), array_to_datum(row.reshape(shape).astype(np.float32)).SerializeToString()
