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
from dragon.files.atomic import check_writable
from dragon.files.layer_files import layer_files
from dragon.models import zoo
from dragon.parallel.ranks import WAYS
from dragon.parallel.wire import WIRES
from dragon.probes import Probe
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.rng import fresh_seed
from dragon.solver.changes import change_solver
from dragon.solver.snapshot_names import check_snapshots
from dragon.solver.solver import Observer, Solver
from dragon.solver.types import get_solver
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.launch import RanksChoice, noting, ranks_options
from dragon.tools.common.logs import log_handler
from dragon.tools.common.models import SOLVER, WEIGHTS
from dragon.tools.common.numbers import Count, Seed
from dragon.tools.common.outputs import refuse_input
from dragon.tools.common.probe_options import probe_option
from dragon.tools.common.profile import profile_option
from dragon.tools.common.python_layers import allow_python
from dragon.tools.common.ranks import share_machine, training_ranks, write_timeline
from dragon.tools.common.repeat import RememberingCommand, command_line, repeated_flags
from dragon.tools.common.set_option import set_option
from dragon.tools.common.signals import EFFECTS, solver_signals
from dragon.tools.common.solver_of_flags import set_train_state
from dragon.tools.common.state_options import state_options
from dragon.tools.observers.glog import GlogHandler
from dragon.tools.observers.own import observer_option
from dragon.tools.observers.progress import ConsoleHandler
from dragon.tools.runs.folder import ROOT, run_name
from dragon.tools.runs.place import Place, choose_place
from dragon.tools.runs.restart import NoteSnapshots, not_repeated, words_again
from dragon.tools.runs.session import Session

__all__ = ["command", "output_folder"]


class _Train(RememberingCommand):
    """The command, which also takes the name of a net of the zoo without a flag."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; a single word that is not a file stands for the value of --solver."""
        given, words, _ = self.make_parser(ctx).parse_args(list(args))
        if len(words) == 1 and "path" not in given and zoo.may_be_net(words[0]):
            args.remove(words[0])
            args += ["--solver", words[0]]
        return super().parse_args(ctx, args)


@click.command("train", cls=_Train)
@click.option("--solver", "path", type=SOLVER, metavar="FILE|NAME", help="The solver prototxt.")
@click.option(
    "--weights", type=WEIGHTS, metavar="FILE,...", help="Start from these .caffemodel, HDF5 or .safetensors files."
)
@click.option("--snapshot", metavar="FILE", help="Go on from this .solverstate.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Go on from the newest whole snapshot, of the folder RUN or of the solver's last run.",
)
@click.option(
    "--run",
    "runs",
    is_flag=False,
    flag_value="",
    metavar="[DIR]",
    help="Give the run a folder of its own, DIR/1, 2, ...; runs/NAME/1 without DIR, and for a solver without prefix.",
)
@click.option("--no-run", "by_prefix", is_flag=True, help="Snapshots go beside a solver without prefix, as Caffe's.")
@click.option("--keep-last", type=Count(1), help="Keep only so many snapshots, the newest ones.")
@click.option("--keep-best", is_flag=True, help="Also keep the weights of the best test, in PREFIX_best.caffemodel.")
@click.option("--seed", type=Seed(), help="Of fillers, dropout and augmentation; instead of random_seed.")
@click.option("--iterations", type=Count(0), help="Train to this iteration instead of max_iter.")
@state_options(level=None)
@set_option("the solver or its nets, such as base_lr=0.01 or conv1.num_output=64")
@click.option("--output", metavar="DIR", help="For metrics.jsonl and curves.png; beside the snapshots by default.")
@probe_option("Measure this along the way, into metrics.jsonl; see dragon probe --list.")
@click.option("--norms", is_flag=True, help="Log speed, memory and norms of weights and gradients at each display.")
@click.option("--tensorboard", metavar="DIR", help="Also write TensorBoard's event files, into this folder.")
@observer_option
@click.option(
    "--divide-batch", is_flag=True, help="On several ranks: batch_size counts the images of all, as in NVCaffe."
)
@click.option("--sync-bn", is_flag=True, help="On several ranks: normalise by the rows of all, as SyncBN does.")
@click.option("--wire", type=click.Choice([*WIRES]), default="fp32", help="On several ranks: how gradients are sent.")
@click.option("--reduce", type=click.Choice(WAYS), default="auto", help="On several ranks: how gradients are added up.")
@click.option("--timeline", type=click.Path(dir_okay=False), help="Write what each rank does when, for Perfetto.")
@click.option("--sigint-effect", type=click.Choice(EFFECTS), default="stop", show_default=True)
@click.option("--sighup-effect", type=click.Choice(EFFECTS), default="snapshot", show_default=True)
@click.option("--allow-unknown", is_flag=True, help="Skip fields that the schema does not have, with a warning each.")
@profile_option
@allow_python
@engine_options
@ranks_options(words_again)
@click.pass_context
def command(
    context: click.Context,
    path: str | None,
    weights: str | None,
    snapshot: str | None,
    resume: str | None,
    runs: str | None,
    by_prefix: bool,
    keep_last: int | None,
    keep_best: bool,
    seed: int | None,
    iterations: int | None,
    level: int | None,
    stages: list[str],
    assignments: tuple[Assignment, ...],
    output: str | None,
    probes: list[Probe],
    norms: bool,
    tensorboard: str | None,
    own_observers: list[Observer],
    divide_batch: bool,
    sync_bn: bool,
    wire: str,
    reduce: str,
    timeline: str | None,
    ranks_choice: RanksChoice,
    sigint_effect: str,
    sighup_effect: str,
    allow_unknown: bool,
    profile: str | None,
    choice: EngineChoice,
) -> None:
    """Train the net of a solver prototxt, or a net of the zoo by its name.

    SIGINT (Ctrl-C) and SIGTERM write a snapshot and stop, SIGHUP writes one and goes on. On a terminal a progress bar
    is shown, elsewhere a log in the form of Caffe's. Files that a
    prototxt names are looked for from here, then from its folder and from those above. Files go where the solver's
    snapshot_prefix says; without one, or with --run, each run has a folder of its own (docs/runs.md).

    \b
    Example: dragon train lenet
    dragon train --solver models/lenet/solver.prototxt --iterations 500
    dragon train --solver models/lenet/solver.prototxt --run
    dragon train --resume runs/lenet/1
    dragon train --solver models/lenet/solver.prototxt --ranks 4 --restart 3
    mpirun -n 4 dragon train --solver models/lenet/solver.prototxt
    """
    if path is None and not resume:
        solver_option = next(param for param in context.command.params if param.name == "path")
        others = "Or name a net of the zoo, or a run: --resume runs/lenet/1"
        raise click.MissingParameter(others, ctx=context, param=solver_option)
    with training_ranks() as ranks, noting(ranks_choice, ranks), _showing() as show, layer_files(True):
        place = choose_place(path, runs, by_prefix, resume, snapshot, weights)
        place.start_over(ranks_choice.run, ranks_choice.snapshots)
        definition, changes = change_solver(place.read(allow_unknown, profile), assignments)
        place.decide(definition.message)
        param = definition.message
        if iterations is not None:
            param.max_iter = iterations
            definition = definition.without_lines(["max_iter"])
        set_train_state(param, level, stages)
        if weights or place.goes_on:
            del param.weights[:]
        if weights:
            param.weights.append(weights)
        engine, options = (choice if ranks is None else share_machine(choice, ranks)).resolve(param)
        if ranks is not None:
            own_seed = param.random_seed if param.random_seed >= 0 else fresh_seed()
            seed = ranks.agree(own_seed if seed is None else seed)
        else:
            flags = {
                "--divide-batch": divide_batch, "--wire": wire != "fp32", "--reduce": reduce != "auto",
                "--timeline": timeline is not None,
            }  # fmt: skip
            if alone := next((name for name, given in flags.items() if given), None):
                raise UsageError(f"{alone} needs several ranks: --ranks N, or mpirun -n N dragon train")
        solver = get_solver(
            definition,
            engine=engine,
            options=options,
            seed=seed,
            allow_unknown=allow_unknown,
            verbose=False,
            changes=changes,
            net_folder=place.net_folder,
            ranks=ranks,
            divided=divide_batch,
            sync_bn=sync_bn,
            wire=wire,
            reduce=reduce,
            timeline=timeline is not None,
        )
        try:
            resumed = _restored(place, solver)
            if timeline is not None:
                refuse_input(timeline)
                if solver.leads:
                    check_writable(timeline)
            if not solver.leads:
                with solver_signals(solver, sigint_effect, sighup_effect):
                    solver.solve()
                write_timeline(solver, timeline)
                return
            run = place.settle(solver)
            check_snapshots(solver)
            if ranks_choice.supervised:
                solver.observers.append(NoteSnapshots(run))
            again = not_repeated(run is not None)
            Session(
                show=show,
                folder=Path(output) if output else run or output_folder(solver.param, place.solver),
                command=command_line(context),
                start_again=[*place.start_again(run), *repeated_flags(context, again)],
                iterations=iterations,
                run=run,
                name=place.name,
                resumed=resumed,
                events=Path(tensorboard) if tensorboard else None,
                probes=probes,
                own_observers=own_observers,
                norms=norms,
                keep_last=keep_last,
                keep_best=keep_best,
                sigint=sigint_effect,
                sighup=sighup_effect,
            ).train(solver)
            write_timeline(solver, timeline)
        finally:
            solver.close()


def _restored(place: Place, solver: Solver) -> str | None:
    """Give the solver the state that it goes on from; on several ranks that which rank 0 finds. Its path, or None."""
    ranks = solver.ranks
    if ranks is None:
        return place.restore(solver)
    path = ranks.agree(place.restore(solver) if ranks.leads else None)
    if path is not None and not ranks.leads:
        solver.restore(path)
    ranks.wait()
    return path


def output_folder(param: pb.SolverParameter, path: str) -> Path:
    """The default folder for the metrics of a run: that of its snapshots, else runs/NAME OF THE SOLVER'S FILE.

    In the latter case runs are numbered in that folder.
    """
    prefix = param.snapshot_prefix
    if not prefix:
        return ROOT / run_name(path)
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
