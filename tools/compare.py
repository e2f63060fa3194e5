"""`dragon compare NAME`: runs an experiment and writes results.json and report.html."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from dragon.errors import UsageError
from dragon.files.reading import read_text
from dragon.proto.assign import Assignment
from dragon.tools.common.engine_options import PRECISIONS, engine_option, tf32_option
from dragon.tools.common.json_output import json_option
from dragon.tools.common.numbers import Count
from dragon.tools.common.outputs import OutputFolder
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import set_option
from dragon.tools.common.tables import table

__all__ = ["command"]


@click.command("compare")
@click.argument("name", required=False, metavar="NAME|FILE")
@click.option("--list", "listing", is_flag=True, help="Show the experiments that ship with Dragon.")
@click.option(
    "--index", metavar="DIR", type=click.Path(file_okay=False), help="Write index.html and index.md over DIR."
)
@click.option("--quick", is_flag=True, help="The file's short form, a few minutes on two cores.")
@click.option("--seeds", type=Count(1), help="How many seeds, in place of the file's.")
@click.option("--output", type=OutputFolder(), help="Folder of results; compare/NAME by default.")
@click.option("--store", type=OutputFolder(), help="Folder of finished runs; compare/runs, or runs in --output.")
@click.option("--jobs", type=Count(1), help="Runs side by side; as many as cores by default.")
@engine_option
@click.option("--precision", type=click.Choice(list(PRECISIONS)), default="fp32", show_default=True)
@tf32_option
@set_option("every variant's solver or nets")
@click.option("--dataset", type=click.Path(file_okay=False), help="A folder of `dragon data`, in place of the file's.")
@click.option("--tensorboard", type=OutputFolder(), help="Also write event files, into this folder.")
@click.option(
    "--executor",
    metavar="local|mpi|dask",
    default="local",
    show_default=True,
    help="What runs the jobs: processes here, MPI's or Dask's workers.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Dask's scheduler; by default workers are started here.")
@allow_python
@json_option
def command(
    name: str | None,
    listing: bool,
    index: str | None,
    quick: bool,
    seeds: int | None,
    output: str | None,
    store: str | None,
    jobs: int | None,
    engine: str | None,
    precision: str,
    tf32: bool,
    assignments: tuple[Assignment, ...],
    dataset: str | None,
    tensorboard: str | None,
    executor: str,
    scheduler: str | None,
) -> Any:
    """Run every variant of an experiment over its factors and seeds, and write a report.

    NAME is one of --list, or the path of a file. An interrupted experiment goes on where it stopped when the same
    command is given again. A run that was finished, by whatever experiment with the same --store, is not repeated.

    \b
    Example: dragon compare lr_range --quick
    """
    given = [what for what, there in (("--list", listing), ("--index", index), (name, name)) if there]
    if len(given) > 1:
        raise UsageError(f"{given[0]} goes without {given[1]}")
    if listing:
        from dragon.compare.listing import list_experiments

        shown = [[one.name, one.claim, one.time] for one in list_experiments()]
        click.echo(table(["name", "claim", "time"], shown, left=(0, 1, 2)))
        return {"experiments": [dict(zip(("name", "claim", "time"), row, strict=True)) for row in shown]}
    if index is not None:
        from dragon.compare.report import write_index

        if not Path(index).is_dir():
            raise UsageError(f"--index {index}: there is no such folder")
        written = write_index(Path(index))
        click.echo(f"all experiments: {written}")
        return {"index": written}
    if name is None:
        raise UsageError("which experiment? `dragon compare --list` shows those that ship, or give the path of a file")
    from dragon.compare import compare

    try:
        report = compare(
            name, output, jobs=jobs, engine=engine, precision=precision, tf32=tf32, dataset=dataset, quick=quick,
            seeds=seeds, store=store, tensorboard=tensorboard, executor=executor, scheduler=scheduler,
            assignments=assignments,
        )  # fmt: skip
    except KeyboardInterrupt:
        click.echo("the same command goes on where this one stopped", err=True)
        raise
    return {"report": report, "results": json.loads(read_text(Path(report).parent / "results.json"))}
