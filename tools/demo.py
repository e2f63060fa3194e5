"""`dragon demo`: fetches data, compares plain, split and merged CIFAR-10 quick, and writes a report."""

from __future__ import annotations

from pathlib import Path

import click

from dragon import models
from dragon.data import Dataset
from dragon.engines import ENGINES
from dragon.errors import DataError
from dragon.tools.common.net_facts import SYNTHETIC
from dragon.tools.data import make_dataset, print_dataset

__all__ = ["command"]

COMPARISON = "compare_cifar10_quick.yaml"


@click.command("demo")
@click.option("--dir", "folder", default="demo", show_default=True, metavar="DIR", help="For results and report.")
@click.option("--data", "data_folder", default="data", show_default=True, metavar="DIR", help="For datasets.")
@click.option("--engine", type=click.Choice(ENGINES), help="How nets are run; auto takes the fastest on the CPU.")
@click.option("--synthetic", is_flag=True, help="Do not look for CIFAR-10, draw a synthetic set.")
def command(folder: str, data_folder: str, engine: str | None, synthetic: bool) -> None:
    """Compare three forms of CIFAR-10 quick, in about ten minutes on two cores, and write a report.

    CIFAR-10 is fetched; where it cannot be had, a set drawn by a program takes its place. Called again, it goes on
    where it was interrupted.

    \b
    Example: dragon demo --synthetic
    """
    from dragon.compare import compare

    dataset = _dataset(Path(data_folder), synthetic)
    print_dataset(dataset)
    path = next(found for place in models.__path__ if (found := Path(place) / COMPARISON).is_file())
    compare(str(path), folder, engine=engine, dataset=str(dataset.folder))
    if "synthetic" in dataset.label.lower():
        click.echo(SYNTHETIC)
    click.echo(f"The report is {Path(folder, 'report.html').resolve()}")


def _dataset(folder: Path, synthetic: bool) -> Dataset:
    """CIFAR-10, or the synthetic set if CIFAR-10 cannot be fetched. Raises DataError."""
    if not synthetic:
        try:
            return make_dataset("cifar10", str(folder / "cifar10"))
        except DataError as error:
            click.echo(f"dragon: {error}; a synthetic set is drawn instead", err=True)
    return make_dataset("synthetic", str(folder / "synthetic"))
