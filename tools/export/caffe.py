"""The target `--caffe` of `dragon export`."""

from __future__ import annotations

from pathlib import Path

import click

from dragon.errors import UsageError
from dragon.export.caffe.write import deploy_net, whole_net, write_net
from dragon.tools.common.outputs import check_outputs
from dragon.tools.export.target import Source, Target

__all__ = ["TARGET"]

FOR_DEPLOY = click.Option(
    ["--for-deploy"],
    is_flag=True,
    help="Write what TEST computes: batch normalisation folded, no losses and Dropout, in place where that can be.",
)


def _write(source: Source, path: str, *, for_deploy: bool) -> None:
    which = source.which
    if for_deploy and source.weights is None:
        raise UsageError("--for-deploy needs --weights: batch normalisations are folded into them")
    name = "deploy" if for_deploy else Path(which.model).stem
    files = {f"--caffe {path}": str(Path(path) / f"{name}{ending}") for ending in (".prototxt", ".caffemodel")}
    for flag, file in files.items():
        check_outputs([which.model, *(source.weights or "").split(",")], {flag: file}, in_new_folder=True)
    deployed = source.deployed()
    if for_deploy and source.weights is not None:
        made = deploy_net(deployed, source.weights)
    else:
        made = whole_net(source.model(as_written=True), deployed)
    for note in made.notes:
        click.echo(note)
    found = f"the largest relative difference is {made.difference:.2g}"
    click.echo(f"proved on random data: {', '.join(made.outputs)} agree, {found}")
    for written in write_net(made, path, name):
        click.echo(f"written: {written}")


TARGET = Target(
    click.Option(["--caffe"], metavar="DIR", help="Write a prototxt and a .caffemodel that BVLC Caffe reads into DIR."),
    (FOR_DEPLOY,),
    _write,
)
