"""Run: what a probe is given: the solver to look at, private copies of its nets, and batches of its data."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from numpy.typing import DTypeLike

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.probes.batches import Batches
from dragon.probes.probe_net import Batch, ProbeNet
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver

__all__ = ["Run"]

T = TypeVar("T")

SEED = 1  # of the probe batches: the same in all runs, so that runs can be compared


class Run:
    """A training run, or a net that is only looked at.

    train: the net whose weights are measured. test: a net of phase TEST for the same weights, a function that makes
    one when it is needed, or None. solver: None for a net that is only looked at. seed: of the choice of the probe
    batches.
    """

    def __init__(
        self,
        train: Net,
        test: Net | Callable[[], Net] | None = None,
        solver: Solver | None = None,
        seed: int = SEED,
    ) -> None:
        self._nets: dict[int, Net | None] = {TRAIN: train, TEST: test if isinstance(test, Net) else None}
        self._make_test = None if isinstance(test, Net) else test
        self._solver = solver
        self._seed = seed
        self._batches: dict[int, Batches] = {}
        self._clones: dict[tuple[object, ...], ProbeNet] = {}
        self._shared: dict[Hashable, object] | None = None

    @classmethod
    def of(cls, solver: Solver, seed: int = SEED) -> Run:
        """The run of a solver, with its first test net."""
        return cls(solver.net, solver.test_nets[0] if solver.test_nets else None, solver, seed)

    # -- what is measured -----------------------------------------------------------------------------------
    @property
    def solver(self) -> Solver:
        """The solver, to look at only. UsageError for a net without one."""
        if self._solver is None:
            raise UsageError("needs a training run (--solver), not a net alone (--model)")
        return self._solver

    @property
    def iteration(self) -> int:
        """The number of updates so far; 0 for a net without a solver."""
        return 0 if self._solver is None else self._solver.iter

    def rate(self, given: float | None) -> float:
        """The learning rate: `given`, or that of the solver's next update. UsageError for a net without a solver."""
        if given is not None:
            return given
        if self._solver is None:
            raise UsageError("which learning rate? give rate=NUMBER, or --solver in place of --model")
        return self._solver.learning_rate()

    def source(self, phase: int = TRAIN) -> Net:
        """The net itself, to look at only (`peek`). UsageError where there is none of this phase."""
        if phase == TEST and self._make_test is not None:
            self._nets[TEST], self._make_test = self._make_test(), None
        net = self._nets[phase]
        if net is None:
            raise UsageError(f"the probe needs a net of phase {pb.Phase.Name(phase)}, and there is none")
        return net

    # -- for measuring --------------------------------------------------------------------------------------
    @property
    def net(self) -> ProbeNet:
        """A private copy of the training net with its present weights."""
        return self.clone()

    def clone(
        self,
        phase: int = TRAIN,
        *,
        engine: str | None = None,
        dtype: DTypeLike | None = None,
        input_gradients: bool = False,
        batch_statistics: bool | None = None,
    ) -> ProbeNet:
        """A private copy of a net with its present weights; the same one whenever the arguments are the same.

        batch_statistics: whether batch normalisations use those of the batch; None: as the definition and phase say.
        """
        key = (phase, engine, dtype, input_gradients, batch_statistics)
        net = self._clones.get(key)
        if net is None:
            net = ProbeNet(self.source(phase), engine=engine, dtype=dtype, input_gradients=input_gradients)
            if batch_statistics is not None:
                net.use_batch_statistics(batch_statistics)
            self._clones[key] = net
        net.copy_from(*[source for source in self._nets.values() if source is not None])
        return net

    def batch(self, index: int, size: int = 0, phase: int = TRAIN) -> Batch:
        """Probe batch number `index`, of `size` images or, with 0, as many as the net takes. See `Batches`."""
        return self._batches_of(phase).batch(index, size)

    def _batches_of(self, phase: int) -> Batches:
        if phase not in self._batches:
            self._batches[phase] = Batches(self.source(phase), self._seed)
        return self._batches[phase]

    # -- shared among probes --------------------------------------------------------------------------------
    def begin_measurement(self) -> None:
        """From now on probes measure the present weights, and may share what they find (`shared`)."""
        self._shared = {}

    def shared(self, key: Hashable, find: Callable[[], T]) -> T:
        """What `find` returns, called once for a key in each measurement of several probes."""
        if self._shared is None:
            return find()
        if key not in self._shared:
            self._shared[key] = find()
        found: T = self._shared[key]  # type: ignore[assignment]
        return found

    def limits(self, name: str, phase: int = TRAIN) -> tuple[Array, Array] | None:
        """The smallest and the largest values that images can have as the top `name` of a data layer, if known.

        They are for 8-bit images of databases and lists, behind scale and mean: arrays that broadcast to an image.
        """
        return self._batches_of(phase).limits(name)

    def close(self) -> None:
        """Release private nets and batches; may be called twice."""
        for batches in self._batches.values():
            batches.close()
        for net in self._clones.values():
            net.close()
        self._batches.clear()
        self._clones.clear()
