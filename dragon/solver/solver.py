"""Solver: the training loop of a SolverParameter over a train net and any number of test nets.

Update rules, learning-rate policies and engines are modules of their own. Logs, progress bars and metrics are
Observers.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import DTypeLike

from dragon.engines import Options
from dragon.errors import NumericError, PrototxtError
from dragon.files.paths import split_paths
from dragon.graph.net import Net
from dragon.graph.run_lock import RunLock, exclusive
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.dialects import set_profile
from dragon.rng import fresh_seed
from dragon.share import ALONE, Share
from dragon.solver import snapshot as snapshots
from dragon.solver.definition import NetChoice, check, find_model, test_choices, train_choice
from dragon.solver.glog import GlogObserver, show_log
from dragon.solver.history import History
from dragon.solver.meter import Meter
from dragon.solver.observer import Observer
from dragon.solver.rate import current_step, learning_rate
from dragon.solver.snapshot_lock import names_locked, snapshot_lock
from dragon.solver.testing import check_tests, positions, restore, run_test
from dragon.solver.update import Updater

if TYPE_CHECKING:  # the first brings the parser of prototxt, the others what several ranks need
    from dragon.graph.changes import NetChanges
    from dragon.parallel.exchange import Exchange, Phases
    from dragon.parallel.ranks import Ranks

__all__ = ["Observer", "Solver"]

log = logging.getLogger("dragon")

# Parts of a solver that Dragon's own modules use; completion leaves them out.
_INTERNAL = frozenset(
    {"callbacks", "current_step", "definition", "exchange", "failure", "phases", "run_lock", "set_losses", "stopped"}
    | {"updater", "warned_outputs"}
)


class Solver:
    """Trains the net of a solver prototxt.

    param: a path, a SolverParameter, or a Definition, which knows its file. engine, options, dtype: of the train net
    and the test nets. seed overrides random_seed. profile: the dialect of the nets, as the solver's field of that name.
    ranks: the processes that train together, each on its part of a batch; None: this one alone. divided: batch_size is
    that of all ranks, not of each. sync_bn: batch normalisation takes its statistics over the rows of all ranks, not
    only in layers of type SyncBN. wire: how gradients are sent, fp32, bf16 or fp16. timeline: record what is done when.
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
        timeline: bool = False,
    ) -> None:
        if isinstance(param, pb.SolverParameter):
            param = Definition(param)
        elif not isinstance(param, Definition):
            from dragon.proto.text import read_solver_definition

            param = read_solver_definition(param, allow_unknown=allow_unknown)
        self.definition = replace(param, message=pb.SolverParameter())
        self.param: pb.SolverParameter = self.definition.message
        self.param.CopyFrom(param.message)
        if self.rule_name:
            self.param.type = self.rule_name
        with self._with_file():
            set_profile(self.param, profile)
            check(self.param)
        if seed is None:
            seed = self.param.random_seed if self.param.random_seed >= 0 else fresh_seed()
        self.seed = seed
        self.iter = 0
        self.history = History()
        self.verbose = verbose
        meter = Meter()
        self.observers: list[Observer] = [meter, GlogObserver(meter), self.history] if verbose else []
        self.callbacks: list[tuple[Callable[[], object], Callable[[], object]]] = []
        self._losses: deque[float] = deque(maxlen=max(1, self.param.average_loss))
        self._requests: set[str] = set()
        self.failure: BaseException | None = None  # the error that ended the training early
        self._last_snapshot = ""
        self._net_folder = net_folder
        self._holds_lock = False  # on the names of the snapshots
        self.warned_outputs: set[tuple[int, str]] = set()  # (test net, output) that were not finite
        self._changes = changes
        self._allow_unknown = allow_unknown
        self._make = partial(
            Net,
            engine=engine or self.param.engine or None,
            options=options or self._options(),
            seed=seed,
            allow_python=allow_python,
            allow_unknown=allow_unknown,
            profile=self.param.profile or None,
            dtype=dtype,
        )
        self.ranks = ranks
        self._agreed: set[str] = set()  # what any rank was asked to do
        self.phases: list[Phases] = []  # of each rank, since the display before
        share = ALONE if ranks is None else Share(ranks.rank, ranks.size, divided, ranks.total, sync_bn)
        self.net = self._net(train_choice(self.param), share)
        if not any(node.makes_loss for node in self.net.nodes):
            log.warning('net "%s" has no loss in TRAIN, so no weight gets a gradient', self.net.name)
        self.test_nets: list[Net] = []
        for choice in test_choices(self.param) if self.leads else ():
            net = self._net(choice)
            net.share_with(self.net)
            self._warn_untrained(net)
            self.test_nets.append(net)
        check_tests(self.param, self.test_nets)
        if changes is not None:
            changes.check()
        with self._with_file():
            self.updater = Updater(self.net, self.param)
        folder = self.definition.folder
        paths = [path for weights in self.param.weights for path in split_paths(weights, folder)]
        if paths:
            self.net.copy_from(paths, also=self.test_nets)
        self.exchange: Exchange | None = None
        if ranks is not None:
            from dragon.parallel.exchange import Exchange  # which one process does not need

            overlap = self.param.layer_wise_reduce
            self.exchange = Exchange(self.net, ranks, overlap=overlap, wire=wire, timeline=timeline)
            self.exchange.start()

    @property
    def leads(self) -> bool:
        """Whether this process tests, logs and writes snapshots: alone, or as rank 0."""
        return self.ranks is None or self.ranks.leads

    @property
    def path(self) -> str | None:
        """The file that the definition was read from."""
        return self.definition.file

    # -- set-up ---------------------------------------------------------------------------------------------
    @contextmanager
    def _with_file(self) -> Iterator[None]:
        """Add the definition's file to a PrototxtError; a context manager."""
        try:
            yield
        except PrototxtError as error:
            error.at(position=self.definition.start)
            raise

    def _warn_untrained(self, net: Net) -> None:
        """Warn of a layer of a test net whose parameters the train net has not, which may be a slip in its name."""
        trained = {blob.data_storage for blobs in self.net.params.values() for blob in blobs}
        for node in net.nodes:
            if node.layer.blobs and all(blob.data_storage not in trained for blob in node.layer.blobs):
                log.warning(
                    "%s: the train net has no layer of this name, so training leaves its parameters as they are",
                    node.layer.where,
                )

    def _options(self) -> Options:
        return Options(precision=pb.SolverParameter.Precision.Name(self.param.precision).lower())

    def _net(self, choice: NetChoice, share: Share = ALONE) -> Net:
        model, phase, state = choice
        level, stages = (state.level, list(state.stage)) if state else (0, [])
        return self._make(self.source_of(model), phase=phase, level=level, stages=stages, share=share)

    @property
    def changes_nets(self) -> bool:
        """Whether the nets are changed after they are read."""
        return self._changes is not None and bool(self._changes.assignments)

    def source_of(self, model: str | pb.NetParameter) -> str | pb.NetParameter | Definition[pb.NetParameter]:
        """A net of the solver's definition as it is used: its path, or the net itself.

        It is a Definition where the net was changed, or its files are looked for elsewhere. Raises PrototxtError.
        """
        if isinstance(model, str):
            model = str(find_model(model, self.definition))
        changes = self._changes if self.changes_nets else None
        if changes is None and self._net_folder is None:
            return model
        if isinstance(model, str):
            from dragon.proto.text import read_net_definition

            net = read_net_definition(model, self._allow_unknown, self.param.profile or None)
        else:
            net = Definition(model)
        if self._net_folder is not None:
            net = replace(net, folder=self._net_folder)
        return net if changes is None else changes.apply(net)

    @property
    def run_lock(self) -> RunLock:
        """The lock of the train net, which a training step holds."""
        return self.net.run_lock

    # -- training -------------------------------------------------------------------------------------------
    @exclusive
    def step(self, iterations: int) -> float:
        """Train for `iterations` iterations, or until a stop is requested; return the smoothed loss.

        Raises NumericError when the loss becomes NaN or infinite.
        """
        p = self.param
        until = self.iter + iterations
        if self.verbose:
            show_log()
        for observer in self.observers:
            observer.on_step(self)
        loss = self.smoothed_loss()
        while self.iter < until:
            show = bool(p.display) and self.iter % p.display == 0
            # not in one go where observers or callbacks may read the gradients before the update
            separate = show or bool(self.callbacks) or p.iter_size > 1 or self.exchange is not None
            if separate:
                self.net.clear_param_diffs()
            if p.test_interval and self.iter % p.test_interval == 0 and (self.iter > 0 or p.test_initialization):
                before = positions(self.test_nets)
                with self._apart():
                    self.test_all()
                if self._stop_requested():  # during the tests, or just behind them: the resumed run tests once more
                    restore(before)
                    break
            for on_start, _ in self.callbacks:
                on_start()
            self.net.debug_info = self.net.param.debug_info or (p.debug_info and show)
            rate = self.learning_rate()
            whole = None if separate else self.net.whole_step(self.updater, rate, self.iter)
            loss = self._record_loss(self._forward_backward(clear=not separate) if whole is None else whole)
            if show:
                self._display(loss, rate)
            for _, on_gradients_ready in self.callbacks:
                on_gradients_ready()
            if whole is None:
                self.net.executor.update(self.updater, rate, self.iter)
            self.iter += 1
            for observer in self.observers:
                observer.on_iteration(self, loss, rate)
            snapshot = "snapshot" in self._asked or (p.snapshot and self.iter % p.snapshot == 0)
            self._asked.discard("snapshot")
            if snapshot:
                self.snapshot()
            if self._stop_requested():
                break
        return loss

    def _forward_backward(self, clear: bool) -> float:
        if clear:
            self.net.clear_param_diffs()
        if self.exchange is None:
            return sum(self.net.forward_backward() for _ in range(self.param.iter_size)) / self.param.iter_size
        loss, self._agreed = self.exchange.run(self.param.iter_size, self._requests)
        self._requests -= self._agreed
        return loss

    def _display(self, loss: float, rate: float) -> None:
        if self.exchange is not None:
            self.phases = self.exchange.phases()
        for observer in self.observers:
            observer.on_display(self, loss, rate)

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """A test or a snapshot: on several ranks, average the running statistics, and wait for rank 0 at the end."""
        if self.exchange is None:
            yield
            return
        with self.exchange.outside():
            self.exchange.statistics()
            yield

    def _record_loss(self, loss: float) -> float:
        """Record a loss and return the smoothed one. Raises NumericError if it is not finite."""
        try:
            find = None if self.exchange is None else self.exchange.first_nonfinite
            self.net.check_finite(loss, self.iter, find)
        except NumericError as error:
            advice = f"if its inputs are right, a lower base_lr than {self.param.base_lr:g} or clip_gradients may help"
            last = f"; the last snapshot is {self._last_snapshot}" if self._last_snapshot else ""
            raise NumericError(f"{error}; {advice}{last}") from None
        self._losses.append(loss)
        return self.smoothed_loss()

    def smoothed_loss(self) -> float:
        """Mean loss over the last `average_loss` iterations; 0 before the first."""
        return sum(self._losses) / len(self._losses) if self._losses else 0.0

    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return learning_rate(self.param, self.iter)

    def solve(self, resume: str | Path | None = None) -> None:
        """Train up to max_iter with the tests and snapshots of the definition, from the state file `resume` if given.

        Raises WeightsError, before anything is trained, if snapshots cannot be written, and UsageError if another run
        is writing snapshots of the same names.
        """
        if resume:
            self.restore(resume)
        with snapshot_lock(self) if self.leads else nullcontext(), self._holding():
            self.failure = None
            if self.verbose:
                show_log()
            try:
                for observer in self.observers:
                    observer.on_start(self)
                self._solve()
            except BaseException as error:
                self.failure = error
                raise
            finally:
                for observer in self.observers:
                    observer.on_end(self)

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """Say that the lock on the snapshots' names is held, so that `snapshot` takes none; a context manager."""
        self._holds_lock = True
        try:
            yield
        finally:
            self._holds_lock = False

    def _solve(self) -> None:
        p, before = self.param, self.iter
        if self.iter < p.max_iter:
            self.step(p.max_iter - self.iter)
            self.net.check_parameters(self.iter)
        stopped = self._stop_requested()
        done = self.iter
        if (p.snapshot_after_train or stopped) and not (p.snapshot and done % p.snapshot == 0 and done > before):
            self.snapshot()
        if not stopped:
            self._final_display_and_test()

    def _final_display_and_test(self) -> None:
        """Display and test at max_iter, if it is a multiple of their intervals."""
        p = self.param
        if p.display and self.iter % p.display == 0:
            loss = self.net.run_forward()
            self._losses.append(loss if self.exchange is None else self.exchange.mean_loss(loss))
            self._display(self.smoothed_loss(), self.learning_rate())
        if p.test_interval and self.iter % p.test_interval == 0:
            with self._apart():
                self.test_all()

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

    # -- requests from outside ------------------------------------------------------------------------------
    def request(self, what: str) -> None:
        """Ask for a "snapshot" or a "stop" at the end of the iteration; may be called in a signal handler."""
        self._requests.add(what)

    @property
    def _asked(self) -> set[str]:
        """The requests that hold now: on several ranks those that all of them know of."""
        return self._requests if self.exchange is None else self._agreed

    def _stop_requested(self) -> bool:
        return "stop" in self._asked

    @property
    def stopped(self) -> bool:
        """Whether a stop was requested."""
        return self._stop_requested()

    # -- testing --------------------------------------------------------------------------------------------
    def test_all(self) -> list[OrderedDict[str, Array]]:
        """Run every test net; return the mean outputs of each by name."""
        results = []
        for i in range(len(self.test_nets)):
            results.append(self.test(i))
            if self._stop_requested():
                break
        return results

    @exclusive
    def test(self, index: int = 0) -> OrderedDict[str, Array]:
        """Run test net `index` for its test_iter batches; return the mean of each output by name.

        Of an output that compares detections with labels it is the mean average precision, as `ap_version` says.
        If a stop is requested meanwhile, its data layers go back to where they were, so that a run that resumes from
        the snapshot tests the same batches.
        """
        return run_test(self, index)

    # -- snapshots ------------------------------------------------------------------------------------------
    def snapshot(self) -> str:
        """Write the weights and the solver state; the path of the state file.

        Of several ranks, which all have to call it, rank 0 writes them; others return "".

        Raises NumericError, and writes no file, if a parameter is not finite; UsageError while another run is writing
        snapshots of the same names.
        """
        with self._apart():
            self.net.check_parameters(self.iter)
            if not self.leads:
                return ""
            with nullcontext() if self._holds_lock else names_locked(self):
                model, state = snapshots.write_snapshot(self)
        self._last_snapshot = state
        for observer in self.observers:
            observer.on_snapshot(self, model, state)
        return state

    def restore(self, path: str | Path) -> None:
        """Resume from a .solverstate (or .solverstate.h5): weights, history, iteration, random streams, data positions.

        Raises WeightsError.
        """
        snapshots.read_snapshot(self, str(path))

    @property
    def current_step(self) -> int:
        """How many steps the step and multistep policies have taken so far."""
        return current_step(self.param, self.iter)

    @property
    def losses(self) -> Sequence[float]:
        """The losses that smoothed_loss averages, oldest first."""
        return tuple(self._losses)

    def set_losses(self, losses: Sequence[float]) -> None:
        """Replace the losses that smoothed_loss averages."""
        self._losses.clear()
        self._losses.extend(losses)

    def close(self) -> None:
        """Stop the threads that read data, and close their files; may be called twice."""
        for net in [self.net, *self.test_nets]:
            net.close()
        if self.exchange is not None:
            self.exchange.close()

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
