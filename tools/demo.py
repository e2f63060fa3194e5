"""`dragon demo`: fetches data, trains small nets with and without batch normalisation, and writes reports."""

from __future__ import annotations

from pathlib import Path

import click

from dragon.data import Dataset
from dragon.errors import DataError
from dragon.graph.facts import SYNTHETIC
from dragon.tools.common.engine_options import engine_option
from dragon.tools.common.outputs import OutputFolder
from dragon.tools.data import make_dataset, print_dataset

__all__ = ["command"]

EXPERIMENTS = {"mnist": "demo_mnist", "cifar10": "demo_cifar10"}  # by dataset


@click.command("demo")
@click.option(
    "--dir",
    "folder",
    type=OutputFolder(),
    default="demo",
    show_default=True,
    metavar="DIR",
    help="For results and reports.",
)
@click.option("--data", "data_folder", default="data", show_default=True, metavar="DIR", help="For datasets.")
@engine_option
@click.option("--synthetic", is_flag=True, help="Do not fetch anything, draw a synthetic set.")
def command(folder: str, data_folder: str, engine: str | None, synthetic: bool) -> None:
    """Show what batch normalisation does, in about ten minutes on two cores, and write reports.

    A net of sigmoids on MNIST, without and with it; then CIFAR-10 quick plain, with BatchNorm and Scale, and with BN.
    Where the data cannot be fetched, a set drawn by a program takes the place of CIFAR-10, and MNIST is left out.
    Called again, it goes on where it was interrupted.

    \b
    Example: dragon demo --synthetic
    """
    from dragon.compare import compare
    from dragon.compare.report import write_index

    datasets = _datasets(Path(data_folder), synthetic)
    for dataset in datasets.values():
        print_dataset(dataset)
    root = Path(folder)
    for name, dataset in datasets.items():
        output = root / name
        compare(EXPERIMENTS[name], output, engine=engine, dataset=str(dataset.folder), store=root / "runs")
        if "synthetic" in dataset.label.lower():
            click.echo(SYNTHETIC)
    click.echo(f"The reports are listed in {write_index(root).resolve()}")


def _datasets(folder: Path, synthetic: bool) -> dict[str, Dataset]:
    """MNIST and CIFAR-10, or a synthetic set for CIFAR-10 alone if they cannot be fetched. Raises DataError."""
    if not synthetic:
        try:
            return {name: make_dataset(name, str(folder / name)) for name in EXPERIMENTS}
        except DataError as error:
            click.echo(f"dragon: {error}; a synthetic set is drawn instead", err=True)
    return {"cifar10": make_dataset("synthetic", str(folder / "synthetic"))}
