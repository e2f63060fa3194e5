"""`dragon lint`: finds likely mistakes in nets."""

from __future__ import annotations

from typing import Any

import click

from dragon.counting import how_many
from dragon.proto.assign import Assignment
from dragon.surgery.lint import Finding, lint
from dragon.tools.common.json_output import json_option
from dragon.tools.common.logs import warnings_once
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
    """Look for mistakes in prototxt NETS: batch normalisation, names, settings, files; status 1 if there are any.

    Errors are what keeps a net from being made: layers that refuse their settings or bottoms, unknown types and
    bottoms, data and mean files that are not there. Remarks are what probably costs accuracy or has no effect:
    a Scale forgotten after BatchNorm, a normalisation in one phase alone, a bias in front of it, use_global_stats
    or a phase of the layer's own against the net's, learning rates of statistics, odd eps and fractions, tiny batches,
    settings of another type.

    \b
    Example: dragon lint models/lenet/train_val.prototxt
    """
    if not nets and not models:
        raise click.UsageError("which net? dragon lint net.prototxt")
    findings: list[Finding] = []
    for path in (*nets, *models):
        with warnings_once():
            found = lint(read_changed_net(path, assignments, profile=profile))
        findings += found
        for finding in found:
            click.echo(str(finding))
    levels = [finding.level for finding in findings]
    counts = [how_many(levels.count(level), level) for level in ("error", "remark") if level in levels]
    click.echo(", ".join(counts) or "nothing found")
    return {"findings": findings}, int(bool(findings))
