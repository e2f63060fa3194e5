"""`dragon bn show`: a table of what every batch normalisation of a trained net does."""

from __future__ import annotations

from functools import partial
from typing import Any

import click
from numpy.typing import NDArray

from dragon.bases.layer import TRAIN
from dragon.graph.facts import require_data
from dragon.graph.net import Net
from dragon.proto.assign import Assignment
from dragon.surgery.model import read_model
from dragon.surgery.show import Shown, measure_drift, show
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.json_output import json_option
from dragon.tools.common.models import DEPLOY, model_and_weights
from dragon.tools.common.numbers import Count
from dragon.tools.common.profile import profile_option
from dragon.tools.common.progress import progress_bar
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import read_changed_net, set_net_option
from dragon.tools.common.state_options import state_options
from dragon.tools.common.tables import table

__all__ = ["command"]

_WHY = {
    "scale": "gamma is 0: the output is beta",
    "variance": "the variance is below eps",
    "nan": "its mean, variance, gamma or beta is NaN or infinite",
    "negative": "never positive before a ReLU",
}


@click.command("show")
@model_and_weights(DEPLOY, "The net's prototxt.")
@click.option("--batches", type=Count(1), help="Compare with exact statistics over so many batches of TRAIN data.")
@state_options()
@set_net_option
@profile_option
@allow_python
@engine_options
@json_option
def command(
    model: str,
    weights: str,
    batches: int | None,
    level: int,
    stages: list[str],
    assignments: tuple[Assignment, ...],
    profile: str | None,
    choice: EngineChoice,
) -> dict[str, Any]:
    """Show every batch normalisation: mean, variance, gamma and beta over the channels, eps, and dead channels.

    With --batches also how far the running mean is from the exact one, in standard deviations, and exact variance by
    running variance. The part of eps is that in variance + eps, in the channel with the smallest variance.

    \b
    Example:
    dragon bn show --model models/cifar10_quick_bn_merged/train_val.prototxt --batches 100 \\
      --weights runs/cifar10_quick_bn_merged/cifar10_quick_bn_merged_iter_5000.caffemodel
    """
    found = show(read_model(model, weights, profile, assignments), note=partial(click.echo, err=True))
    if batches is not None:
        engine, options = choice.resolve()
        definition = read_changed_net(model, assignments, profile=profile)
        net = Net(definition, weights, TRAIN, level=level, stages=stages, engine=engine, options=options, seed=1)
        try:
            require_data(net, model)
            with progress_bar() as progress:
                measure_drift(found, net, batches, progress)
        finally:
            net.close()
    head = ["layer", "type", "channels", "mean", "variance", "gamma", "beta", "eps", "part of eps"]
    head += ["mean off, in std", "exact / running variance"] if batches is not None else []
    click.echo(table([*head, "dead"], [_row(one, len(head)) for one in found], left=(0, 1)))
    for one in found:
        for why, channels in one.dead.items():
            what = "likely " if why == "negative" and one.largest is None else ""
            click.echo(f"{one.name}: {len(channels)} dead, {what}{_WHY[why]}: channel {_list(channels)}")
    return {"layers": [_document(one) for one in found]}


def _row(one: Shown, columns: int) -> list[str]:
    """The cells of a layer but for the last, `columns` of them; "-" for what could not be measured, then the last."""
    ranges = [_range(values) for values in (one.mean, one.variance, one.gamma, one.beta)]
    row = [one.name, one.type, str(len(one.mean)), *ranges, f"{one.eps:.3g}", f"{one.eps_share:.2g}"]
    if one.mean_drift is not None and one.variance_drift is not None:
        row += [f"{one.mean_drift:.3g}", "{:.3g} to {:.3g}".format(*one.variance_drift)]
    return [*row, *["-"] * (columns - len(row)), str(one.dead_count)]


def _range(values: NDArray[Any]) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


def _list(channels: list[int]) -> str:
    shown = ", ".join(map(str, channels[:10]))
    return shown + (f" and {len(channels) - 10} more" if len(channels) > 10 else "")


def _document(one: Shown) -> dict[str, Any]:
    values = {name: getattr(one, name) for name in ("mean", "variance", "gamma", "beta")}
    result: dict[str, Any] = {
        "name": one.name, "type": one.type, "rule": one.rule, "fraction": one.fraction, "eps": one.eps,
        "eps_share": one.eps_share, **values, "dead": one.dead,
    }  # fmt: skip
    if one.exact is not None:
        result["exact_mean"], result["exact_variance"] = one.exact
        result["mean_drift"], result["variance_drift"] = one.mean_drift, one.variance_drift
    return result
