"""`dragon train`: trains as a solver prototxt says."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from dragon.errors import UsageError
from dragon.files.layer_files import layer_files
from dragon.graph.facts import SYNTHETIC, batch_norms, batch_size, summary, synthetic
from dragon.probes import Probe
from dragon.probes.observer import Values
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.text import read_solver_definition
from dragon.solver.changes import change_solver
from dragon.solver.definition import warnings
from dragon.solver.glog import GlogObserver
from dragon.solver.meter import Meter
from dragon.solver.snapshot import check_snapshots
from dragon.solver.solver import Observer, Solver
from dragon.solver.types import get_solver
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.logs import log, log_handler
from dragon.tools.common.numbers import INT32, Count, Seed
from dragon.tools.common.probe_options import probe_option
from dragon.tools.common.profile import profile_option
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.set_option import set_option
from dragon.tools.common.signals import EFFECTS, solver_signals
from dragon.tools.observers.curves import CurvesObserver
from dragon.tools.observers.forgiving import Forgiving
from dragon.tools.observers.glog import GlogHandler
from dragon.tools.observers.metrics import MetricsObserver
from dragon.tools.observers.probes import RecordedProbes
from dragon.tools.observers.progress import ConsoleHandler, ProgressObserver
from dragon.tools.observers.tensorboard import TensorBoardObserver

__all__ = ["command", "output_folder"]


@click.command("train")
@click.option("--solver", "path", required=True, metavar="FILE", help="The solver prototxt.")
@click.option("--weights", metavar="FILE,...", help="Start from these .caffemodel, HDF5 or .safetensors files.")
@click.option("--snapshot", metavar="FILE", help="Go on from this .solverstate.")
@click.option("--seed", type=Seed(), help="Of fillers, dropout and augmentation; instead of random_seed.")
@click.option("--iterations", type=Count(0), help="Train to this iteration instead of max_iter.")
@click.option("--level", type=INT32, help="The net state's level.")
@click.option("--stage", metavar="NAME,...", help="The net state's stages.")
@set_option("the solver or its nets, such as base_lr=0.01 or conv1.num_output=64")
@click.option("--output", metavar="DIR", help="For metrics.jsonl and curves.png; beside the snapshots by default.")
@probe_option("Measure this along the way, into metrics.jsonl; see dragon probe --list.")
@click.option("--tensorboard", metavar="DIR", help="Also write TensorBoard's event files, into this folder.")
@click.option("--sigint-effect", type=click.Choice(EFFECTS), default="stop", show_default=True)
@click.option("--sighup-effect", type=click.Choice(EFFECTS), default="snapshot", show_default=True)
@click.option("--allow-unknown", is_flag=True, help="Skip fields that the schema does not have, with a warning each.")
@profile_option
@allow_python
@engine_options
def command(
    path: str,
    weights: str | None,
    snapshot: str | None,
    seed: int | None,
    iterations: int | None,
    level: int | None,
    stage: str | None,
    assignments: tuple[Assignment, ...],
    output: str | None,
    probes: list[Probe],
    tensorboard: str | None,
    sigint_effect: str,
    sighup_effect: str,
    allow_unknown: bool,
    profile: str | None,
    choice: EngineChoice,
) -> None:
    """Train the net of a solver prototxt.

    SIGINT (Ctrl-C) and SIGTERM write a snapshot and stop, SIGHUP writes one and goes on. On a terminal a progress bar
    is shown, elsewhere a log in the form of Caffe's. Files that a
    prototxt names are looked for from here, then from its folder and from those above.

    \b
    Example: dragon train --solver models/lenet/solver.prototxt --iterations 500
    """
    if weights and snapshot:
        raise UsageError("give --snapshot to go on with a run or --weights to start from a trained net, not both")
    with _showing() as show, layer_files(True):
        definition = read_solver_definition(path, allow_unknown, profile)
        definition, changes = change_solver(definition, assignments)
        param = definition.message
        if iterations is not None:
            param.max_iter = iterations
        if level is not None:
            param.train_state.level = level
        param.train_state.stage.extend(stage.split(",") if stage else [])
        if weights or snapshot:
            del param.weights[:]
        if weights:
            param.weights.append(weights)
        engine, options = choice.resolve(param)
        solver = get_solver(
            definition,
            engine=engine,
            options=options,
            seed=seed,
            allow_unknown=allow_unknown,
            verbose=False,
            changes=changes,
        )
        try:
            if snapshot:
                solver.restore(snapshot)
            check_snapshots(solver)
            folder = Path(output) if output else output_folder(param, path)
            events = Path(tensorboard) if tensorboard else None
            _train(solver, show, folder, events, probes, snapshot, sigint_effect, sighup_effect)
        finally:
            solver.close()


def _train(
    solver: Solver,
    show: Console | None,
    folder: Path,
    events: Path | None,
    probes: list[Probe],
    resumed: str | None,
    sigint: str,
    sighup: str,
) -> None:
    meter = Meter()
    metrics = MetricsObserver(folder / "metrics.jsonl", meter)
    shown: Observer = GlogObserver(meter) if show is None else ProgressObserver(meter, show)
    curves = CurvesObserver(folder / "curves.png", metrics, meter)
    written = Forgiving(metrics, "metrics.jsonl")
    solver.observers.append(meter)
    if probes:  # before the metrics, which end with the run

        def record(solver: Solver, probe: Probe, values: Values) -> None:
            written.call(metrics.add_probe, solver, probe.title, values)

        watching = RecordedProbes(probes, record, meter.skip, resumed)
        solver.observers.append(Forgiving(watching, "the states of the probes"))
    solver.observers += [Forgiving(shown, "the log"), written, Forgiving(curves, "curves.png")]
    if events is not None:
        solver.observers.append(Forgiving(TensorBoardObserver(events, meter), "the event file"))
    for line in _opening(solver):
        log.info(line)
    for line in warnings(solver.param):
        log.warning("%s: %s", solver.path, line)
    log.info("Metrics and curves go to %s", folder)
    if events is not None:
        log.info("Event files go to %s", events)
    with solver_signals(solver, sigint, sighup):
        solver.solve()
    if synthetic(solver.net):
        log.info("Results are of %s", SYNTHETIC)


def _opening(solver: Solver) -> Iterator[str]:
    """The first lines of the log: net, engine, seed and data of the run."""
    net, options = solver.net, solver.net.executor.options
    yield summary(net)
    threads = getattr(net.executor, "threads", None)
    note = f", {threads} thread{'s' if threads > 1 else ''}" if threads else ""
    yield f"engine {net.executor.name}, {options.precision}{note}; seed {solver.seed}"
    if synthetic(net):
        yield SYNTHETIC
    if batch_norms(net):
        line = f"batch normalisation: statistics are taken over {batch_size(net)} examples"
        if solver.param.iter_size > 1:
            line += f"; iter_size {solver.param.iter_size} does not enlarge that"
        yield line
    if solver.iter:
        yield f"Resuming at iteration {solver.iter}"


def output_folder(param: pb.SolverParameter, path: str) -> Path:
    """The default folder for the metrics of a run: that of its snapshots, else runs/NAME OF THE SOLVER'S FILE."""
    prefix = param.snapshot_prefix
    if not prefix:
        return Path("runs") / Path(path).stem
    return Path(prefix) if Path(prefix).is_dir() else Path(prefix).parent


@contextmanager
def _showing() -> Iterator[Console | None]:
    """Log in Caffe's form; or, if stdout and stderr are terminals, give a console for a progress bar."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        console = Console(stderr=True)
        with log_handler(ConsoleHandler(console), logging.INFO):
            yield console
        return
    # if only stderr is a terminal, log to stdout: `dragon train ... | tee log`
    with log_handler(GlogHandler(err=not sys.stderr.isatty()), logging.INFO):
        yield None
