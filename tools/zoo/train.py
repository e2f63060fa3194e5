"""`dragon zoo train`: trains the weights that Dragon offers for a net, as its weights.yaml says."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import click
import yaml

from dragon.bases.layer import TEST
from dragon.counting import how_many
from dragon.engines import ENGINES, cuda_problem, gpu_name
from dragon.engines.base import Options
from dragon.errors import UsageError, nearest
from dragon.files.atomic import atomic_path, write_atomically
from dragon.files.folders import make_folder
from dragon.files.reading import read_text
from dragon.graph.facts import summary
from dragon.graph.means import detection_tops
from dragon.graph.net import Net
from dragon.models.facts import ROOT
from dragon.models.recipes import FILE, Recipe, read_recipe, recipes, solver_of
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import format_text
from dragon.solver.glog import GlogObserver
from dragon.solver.meter import Meter
from dragon.solver.snapshot_names import snapshot_base
from dragon.solver.solver import Solver
from dragon.solver.types import get_solver
from dragon.tools.common.logs import log, log_handler
from dragon.tools.common.numbers import Count
from dragon.tools.common.outputs import OutputFolder
from dragon.tools.common.signals import solver_signals
from dragon.tools.observers.glog import GlogHandler
from dragon.tools.observers.log_file import logged_to
from dragon.tools.observers.metrics import MetricsObserver
from dragon.tools.runs.resuming import snapshots_of
from dragon.tools.test import score
from dragon.tools.zoo.training_table import FILE as TABLE
from dragon.tools.zoo.training_table import training_table

__all__ = ["command"]

# oneDNN's names of what get_effective_cpu_isa returns
_INSTRUCTIONS = {
    0x1: "sse41", 0x3: "avx", 0x7: "avx2", 0xF: "avx2_vnni", 0x1F: "avx2_vnni_2", 0x27: "avx512_core",
    0x67: "avx512_core_vnni", 0xE7: "avx512_core_bf16", 0x1EF: "avx512_core_fp16", 0xFEF: "avx512_core_amx",
    0x1FEF: "avx512_core_amx_fp16",
}  # fmt: skip


@click.command("train")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--iterations", type=Count(1), help="Stop after this many, without testing: to try or time a recipe.")
@click.option("--engine", type=click.Choice(ENGINES), help="Train by another engine than the recipe's.")
@click.option(
    "--output",
    type=OutputFolder(),
    metavar="DIR",
    default="weights",
    show_default=True,
    help="A folder NAME is made in it.",
)
def command(names: tuple[str, ...], iterations: int | None, engine: str | None, output: str) -> None:
    """Train the weights that Dragon offers for the nets NAME, or for all that have a recipe.

    The recipe is models/NAME/weights.yaml: seed, engine, threads, and what differs from solver.prototxt. The data sets
    come from `dragon data`. DIR/NAME gets the solver, the log, metrics.jsonl, snapshots, NAME.caffemodel, training.csv
    (the log as a table, without times), and a weights.yaml with accuracy and checksum. The same command goes on with a
    training that was interrupted.

    The bytes are the same each time on one machine with one engine. On another, oneDNN may choose other instructions or
    blocks, and cuDNN other algorithms, which sum in another order.

    \b
    Example: dragon zoo train lenet cifar10_quick
    """
    known = recipes(ROOT)
    for name in names:
        if name not in known:
            raise UsageError(f'no recipe for weights of "{name}"{nearest(name, known)}; there are {", ".join(known)}')
    for name in names or known:
        recipe = read_recipe(name, ROOT)
        assert recipe is not None
        if engine is not None:
            recipe = replace(recipe, engine=engine)
        elif recipe.engine == "cuda" and (problem := cuda_problem()):
            log.warning("%s: its recipe is for a GPU, and the CPU trains it instead, to other bytes: %s", name, problem)
            recipe = replace(recipe, engine="auto")
        if not _train(name, recipe, Path(output) / name, iterations):
            click.echo(f"{name}: stopped early; the same command goes on")
            return


def _train(name: str, recipe: Recipe, folder: Path, iterations: int | None) -> bool:
    """Train a net, and write its weights into the folder; False if the training was stopped."""
    param = solver_of(name, recipe, ROOT)
    param.net = str(ROOT / name / "train_val.prototxt")
    param.snapshot_prefix = str(folder / name)
    if iterations:
        param.max_iter = iterations
        param.test_interval = 0
        param.ClearField("test_iter")
    make_folder(folder)
    _note_solver(folder / "solver.prototxt", param)
    options = _options(recipe)
    definition = Definition(param, str(folder / "solver.prototxt"), folder=folder)
    with get_solver(definition, engine=recipe.engine, options=options, seed=recipe.seed, verbose=False) as solver:
        recipe = replace(recipe, engine=solver.net.executor.name)  # what "auto" was
        earlier = snapshots_of(Path(snapshot_base(solver)))
        if earlier:
            solver.restore(str(earlier[-1][1]))
        if solver.iter < param.max_iter:
            click.echo(
                f"{name}: {how_many(param.max_iter, 'iteration')}; the recipe takes about "
                f"{how_many(recipe.minutes, 'minute')} on free cores"
            )
            _solve(solver, folder)
        if solver.iter < param.max_iter:
            return False
    weights = folder / f"{name}.caffemodel"
    with atomic_path(weights) as temporary:
        shutil.copyfile(folder / f"{name}_iter_{param.max_iter}.caffemodel", temporary)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    click.echo(f"{weights}: {how_many(weights.stat().st_size, 'byte')}, SHA-256 {sha256}")
    if iterations:
        return True
    output, accuracy = _accuracy(name, weights, param, recipe)
    made = replace(
        recipe, file=weights.name, size=weights.stat().st_size, sha256=sha256, accuracy=accuracy,
        instructions=_instructions(recipe.engine), card=_card(recipe.engine),
    )  # fmt: skip
    table = training_table(folder / "metrics.jsonl", param.max_iter, output, accuracy)
    write_atomically(folder / TABLE, table.encode())
    write_atomically(folder / FILE, _text(name, made).encode())
    click.echo(f"{name}: accuracy {accuracy:.4f} on the test set; {folder / FILE} written{_compared(recipe, made)}")
    return True


def _options(recipe: Recipe) -> Options:
    """The options of the net. Plans that are timed may differ from process to process, and with them the bytes."""
    return Options(precision=recipe.precision, threads=recipe.threads, timed_plans=False)


def _note_solver(path: Path, param: pb.SolverParameter) -> None:
    """Write the solver of the run. Raises UsageError if the folder has a run of another recipe."""
    text = format_text(param)
    if path.exists() and read_text(path) != text:
        raise UsageError(f"{path.parent} holds a training with another solver: remove it, or name another --output")
    write_atomically(path, text.encode())


def _solve(solver: Solver, folder: Path) -> None:
    """Train to the end, or until a signal, and log to stdout and log.txt."""
    meter = Meter()
    solver.observers += [meter, MetricsObserver(folder / "metrics.jsonl", meter), GlogObserver(meter)]
    shown = log_handler(GlogHandler(err=False), logging.INFO)
    with shown, logged_to(folder / "log.txt"), solver_signals(solver):
        log.info("%s", summary(solver.net))
        log.info("engine %s, seed %d", solver.net.executor.name, solver.seed)
        solver.solve()


def _accuracy(name: str, weights: Path, solver: pb.SolverParameter, recipe: Recipe) -> tuple[str, float]:
    """The output that says it, and the accuracy on the test set; of a detector the mean average precision."""
    net = Net(
        ROOT / name / "train_val.prototxt",
        phase=TEST,
        weights=str(weights),
        engine=recipe.engine,
        options=_options(recipe),
    )
    with net:
        (means,) = score([net], solver.test_iter[0], solver.ap_version)
        which = ["accuracy", *detection_tops(net)]
    output = next(output for output in which if output in means)
    return output, round(float(means[output]), 4)


def _instructions(engine: str) -> str | None:
    if engine != "onednn":
        return None
    from dragon.engines.onednn.library.binding import library

    found = int(library().get_effective_cpu_isa())
    return _INSTRUCTIONS.get(found, hex(found))


def _card(engine: str) -> str | None:
    return gpu_name(0) if engine == "cuda" else None


def _text(name: str, recipe: Recipe) -> str:
    """The text of weights.yaml."""
    values = {key: value for key, value in asdict(recipe).items() if value not in (None, "")}
    head = f"# How the weights of this net are trained (`dragon zoo train {name}`), then what that gave.\n"
    return head + yaml.safe_dump(values, sort_keys=False, width=200)


def _compared(before: Recipe, now: Recipe) -> str:
    if before.sha256 is None:
        return ""
    if before.sha256 == now.sha256:
        return "; the weights are those of the recipe, bit for bit"
    then, here = before.instructions or before.card, now.instructions or now.card
    return f"; the recipe's weights have another checksum (accuracy {before.accuracy}, made with {then}; here {here})"
