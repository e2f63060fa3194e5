"""Solver: trains the net of a SolverParameter, tests it and writes snapshots.

The loop, update rules, learning-rate policies and engines are modules of their own. Logs, progress bars and metrics are
Observers.
"""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn, Self

import numpy as np
from numpy.typing import DTypeLike

from dragon.counting import how_many
from dragon.engines import Options
from dragon.errors import ArgumentTypeError, UnknownNumberError
from dragon.files.paths import split_paths
from dragon.graph.net import Net
from dragon.graph.run_lock import RunLock, exclusive
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.rng import checked_seed, fresh_seed
from dragon.share import ALONE, Share
from dragon.solver import loop
from dragon.solver import snapshot as snapshots
from dragon.solver.definition import naming_file, own_definition
from dragon.solver.glog import GlogObserver, show_log
from dragon.solver.history import History
from dragon.solver.meter import Meter
from dragon.solver.nets import SolverNets
from dragon.solver.observer import Observer
from dragon.solver.processes import Processes, SeveralProcesses
from dragon.solver.rate import PLATEAU, Plateau, current_step, learning_rate
from dragon.solver.snapshot_lock import SnapshotLock
from dragon.solver.testing import check_tests, run_test
from dragon.solver.update import Updater

if TYPE_CHECKING:  # the first brings the parser of prototxt, the others what several ranks need
    from dragon.graph.changes import NetChanges
    from dragon.parallel.exchange import Exchange, Phases
    from dragon.parallel.ranks import Ranks

__all__ = ["Observer", "Solver", "present_ranks"]

_log = logging.getLogger("dragon")

# Parts of a solver that Dragon's own modules use; completion leaves them out.
_INTERNAL = frozenset(
    {"callbacks", "current_step", "definition", "exchange", "failure", "last_snapshot", "nets", "phases", "processes"}
    | {"run_lock", "set_losses", "stopped", "plateau", "updater", "warned_outputs", "window"}
)


class Solver:
    """Trains the net of a solver prototxt.

    param: a path, a SolverParameter, or a Definition, which knows its file. engine, options, dtype: of the train net
    and the test nets. seed overrides random_seed. profile: the dialect of the nets, as the solver's field of that name.
    ranks: the processes that train together, each on its part of a batch; None: this one alone. divided: batch_size is
    that of all ranks, not of each. sync_bn: batch normalisation takes its statistics over the rows of all ranks, not
    only in layers of type SyncBN. wire: how gradients are sent, fp32, bf16 or fp16. reduce: how they are added up,
    auto, nccl, machine or flat. timeline: record what is done when.
    Raises PrototxtError for a definition that cannot work.
    """

    rule_name: ClassVar[str | None] = None  # a subclass for one update rule names it here

    def __init__(
        self,
        param: str | Path | pb.SolverParameter | Definition[pb.SolverParameter],
        *,
        engine: str | None = None,
        options: Options | None = None,
        seed: int | None = None,
        allow_python: bool | None = None,
        allow_unknown: bool = False,
        profile: str | None = None,
        dtype: DTypeLike = np.float32,
        verbose: bool = True,
        changes: NetChanges | None = None,
        net_folder: Path | None = None,
        ranks: Ranks | None = None,
        divided: bool = False,
        sync_bn: bool = False,
        wire: str = "fp32",
        reduce: str = "auto",
        timeline: bool = False,
    ) -> None:
        self.definition = own_definition(param, rule=self.rule_name, profile=profile, allow_unknown=allow_unknown)
        self.param: pb.SolverParameter = self.definition.message
        if seed is None and self.param.random_seed >= 0:
            seed = self.param.random_seed
        self._own_seed = None if seed is None else checked_seed(seed)
        seed = self.seed = fresh_seed() if self._own_seed is None else self._own_seed
        self.iter = 0
        self.history = History()
        self.verbose = verbose
        meter = Meter()
        self.observers: list[Observer] = [meter, GlogObserver(meter), self.history] if verbose else []
        self.callbacks: list[tuple[Callable[[], object], Callable[[], object]]] = []
        self.failure: BaseException | None = None  # the error that ended the training early
        self.warned_outputs: set[tuple[int, str]] = set()  # (test net, output) that were not finite
        self.ranks = ranks
        if ranks is not None:
            _on_ranks.add(self)
        self.phases: list[Phases] = []  # of each rank, since the display before
        self.window: deque[float] = deque(maxlen=max(1, self.param.average_loss))  # the losses that are averaged
        self.plateau = Plateau() if self.param.lr_policy == PLATEAU else None
        self.last_snapshot = ""  # the path of its state file
        self._lock = SnapshotLock()
        make = partial(
            Net,
            engine=engine or self.param.engine or None,
            options=options or Options(precision=pb.SolverParameter.Precision.Name(self.param.precision).lower()),
            seed=seed,
            allow_python=allow_python,
            allow_unknown=allow_unknown,
            profile=self.param.profile or None,
            dtype=dtype,
        )
        self.nets = SolverNets(self.definition, make, changes=changes, folder=net_folder, allow_unknown=allow_unknown)
        share = ALONE if ranks is None else Share(ranks.rank, ranks.size, divided, ranks.total, sync_bn)
        self.net = self.nets.train(share)
        self.test_nets = self.nets.tests(self.net) if self.leads else []
        if changes is not None:
            changes.check()
        with naming_file(self.definition):
            check_tests(self.param, self.test_nets)
            self.updater = Updater(self.net, self.param)
        folder = self.definition.folder
        paths = [path for weights in self.param.weights for path in split_paths(weights, folder)]
        if paths:
            self.net.copy_from(paths, also=self.test_nets)
        if ranks is None:
            self.processes = Processes(self.net)
        else:
            overlap = self.param.layer_wise_reduce
            self.processes = SeveralProcesses(
                self.net, ranks, overlap=overlap, wire=wire, reduce=reduce, timeline=timeline
            )  # fmt: skip

    @property
    def leads(self) -> bool:
        """Whether this process tests, logs and writes snapshots: alone, or as rank 0."""
        return self.ranks is None or self.ranks.leads

    @property
    def path(self) -> str | None:
        """The file that the definition was read from."""
        return self.definition.file

    @property
    def exchange(self) -> Exchange | None:
        """What the ranks exchange; None in one process."""
        return self.processes.exchange

    @property
    def run_lock(self) -> RunLock:
        """The lock of the train net, which a training step holds."""
        return self.net.run_lock

    # -- training -------------------------------------------------------------------------------------------
    @exclusive
    def step(self, iterations: int) -> float:
        """Train for `iterations` iterations, or until a stop is requested; return the smoothed loss.

        Raises NumericError when the loss becomes NaN or infinite, PrototxtError where the rate falls to max_iter and
        that is 0, and ArgumentTypeError for a number of iterations that is not whole.
        """
        return loop.step(self, iterations)

    def smoothed_loss(self) -> float:
        """Mean loss over the last `average_loss` iterations; 0 before the first."""
        return sum(self.window) / len(self.window) if self.window else 0.0

    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return learning_rate(self.param, self.iter, 0 if self.plateau is None else self.plateau.steps)

    def solve(self, resume: str | Path | None = None) -> None:
        """Train up to max_iter with the tests and snapshots of the definition, from the state file `resume` if given.

        Raises WeightsError, before anything is trained, if snapshots cannot be written, and UsageError if another run
        is writing snapshots of the same names.
        """
        for net in self.test_nets:  # which no longer need memory of their own for the same parameters
            self.share_weights(net)
        if resume:
            self.restore(resume)
        self.failure = None
        with self._failing(), self._lock.training(self):
            if self.verbose:
                show_log()
            try:
                with self._failing():
                    for observer in self.observers:
                        observer.on_start(self)
                    loop.run(self)
            finally:
                for observer in self.observers:
                    observer.on_end(self)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Keep an exception of the block in `failure`, and re-raise it."""
        try:
            yield
        except BaseException as error:
            self.failure = error
            raise

    # -- for scripts ----------------------------------------------------------------------------------------
    def add_callback(
        self,
        on_start: Callable[[], object] | Literal[""] | None = None,
        on_gradients_ready: Callable[[], object] | None = None,
    ) -> None:
        """Call `on_start` before each iteration, `on_gradients_ready` between its gradients and its update.

        Scripts pass "" or None for a function that is not wanted.
        """

        def nothing() -> None:
            pass

        self.callbacks.append((on_start or nothing, on_gradients_ready or nothing))

    def share_weights(self, net: Net) -> None:
        """Let `net` use the parameter memory of the train net."""
        net.share_with(self.net)

    def apply_update(self) -> None:
        """Update the weights with the present gradients; `iter` does not change, as in Caffe."""
        self.net.executor.update(self.updater, self.learning_rate(), self.iter)

    def increment_iter(self) -> None:
        """Count an iteration that a script has made with `apply_update`, as in a fork of Caffe."""
        self.iter += 1

    # -- requests from outside ------------------------------------------------------------------------------
    def request(self, what: str) -> None:
        """Ask for a "snapshot" or a "stop" at the end of the iteration; may be called in a signal handler."""
        self.processes.requests.add(what)

    @property
    def stopped(self) -> bool:
        """Whether a stop was requested; on several ranks once all of them know."""
        return "stop" in self.processes.asked

    # -- testing --------------------------------------------------------------------------------------------
    def test_all(self) -> list[OrderedDict[str, Array]]:
        """Run every test net; return the mean outputs of each by name."""
        results = []
        for i in range(len(self.test_nets)):
            results.append(self.test(i))
            if self.stopped:
                break
        return results

    @exclusive
    def test(self, index: int = 0) -> OrderedDict[str, Array]:
        """Run test net `index` for its test_iter batches; return the mean of each output by name.

        Of an output that compares detections with labels it is the mean average precision, as `ap_version` says.
        If a stop is requested meanwhile, its data layers go back to where they were, so that a run that resumes from
        the snapshot tests the same batches. Raises UnknownNumberError.
        """
        if not 0 <= index < len(self.test_nets):
            there = how_many(len(self.test_nets), "test net")
            raise UnknownNumberError(f"no test net {index}: the solver has {there}, numbered from 0")
        return run_test(self, index)

    # -- snapshots ------------------------------------------------------------------------------------------
    def snapshot(self) -> str:
        """Write the weights and the solver state; the path of the state file.

        Of several ranks, which all have to call it, rank 0 writes them; others return "".

        Raises NumericError, and writes no file, if a parameter is not finite; UsageError while another run is writing
        snapshots of the same names.
        """
        with self.processes.apart():
            self.net.check_parameters(self.iter)
            if not self.leads:
                return ""
            with self._lock.writing(self):
                model, state = snapshots.write_snapshot(self)
        self.last_snapshot = state
        for observer in self.observers:
            observer.on_snapshot(self, model, state)
        return state

    def restore(self, path: str | Path) -> None:
        """Resume from a .solverstate (or .solverstate.h5): weights, history, iteration, random streams, data positions.

        The state's seed counts, with a warning where another one was given. Raises WeightsError.
        """
        snapshots.read_snapshot(self, str(path))
        if self._own_seed not in (None, self.seed):
            _log.warning("%s: the run goes on with its seed, %d; %d has no effect", path, self.seed, self._own_seed)

    @property
    def current_step(self) -> int:
        """How many steps the policies step, multistep and plateau have taken so far."""
        return current_step(self.param, self.iter) if self.plateau is None else self.plateau.steps

    @property
    def losses(self) -> Sequence[float]:
        """The losses that smoothed_loss averages, oldest first."""
        return tuple(self.window)

    def set_losses(self, losses: Sequence[float]) -> None:
        """Replace the losses that smoothed_loss averages."""
        self.window.clear()
        self.window.extend(losses)

    def close(self) -> None:
        """Stop the threads that read data, and close their files; may be called twice."""
        for net in [self.net, *self.test_nets]:
            net.close()
        self.processes.close()

    def __reduce__(self) -> NoReturn:
        """Refuse copies and pickles, as the nets do."""
        raise ArgumentTypeError(
            "a solver can neither be copied nor pickled: make another one of its definition, and give it the state by "
            "snapshot and restore"
        )

    def __repr__(self) -> str:
        kind, of = self.param.type, f" of {self.param.max_iter:,}" if self.param.max_iter else ""
        return f"<{kind} solver of net {self.net.name!r}: iteration {self.iter:,}{of}, rate {self.learning_rate():g}>"

    def _repr_html_(self) -> str:
        from dragon.notebook import solver_html

        return solver_html(self)

    def __dir__(self) -> list[str]:
        return sorted(set(super().__dir__()) - _INTERNAL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_on_ranks: weakref.WeakSet[Solver] = weakref.WeakSet()


def present_ranks() -> Ranks | None:
    """The ranks that a solver of this process trains on; None where there is no such solver."""
    return next((solver.ranks for solver in _on_ranks), None)
