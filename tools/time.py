"""`dragon time`: times the layers and passes of a net."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import click

from dragon.columns import terminal_width
from dragon.counting import how_many
from dragon.engines.base import LayerTime, Options
from dragon.errors import UsageError
from dragon.graph.facts import layer_facts, shapes_text, summary, window_columns
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.graph.outputs import batch_size
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from dragon.solver.types import get_solver
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.json_output import json_option
from dragon.tools.common.memory import peak_memory_mib
from dragon.tools.common.models import SOLVER, WEIGHTS
from dragon.tools.common.net_options import NetChoice, net_options
from dragon.tools.common.numbers import Count
from dragon.tools.common.solver_of_flags import read_solver_of_flags
from dragon.tools.common.spread import Spread
from dragon.tools.common.tables import table

__all__ = ["command"]

Document = dict[str, Any]

_MEANING = "times in ms: the mean, and the least to the one that nine of ten runs do not exceed"


@click.command("time")
@net_options(required=False)
@click.option(
    "--solver",
    "solver_path",
    type=SOLVER,
    metavar="FILE|NAME",
    help="A solver instead of a net: times its update as well.",
)
@click.option("--weights", type=WEIGHTS, metavar="FILE,...", help=".caffemodel, HDF5 or .safetensors files.")
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"], case_sensitive=False), default="TRAIN", show_default=True)
@click.option("--iterations", type=Count(1), default=50, show_default=True)
@click.option("--no-backward", is_flag=True, help="Time forward only.")
@click.option(
    "--dry-run", is_flag=True, help="Count what --engine cuda would launch and move, without a GPU. Needs --model."
)
@engine_options
@json_option
def command(
    which: NetChoice | None,
    solver_path: str | None,
    weights: str | None,
    phase: str,
    iterations: int,
    no_backward: bool,
    dry_run: bool,
    choice: EngineChoice,
) -> Document:
    """Time a net: every layer by itself, then whole passes, which the engine may fuse. Times are in ms.

    Of each the mean is shown, the least, and p90, which nine of ten runs do not exceed. A mean far above the least says
    that the machine was busy with something else.

    \b
    Example: dragon time --model models/lenet/train_val.prototxt
    """
    if (which is None) == (solver_path is None):
        raise UsageError("give either --model or --solver")
    solver: Solver | None = None
    if dry_run:
        if choice.engine not in (None, "cuda"):
            raise UsageError(f"--dry-run counts what --engine cuda would do: it goes with no --engine {choice.engine}")
        if which is None:
            raise UsageError("--dry-run counts for a net: give --model in place of --solver")
        return _count(which, pb.Phase.Value(phase.upper()), not no_backward, choice)
    if which is not None:
        engine, options = choice.resolve()
        net = which.open(pb.Phase.Value(phase.upper()), engine, options, weights)
    else:
        definition, changes, allow_unknown = read_solver_of_flags(str(solver_path))
        param = definition.message
        engine, options = choice.resolve(param)
        if weights:
            param.weights[:] = [weights]
        solver = get_solver(
            definition,
            engine=engine,
            options=options,
            seed=1,
            allow_unknown=allow_unknown,
            changes=changes,
            verbose=False,
        )
        net = solver.net
    try:
        return _report(net, solver, iterations, not no_backward)
    finally:
        (solver or net).close()


def _count(which: NetChoice, phase: int, backward: bool, choice: EngineChoice) -> Document:
    from dragon.engines.cuda import plan_figures

    net = which.open(phase, "numpy", Options(), None)
    try:
        click.echo(summary(net))
        figures = plan_figures(
            net, backward, choice.fuse, choice.precision or "fp32", tf32=choice.tf32, channels_last=choice.channels_last
        )
        for line in figures.lines(terminal_width()):
            click.echo(line)
        totals = {"launches": figures.launches, "bytes": figures.bytes, "floor_seconds": figures.floor_seconds}
        return {"net": net.name, "dry_run": {**asdict(figures), **totals}}
    finally:
        net.close()


def _report(net: Net, solver: Solver | None, iterations: int, backward: bool) -> Document:
    click.echo(summary(net))
    click.echo(f"phase {pb.Phase.Name(net.phase)}, engine {net.executor.name}, {how_many(iterations, 'iteration')}")
    layers = net.executor.profile(iterations, backward)
    click.echo("")
    click.echo(_layer_table(net, layers))
    click.echo(_MEANING)
    passes: dict[str, Callable[[], object]] = {"Forward pass": net.run_forward}
    if backward:
        passes["Backward pass"] = net.run_backward
    if solver is not None:
        rate = solver.learning_rate()
        passes["Update"] = lambda: net.executor.update(solver.updater, rate, 0)
    spreads = dict(zip(passes, map(Spread.of, _times(list(passes.values()), iterations)), strict=True))
    click.echo("")
    for name, spread in spreads.items():
        click.echo(f"Average {name}: {spread.mean:.4g} ms. {_spread_text(spread)}")
    total = sum(spread.mean for spread in spreads.values())
    if backward:
        both = spreads["Forward pass"].mean + spreads["Backward pass"].mean
        click.echo(f"Average Forward-Backward: {both:.4g} ms.")
    if solver is not None and backward and solver.param.iter_size == 1:
        whole = _whole_iteration(net, solver, iterations)
        if whole is not None:
            total = whole.mean
            spreads["Iteration"] = whole
            click.echo(f"Average iteration in one go: {whole.mean:.4g} ms. {_spread_text(whole)}")
    images_per_second = batch_size(net) * 1e3 / total
    click.echo(f"Images per second: {images_per_second:,.0f}")
    for remark in net.executor.remarks():
        click.echo(remark)
    memory = peak_memory_mib()
    click.echo(f"Peak memory of the process: {memory:,.0f} MiB")
    return {
        "net": net.name, "phase": pb.Phase.Name(net.phase), "engine": net.executor.name, "iterations": iterations,
        "batch_size": batch_size(net),
        "layers": [_layer_document(node, layer) for node, layer in zip(net.nodes, layers, strict=True)],
        "passes": {name.lower().replace(" ", "_"): spread for name, spread in spreads.items()},
        "images_per_second": images_per_second, "peak_memory_mib": memory,
    }  # fmt: skip


def _whole_iteration(net: Net, solver: Solver, iterations: int) -> Spread | None:
    """The times of a training iteration if the engine runs it in one go, otherwise None."""
    rate = solver.learning_rate()

    def step() -> float | None:
        return net.whole_step(solver.updater, rate, 0)

    if any(step() is None for _ in range(3)):  # until it is captured
        return None
    (times,) = _times([step], iterations)
    return Spread.of(times)


def _spread_text(spread: Spread) -> str:
    return f"(median {spread.median:.4g}, min {spread.min:.4g}, 90 % within {spread.p90:.4g})"


def _layer_table(net: Net, layers: list[LayerTime]) -> str:
    whole = sum(layer.forward_ms + layer.backward_ms for layer in layers) or 1.0
    rows = [
        [
            layer.name,
            layer.type,
            *window_columns(node.layer)[:2],
            shapes_text(blob.shape for blob in node.tops),
            *_time_columns(layer.forward_ms, layer.forward_runs),
            *_time_columns(layer.backward_ms, layer.backward_runs),
            f"{(layer.forward_ms + layer.backward_ms) / whole:.1%}",
            layer.note,
        ]
        for node, layer in zip(net.nodes, layers, strict=True)
    ]
    forward = sum(layer.forward_ms for layer in layers)
    back = sum(layer.backward_ms for layer in layers)
    rows.append(["all layers", "", "", "", "", f"{forward:.3f}", "", f"{back:.3f}", "", "100.0%", "each by itself"])
    head = ["layer", "type", "kernel", "stride", "tops", "forward", "min to p90", "backward", "min to p90", "share"]
    return table([*head, "where it ran"], rows, left=(0, 1, 2, 3, 4, 10))


def _time_columns(mean: float, runs: Sequence[float]) -> list[str]:
    if not runs:
        return [f"{mean:.3f}", ""]
    spread = Spread.of(runs)
    return [f"{mean:.3f}", f"{spread.min:.3f} to {spread.p90:.3f}"]


def _layer_document(node: Node, layer: LayerTime) -> Document:
    ways = {"forward": layer.forward_runs, "backward": layer.backward_runs}
    return {
        **layer_facts(node),
        **{way: Spread.of(runs) if runs else None for way, runs in ways.items()},
        "note": layer.note,
    }


def _times(runs: Sequence[Callable[[], object]], iterations: int) -> list[list[float]]:
    """Milliseconds of each of `runs`, called in turn; one more turn before is not counted."""
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(iterations + 1):
        for k, run in enumerate(runs):
            began = time.perf_counter()
            run()
            times[k] += [(time.perf_counter() - began) * 1e3] * (turn > 0)
    return times
