"""`dragon extract-features`: what a net computes on the way, saved."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import click
import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST
from dragon.data import write_lmdb
from dragon.errors import UsageError, nearest
from dragon.files.hdf5 import atomic_h5
from dragon.files.names import file_names, links, mark
from dragon.graph.net import Net
from dragon.pycaffe.io import array_to_datum
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.python_layers import allow_python

__all__ = ["command"]

_LONGEST_ZIP_NAME = 0xFFFF - len(".npy")  # bytes


@click.command("extract-features")
@click.option("--model", required=True, metavar="FILE", help="A prototxt with a data layer for the TEST phase.")
@click.option("--weights", required=True, metavar="FILE", help="The trained net.")
@click.option("--blob", "blobs", multiple=True, required=True, metavar="NAME", help="What to save; may be repeated.")
@click.option("--batches", type=click.IntRange(1), required=True, help="How many batches of the data layer.")
@click.option("--out", required=True, type=click.Path(), help="NAME.h5, NAME.npz, NAME.npy or a folder for an LMDB.")
@allow_python
@engine_options
def command(
    model: str,
    weights: str,
    blobs: tuple[str, ...],
    batches: int,
    out: str,
    choice: EngineChoice,
) -> None:
    """Run a net over its data and save blobs, one row for each example: as HDF5, NumPy or LMDB of float Datums.

    With several blobs an LMDB is made for each, as OUT/BLOB, where "/" in a name becomes "_". In HDF5 blob a/b is
    dataset b of group a; beside a blob a, and where a name is no path, it is escaped as in a URL ("a%2Fb").

    \b
    Example:
    dragon extract-features --model models/cifar10_quick/train_val.prototxt \\
      --weights runs/cifar10_quick/cifar10_quick_iter_5000.caffemodel \\
      --blob ip1 --batches 10 --out ip1.h5
    """
    suffix = Path(out).suffix.lower()
    if suffix == ".npy" and len(blobs) > 1:
        raise UsageError(f"{out}: a .npy file holds one blob; .npz, .h5 or an LMDB hold several")
    if suffix == ".npz":
        _check_npz(out, blobs)
    if suffix not in (".h5", ".hdf5", ".npz", ".npy") and Path(out).exists():
        raise UsageError(f"{out} exists already: remove it or choose another folder")
    engine, options = choice.resolve()
    net = Net(model, weights, TEST, engine=engine, options=options)
    try:
        features = _collect(net, blobs, batches)
    finally:
        net.close()
    _save(features, out, suffix)
    for name, rows in features.items():
        click.echo(f"{out}: {name}, {rows.shape[0]} rows of {' x '.join(str(d) for d in rows.shape[1:]) or '1'}")


def _collect(net: Net, blobs: tuple[str, ...], batches: int) -> dict[str, NDArray[Any]]:
    for name in blobs:
        if name not in net.blobs:
            raise UsageError(f'the net has no blob "{name}"{nearest(name, net.blobs)}')
    if net.inputs:
        raise UsageError(f'the net waits for "{net.inputs[0]}": features are taken from a net with a data layer')
    # One run up to the last layer that makes a wanted blob: labels need not fit what comes after.
    last = max(node.index for node in net.nodes if set(node.top_names) & set(blobs))
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in blobs}
    with progress_bar() as tell:
        for i in range(batches):
            net.run_forward(0, last)
            for name in blobs:
                value = net.blobs[name].peek()
                parts[name].append(np.array(value if value.ndim else value[None]))
            tell("batches", i + 1, batches)
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def _save(features: dict[str, NDArray[Any]], out: str, suffix: str) -> None:
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
        write_lmdb(out, _records(next(iter(features.values()))))
    else:
        Path(out).mkdir(parents=True)
        folder_of = file_names(features)
        for name, rows in features.items():
            write_lmdb(Path(out) / folder_of[name], _records(rows))


def _check_npz(out: str, blobs: Iterable[str]) -> None:
    """UsageError for names that NumPy does not tell apart in a .npz, or that ZIP cannot hold."""
    for name in blobs:
        if name.endswith(".npy") and name.removesuffix(".npy") in blobs:
            other = name.removesuffix(".npy")
            raise UsageError(f'{out}: NumPy does not tell "{name}" from "{other}" in a .npz: choose .h5')
        if "\0" in name or len(name.encode()) > _LONGEST_ZIP_NAME:
            raise UsageError(f'{out}: "{name[:40]}" cannot be a name in a .npz: choose .h5')


def _save_npz(file: IO[bytes], features: dict[str, NDArray[Any]]) -> None:
    """What np.savez writes; it takes names as keywords, of which `file` is its own."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, rows in features.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, rows, allow_pickle=False)


def _records(rows: NDArray[Any]) -> Iterator[tuple[bytes, bytes]]:
    """Float Datums under keys of ten digits; (N, C, H, W), missing axes 1, further ones laid into the last."""
    for i, row in enumerate(rows):
        shape = (*row.shape, 1, 1, 1)[:3] if row.ndim < 3 else (*row.shape[:2], -1)
        yield f"{i:010d}".encode(), array_to_datum(row.reshape(shape).astype(np.float32)).SerializeToString()
