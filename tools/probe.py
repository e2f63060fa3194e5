"""`dragon probe`: measures quantities of a net as it is, or along some iterations of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.probes import (
    AT_END,
    Probe,
    ProbeObserver,
    Run,
    measure,
    probe_class,
    probe_names,
    settings_of,
)
from dragon.solver.solver import Solver
from dragon.solver.types import get_solver
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.json_output import json_option
from dragon.tools.common.models import SOLVER, WEIGHTS
from dragon.tools.common.net_options import NetChoice, net_options
from dragon.tools.common.numbers import Count, Seed
from dragon.tools.common.probe_options import probe_option
from dragon.tools.common.solver_of_flags import read_solver_of_flags
from dragon.tools.common.tables import table

__all__ = ["command"]

Series = Mapping[str, list[list[Any]]]


@click.command("probe")
@click.option(
    "--solver", "path", type=SOLVER, metavar="FILE|NAME", help="A solver prototxt: for its learning rate, or to train."
)
@net_options(required=False)
@click.option(
    "--weights", type=WEIGHTS, metavar="FILE,...", help="Start from these .caffemodel, HDF5 or .safetensors files."
)
@probe_option("What to measure; may be given several times.")
@click.option("--iterations", type=Count(0), default=0, help="Train so far, with --solver, and measure along the way.")
@click.option("--seed", type=Seed(), help="Of fillers, dropout and augmentation; instead of the solver's.")
@click.option("--list", "listed", is_flag=True, help="List all probes with their settings.")
@engine_options
@json_option
def command(
    path: str | None,
    which: NetChoice | None,
    weights: str | None,
    probes: list[Probe],
    iterations: int,
    seed: int | None,
    listed: bool,
    choice: EngineChoice,
) -> Mapping[str, Any]:
    """Measure a net: norms, gradients, landscape, curvature, statistics, attacks and more.

    The net is that of --model, or that of --solver, as it is or trained for some iterations; nothing is written. Each
    probe prints a table with one row for each layer; values are the last ones. Batches that are measured on are a
    seeded choice of the net's data, the same for every run.

    \b
    Example:
    dragon probe --solver models/cifar10_quick_bn_merged/solver.prototxt --iterations 200 \\
      --probe weight_norm --probe effective_rate --probe hessian:every=end,iterations=10
    """
    if listed:
        known = list(map(_described, probe_names()))
        click.echo("\n\n".join(map(_description, known)))
        return {"probes": known}
    if not probes:
        raise UsageError("which probe? --probe NAME; --list shows them all")
    if (path is None) == (which is None):
        raise UsageError("give either --model or --solver")
    if iterations and path is None:
        raise UsageError("--iterations needs --solver, which says how to train")
    if path is not None:
        series, layers = _train(path, weights, probes, iterations, seed, choice)
    elif which is not None:
        series, layers = _look(which, weights, probes, seed, choice)
    click.echo(_tables(probes, series, layers))
    return series


def _train(
    path: str, weights: str | None, probes: list[Probe], iterations: int, seed: int | None, choice: EngineChoice
) -> tuple[Series, list[str]]:
    """Train and measure along the way; the series, and the names of the layers."""
    definition, changes, allow_unknown = read_solver_of_flags(path)
    param = definition.message
    param.max_iter, param.test_interval, param.display = iterations, 0, 0
    if weights:
        param.weights[:] = [weights]
    engine, options = choice.resolve(param)
    solver: Solver = get_solver(
        definition,
        engine=engine,
        options=options,
        seed=seed,
        changes=changes,
        allow_unknown=allow_unknown,
        verbose=False,
    )
    observer = ProbeObserver(probes)
    solver.param.snapshot = 0
    try:
        observer.on_start(solver)
        solver.observers.append(observer)
        solver.step(iterations)
        observer.on_end(solver)
        return observer.series(), solver.net.layer_names
    finally:
        for probe in probes:
            probe.close()
        solver.close()


def _look(
    which: NetChoice, weights: str | None, probes: list[Probe], seed: int | None, choice: EngineChoice
) -> tuple[Series, list[str]]:
    """Measure a net as it is; the series, and the names of the layers."""
    engine, options = choice.resolve()
    opened: list[Net] = []

    def net(phase: int) -> Net:
        opened.append(which.open(phase, engine, options, weights, seed=1 if seed is None else seed))
        return opened[-1]

    run = Run(net(TRAIN), lambda: net(TEST))
    try:
        series: dict[str, list[list[Any]]] = {}
        for probe in probes:
            with probe.named():
                probe.start(run)
                values = measure(probe, run)
            series |= {f"probe/{probe.title}/{key}": [[0], [value]] for key, value in values.items()}
        return series, opened[0].layer_names
    finally:
        run.close()
        for one in opened:
            one.close()


# -- output ----------------------------------------------------------------------------------------------------
def _tables(probes: Iterable[Probe], series: Series, layers: list[str]) -> str:
    """A table for each probe, of the last values: one row for each layer, one column for each quantity."""
    return "\n\n".join(_table(probe, series, layers) for probe in probes)


def _table(probe: Probe, series: Series, layers: list[str]) -> str:
    begin = f"probe/{probe.title}/"
    cells: dict[str, dict[str, str]] = {}
    last = 0
    for key, (iterations, values) in series.items():
        if key.startswith(begin):
            row, column = _place(key.removeprefix(begin), layers)
            cells.setdefault(row, {})[column] = "-" if values[-1] is None else f"{values[-1]:.5g}"
            last = iterations[-1]
    if not cells:
        return f"{probe.title}: nothing to measure here"
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    rows = [[row, *(found.get(column, "") for column in columns)] for row, found in cells.items()]
    return f"{probe.title}, iteration {last}\n{table(['', *columns], rows)}"


def _place(key: str, layers: list[str]) -> tuple[str, str]:
    """Row and column of a key: the longest name of a layer that it begins with, else its first part; and the rest."""
    names = [name for name in layers if key == name or key.startswith(f"{name}/")]
    row = max(names, key=len) if names else key.partition("/")[0]
    return row, key.removeprefix(row).removeprefix("/") or "value"


def _described(name: str) -> dict[str, Any]:
    """A probe for JSON: what it measures and its settings."""
    cls = probe_class(name)
    rows = [
        {"setting": key, "default": _default(key, field.default), "meaning": field.metadata["what"]}
        for key, field in settings_of(cls).items()
        if key != "label"
    ]
    return {"name": name, "what": (cls.__doc__ or "").splitlines()[0], "settings": rows}


def _description(probe: Mapping[str, Any]) -> str:
    head = ["  setting", "default", "meaning"]
    rows = [[f"  {one['setting']}", one["default"], one["meaning"]] for one in probe["settings"]]
    return f"{probe['name']}: {probe['what']}\n{table(head, rows, left=(0, 1, 2))}"


def _default(key: str, value: Any) -> str:
    if key == "every" and value == AT_END:
        return "end"
    if isinstance(value, tuple):
        return ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
