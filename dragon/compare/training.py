"""One training run of an experiment: trained to the end, resumed from its newest snapshot, its record."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dragon.bases.batch_statistics import averages
from dragon.bases.layer import TRAIN
from dragon.compare.averages import Rule
from dragon.compare.exact import ExactStatistics
from dragon.compare.probing import make_probes
from dragon.compare.recorder import Recorder, Report
from dragon.compare.weights import as_inputs, copy_parameters
from dragon.engines import Options
from dragon.errors import NumericError
from dragon.files.folders import make_folder
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.solver.solver import Solver

__all__ = ["Report", "is_small", "make_solver", "train"]

TESTS = (("test", "global"), ("test", "batch"))
_SMALL = 50_000_000  # products of a forward pass that one thread computes in about a millisecond


def make_solver(
    definition: pb.SolverParameter,
    start_from: pb.NetParameter | None,
    engine: str,
    options: Options,
    tests: Sequence[Sequence[str]] = TESTS,
    fit_threads: bool = False,
    net_folder: Path | None = None,
) -> Solver:
    """The solver of a run. Its "batch" test nets normalise by the batch; weights are copied from `start_from`.

    fit_threads: a small net gets one thread whatever `options` say. net_folder: where files are looked for that the
    nets, or the lists that they read, name.
    """
    make = partial(Solver, definition, engine=engine, verbose=False, net_folder=net_folder)
    solver = make(options=options)
    if fit_threads and (options.threads or 1) > 1 and _products(solver.net) < _SMALL:
        solver.close()
        solver = make(options=replace(options, threads=1))
    for net, (_, statistics) in zip(solver.test_nets, tests, strict=False):
        for layer in net.layers if statistics == "batch" else ():
            if averages(layer):
                layer.let_phase_decide()
                layer.phase = TRAIN
    if start_from is not None:
        shapes = {name: blob.shape for name, blob in solver.net.blobs.items()}
        source = Net(as_inputs(start_from, shapes, TRAIN), phase=TRAIN, engine="numpy", seed=solver.seed)
        copy_parameters(source, solver.net)
    return solver


def train(
    definition: pb.SolverParameter,
    start_from: pb.NetParameter | None,
    engine: str,
    options: Options,
    folder: Path,
    report: Report,
    on_solver: Callable[[Solver], None] = lambda solver: None,
    averages: dict[str, Rule] | None = None,
    *,
    tests: Sequence[Sequence[str]] = TESTS,
    exact_images: int | None = None,
    exact_variance: str = "pooled",
    stop: dict[str, Any] | None = None,
    probes: Sequence[dict[str, Any]] = (),
    fit_threads: bool = False,
    net_folder: Path | None = None,
) -> dict[str, Any] | None:
    """Train to the end, from the folder's snapshot if there is one; return the record, None when interrupted.

    A loss that becomes NaN or infinite ends the run, and the record reports it as "diverged". report: gets progress
    messages. on_solver: gets the solver before it starts. tests, exact_images, stop: see `dragon.compare.plan.Run`.
    fit_threads, net_folder: see `make_solver`.
    """
    make_folder(folder)
    definition.snapshot_prefix = str(folder / "run")
    definition.snapshot = min(definition.max_iter + 1, 2**31 - 1)  # never: the recorder asks for them, by time
    observer = make_probes(probes) if probes else None
    recorder = Recorder(folder, report, tests, stop, observer)
    state = recorder.resume()
    solver = make_solver(definition, None if state else start_from, engine, options, tests, fit_threads, net_folder)
    options = solver.net.executor.options
    try:
        if averages:
            recorder.follow(solver.net, averages)
        if exact_images:
            recorder.exact = ExactStatistics(
                Definition(definition.train_net_param, folder=net_folder), exact_images, engine, options, solver.seed,
                exact_variance,
            )  # fmt: skip
        solver.observers += [recorder] if observer is None else [recorder, observer]
        on_solver(solver)
        diverged = _solve(solver, state)
    finally:
        solver.close()
        if recorder.exact is not None:
            recorder.exact.close()
    if solver.stopped and diverged is None and recorder.stopped is None:
        return None
    if observer is not None:
        recorder.series |= {name: (axes[0], axes[1]) for name, axes in observer.series().items()}
    shutil.rmtree(folder, ignore_errors=True)
    done = recorder.series.get("train/loss", ([], []))[0]
    return {
        **recorder.content(),
        "iterations": definition.max_iter,
        "done": len(done),
        "test_interval": definition.test_interval,
        "batch_size": _batch_size(solver.net),
        "diverged": diverged,
        "stopped": recorder.stopped,
        "chance": _chance_scores(solver),
        "engine": solver.net.executor.name,
        "precision": options.precision,
        "threads": options.threads,
        "seed": solver.seed,
    }


def is_small(definition: Definition[pb.NetParameter]) -> bool:
    """Whether a net is so small that several threads make it slower."""
    net = Net(definition, phase=TRAIN, engine="numpy", seed=0)
    try:
        return _products(net) < _SMALL
    finally:
        net.close()


def _products(net: Net) -> int:
    """About how many products a forward pass takes: each weight once for each position of the top."""
    nodes = [node for node in net.nodes if node.layer.blobs and node.tops and len(node.tops[0].shape) > 1]
    return sum(n.layer.blobs[0].count * (n.tops[0].count // max(1, n.tops[0].shape[1])) for n in nodes)


def _solve(solver: Solver, state: str | None) -> str | None:
    """Train; the reason if the training diverged."""
    try:
        solver.solve(state)
    except NumericError as error:
        return str(error).partition("; the last snapshot is ")[0]  # which is removed with the run's folder
    return None


def _batch_size(net: Net) -> int:
    """Number of images in a training batch: the extent of the first top's first axis."""
    return next((node.tops[0].shape[0] for node in net.nodes if node.tops and node.tops[0].shape), 1)


def _chance_scores(solver: Solver) -> dict[str, float]:
    """What guessing scores for each output of the first test net that is about classes: accuracies and losses."""
    nodes = solver.test_nets[0].nodes if solver.test_nets else []
    return {n.top_names[0]: score for n in nodes if n.top_names and (score := n.layer.guess_score) is not None}
