"""`dragon parse-log`: writes the figures of a training run as CSV."""

from __future__ import annotations

from typing import Any

import click

from dragon.counting import how_many
from dragon.files.caffe_log import write_tables
from dragon.files.folders import make_folder
from dragon.tools.common.json_output import json_option
from dragon.tools.common.outputs import OutputFolder
from dragon.tools.common.run_log import read_run, run_name

__all__ = ["command"]


@click.command("parse-log")
@click.argument("run", type=click.Path())
@click.argument("folder", type=OutputFolder(), default=".")
@json_option
def command(run: str, folder: str) -> dict[str, Any]:
    """Write the figures of a training RUN as CSV to FOLDER (here by default): NAME.train, and NAME.test of its tests.

    RUN is a log (Dragon's or Caffe's), a metrics.jsonl, or the folder in which `dragon train` put one. NAME is that of
    the log or the folder, lenet_1 for runs/lenet/1. Further test nets have NAME.test1, NAME.test2 and so on.

    \b
    Example: dragon parse-log runs/lenet tables
    """
    log = read_run(run)
    make_folder(folder)
    written = write_tables(log, folder, run_name(run).replace("/", "_"))
    for path, rows in written:
        click.echo(f"{path}: {how_many(rows, 'row')}")
    tests = {f"test{i or ''}": rows for i, rows in sorted(log.tests.items())}
    return {"files": [{"path": path, "rows": rows} for path, rows in written], "train": log.train, **tests}
