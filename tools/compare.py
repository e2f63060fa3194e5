"""`dragon compare FILE.yaml`: runs variants of a net and writes results.json and report.html."""

from __future__ import annotations

import click

from dragon.engines import ENGINES
from dragon.tools.common.engine_options import PRECISIONS
from dragon.tools.common.numbers import Count
from dragon.tools.common.python_layers import allow_python

__all__ = ["command"]


@click.command("compare")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--output", type=click.Path(file_okay=False), help="Folder of results; compare_NAME by default.")
@click.option("--jobs", type=Count(1), help="Runs side by side; as many as cores by default.")
@click.option("--engine", type=click.Choice(ENGINES), help="How nets are run; auto takes the fastest on the CPU.")
@click.option("--precision", type=click.Choice(list(PRECISIONS)), default="fp32", show_default=True)
@click.option("--dataset", type=click.Path(file_okay=False), help="A folder of `dragon data`, in place of the file's.")
@allow_python
def command(
    file: str, output: str | None, jobs: int | None, engine: str | None, precision: str, dataset: str | None
) -> None:
    """Run every variant of FILE over its learning rates and seeds, and write a report.

    An interrupted comparison goes on where it stopped when the same command is given again; only runs whose
    definition changed are run anew.

    \b
    Example: dragon compare models/compare_cifar10_quick.yaml --output results
    """
    from dragon.compare import compare

    compare(file, output, jobs=jobs, engine=engine, precision=precision, dataset=dataset)
