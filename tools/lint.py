"""`dragon lint`: finds likely mistakes in nets."""

from __future__ import annotations

import click

from dragon.proto.text import read_net_definition
from dragon.surgery.lint import lint
from dragon.tools.common.profile import profile_option

__all__ = ["command"]


@click.command("lint")
@click.argument("nets", type=click.Path(dir_okay=False), nargs=-1)
@click.option("--model", "models", multiple=True, metavar="FILE", help="As one of NETS.")
@profile_option
def command(nets: tuple[str, ...], models: tuple[str, ...], profile: str | None) -> int:
    """Look for mistakes in prototxt NETS: batch normalisation, names, missing files; status 1 if there are any.

    A Scale forgotten after BatchNorm, a bias in front of it, use_global_stats against the phase, learning rates of
    statistics, odd eps and fractions, tiny batches, unknown types and bottoms, data and mean files that are not there.

    \b
    Example: dragon lint models/lenet/train_val.prototxt
    """
    if not nets and not models:
        raise click.UsageError("which net? dragon lint net.prototxt")
    count = 0
    for path in (*nets, *models):
        found = lint(read_net_definition(path, profile=profile))
        count += len(found)
        for finding in found:
            click.echo(str(finding))
    click.echo(f"{count} remark{'' if count == 1 else 's'}" if count else "nothing found")
    return int(count > 0)
