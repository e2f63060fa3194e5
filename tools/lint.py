"""`dragon lint`: finds likely mistakes in nets."""

from __future__ import annotations

from typing import Any

import click

from dragon.proto.assign import Assignment
from dragon.surgery.lint import Finding, lint
from dragon.tools.common.json_output import json_option
from dragon.tools.common.models import TRAIN_VAL
from dragon.tools.common.profile import profile_option
from dragon.tools.common.set_option import read_changed_net, set_net_option

__all__ = ["command"]


@click.command("lint")
@click.argument("nets", type=TRAIN_VAL, nargs=-1)
@click.option("--model", "models", type=TRAIN_VAL, multiple=True, metavar="FILE|NAME", help="As one of NETS.")
@set_net_option
@profile_option
@json_option
def command(
    nets: tuple[str, ...], models: tuple[str, ...], assignments: tuple[Assignment, ...], profile: str | None
) -> tuple[dict[str, Any], int]:
    """Look for mistakes in prototxt NETS: batch normalisation, names, missing files; status 1 if there are any.

    A Scale forgotten after BatchNorm, a bias in front of it, use_global_stats against the phase, learning rates of
    statistics, odd eps and fractions, tiny batches, unknown types and bottoms, data and mean files that are not there.

    \b
    Example: dragon lint models/lenet/train_val.prototxt
    """
    if not nets and not models:
        raise click.UsageError("which net? dragon lint net.prototxt")
    findings: list[Finding] = []
    for path in (*nets, *models):
        found = lint(read_changed_net(path, assignments, profile=profile))
        findings += found
        for finding in found:
            click.echo(str(finding))
    count = len(findings)
    click.echo(f"{count} remark{'' if count == 1 else 's'}" if count else "nothing found")
    return {"findings": findings}, int(count > 0)
