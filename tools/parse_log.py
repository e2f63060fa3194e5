"""`dragon parse-log`: the figures of a training log as CSV."""

from __future__ import annotations

from pathlib import Path

import click

from dragon.caffe_log import read_log, write_tables

__all__ = ["command"]


@click.command("parse-log")
@click.argument("logfile", type=click.Path(dir_okay=False))
@click.argument("folder", type=click.Path(file_okay=False), default=".")
def command(logfile: str, folder: str) -> None:
    """Write the figures of a training log, Dragon's or Caffe's, to FOLDER/LOG.train and FOLDER/LOG.test as CSV.

    \b
    Example: dragon parse-log train.log tables/
    """
    log = read_log(logfile)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, rows in write_tables(log, folder, Path(logfile).name):
        click.echo(f"{path}: {rows} rows")
