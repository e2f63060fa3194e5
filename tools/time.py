"""`dragon time`: times the layers and passes of a net."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import click

from dragon.engines.base import LayerTime, Options
from dragon.errors import UsageError
from dragon.graph.facts import batch_size, summary
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_solver_definition
from dragon.solver.changes import change_solver
from dragon.solver.solver import Solver
from dragon.solver.types import get_solver
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.memory import peak_memory_mib
from dragon.tools.common.net_options import NetChoice, net_options
from dragon.tools.common.numbers import Count
from dragon.tools.common.tables import table

__all__ = ["command", "mean_ms", "peak_memory_mib"]


@click.command("time")
@net_options(required=False)
@click.option("--solver", "solver_path", metavar="FILE", help="A solver instead of a net: times its update as well.")
@click.option("--weights", metavar="FILE,...", help=".caffemodel, HDF5 or .safetensors files.")
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"], case_sensitive=False), default="TRAIN", show_default=True)
@click.option("--iterations", type=Count(1), default=50, show_default=True)
@click.option("--no-backward", is_flag=True, help="Time forward only.")
@click.option(
    "--dry-run", is_flag=True, help="Count what --engine cuda would launch and move, without a GPU. Needs --model."
)
@engine_options
def command(
    which: NetChoice | None,
    solver_path: str | None,
    weights: str | None,
    phase: str,
    iterations: int,
    no_backward: bool,
    dry_run: bool,
    choice: EngineChoice,
) -> None:
    """Time a net: every layer by itself, then whole passes, which the engine may fuse. Times are means in ms.

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
        _count(which, pb.Phase.Value(phase.upper()), not no_backward, choice)
        return
    if which is not None:
        engine, options = choice.resolve()
        net = which.open(pb.Phase.Value(phase.upper()), engine, options, weights)
    else:
        given = click.get_current_context().params  # without --model there is no NetChoice that holds them
        allow_unknown = given["allow_unknown"]
        definition = read_solver_definition(str(solver_path), allow_unknown, given["profile"])
        definition, changes = change_solver(definition, given["assignments"])
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
        _report(net, solver, iterations, not no_backward)
    finally:
        (solver or net).close()


def _count(which: NetChoice, phase: int, backward: bool, choice: EngineChoice) -> None:
    from dragon.engines.cuda import plan_figures

    net = which.open(phase, "numpy", Options(), None)
    try:
        click.echo(summary(net))
        for line in plan_figures(net, backward, choice.fuse, choice.precision or "fp32").lines():
            click.echo(line)
    finally:
        net.close()


def _report(net: Net, solver: Solver | None, iterations: int, backward: bool) -> None:
    click.echo(summary(net))
    click.echo(f"phase {pb.Phase.Name(net.phase)}, engine {net.executor.name}, {iterations} iterations")
    layers = net.executor.profile(iterations, backward)
    click.echo("")
    click.echo(_layer_table(layers))
    passes: dict[str, Callable[[], object]] = {"Forward pass": net.run_forward}
    if backward:
        passes["Backward pass"] = net.run_backward
    if solver is not None:
        rate = solver.learning_rate()
        passes["Update"] = lambda: net.executor.update(solver.updater, rate, 0)
    means = mean_ms(list(passes.values()), iterations)
    click.echo("")
    for name, mean in zip(passes, means, strict=True):
        click.echo(f"Average {name}: {mean:.4g} ms.")
    total = sum(means)
    if backward:
        click.echo(f"Average Forward-Backward: {means[0] + means[1]:.4g} ms.")
    if solver is not None and backward and solver.param.iter_size == 1:
        total = _whole_iteration(net, solver, iterations) or total
    click.echo(f"Images per second: {batch_size(net) * 1e3 / total:,.0f}")
    for remark in net.executor.remarks():
        click.echo(remark)
    click.echo(f"Peak memory of the process: {peak_memory_mib():,.0f} MiB")


def _whole_iteration(net: Net, solver: Solver, iterations: int) -> float | None:
    """Time and print a training iteration if the engine runs it in one go: milliseconds, otherwise None."""
    rate = solver.learning_rate()

    def step() -> float | None:
        return net.whole_step(solver.updater, rate, 0)

    if any(step() is None for _ in range(3)):  # until it is captured
        return None
    (mean,) = mean_ms([step], iterations)
    click.echo(f"Average iteration in one go: {mean:.4g} ms.")
    return mean


def _layer_table(layers: list[LayerTime]) -> str:
    whole = sum(layer.forward_ms + layer.backward_ms for layer in layers) or 1.0
    rows = [
        [
            layer.name,
            layer.type,
            f"{layer.forward_ms:.3f}",
            f"{layer.backward_ms:.3f}",
            f"{(layer.forward_ms + layer.backward_ms) / whole:.1%}",
            layer.note,
        ]
        for layer in layers
    ]
    forward = sum(layer.forward_ms for layer in layers)
    back = sum(layer.backward_ms for layer in layers)
    rows.append(["all layers", "", f"{forward:.3f}", f"{back:.3f}", "100.0%", "each by itself"])
    return table(["layer", "type", "forward", "backward", "share", "where it ran"], rows, left=(0, 1, 5))


def mean_ms(runs: Sequence[Callable[[], object]], iterations: int) -> list[float]:
    """Mean milliseconds of each of `runs`, called in turn; one more turn before is not counted."""
    sums = [0.0] * len(runs)
    for turn in range(iterations + 1):
        for k, run in enumerate(runs):
            began = time.perf_counter()
            run()
            sums[k] += (time.perf_counter() - began) * (turn > 0)
    return [total * 1e3 / iterations for total in sums]
