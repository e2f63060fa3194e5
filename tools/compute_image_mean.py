"""`dragon compute-image-mean`: computes the mean image of a database."""

from __future__ import annotations

from typing import Any

import click

from dragon.counting import how_many
from dragon.data import mean_of_source, open_source, write_mean
from dragon.proto import dragon_pb2 as pb
from dragon.tools.common.json_output import json_option
from dragon.tools.common.outputs import OutputFile, refuse_input
from dragon.tools.common.progress import progress_bar

__all__ = ["command"]


@click.command("compute-image-mean")
@click.argument("db", type=click.Path())
@click.argument("out", type=OutputFile(), required=False)
@click.option("--backend", type=click.Choice(["lmdb", "leveldb"]), default="lmdb", help="Kind of database.")
@json_option
def command(db: str, out: str | None, backend: str) -> dict[str, Any]:
    """Compute the mean image of DB, print the mean of each channel, and write OUT (.binaryproto or .npy) if given.

    \b
    Example: dragon compute-image-mean data/cifar10/cifar10_train_lmdb mean.binaryproto
    """
    reader = open_source(db, pb.DataParameter.LMDB if backend == "lmdb" else pb.DataParameter.LEVELDB)
    try:
        with progress_bar() as progress:
            mean = mean_of_source(reader, progress)
        count = len(reader)
    finally:
        reader.close()
    if out:
        refuse_input(out)
        if out.endswith(".npy"):
            import numpy as np

            from dragon.files.atomic import atomic_write

            with atomic_write(out) as file:
                np.save(file, mean)
        else:
            write_mean(out, mean)
    channels, height, width = mean.shape
    click.echo(
        f"{db}: {how_many(count, 'image')} of {channels} x {height} x {width}"
        + (f", mean written to {out}" if out else "")
    )
    for i, value in enumerate(mean.mean((1, 2))):
        click.echo(f"mean_value channel {i}: {value:.3f}")
    return {"db": db, "images": count, "shape": mean.shape, "channel_means": mean.mean((1, 2)), "out": out}
