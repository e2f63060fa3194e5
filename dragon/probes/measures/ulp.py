"""The probe ulp."""

from __future__ import annotations

import base64
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dragon.errors import NumericError, WeightsError
from dragon.files.layer_files import layer_files
from dragon.probes.arithmetic import distance, norm
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run
from dragon.proto import dragon_pb2 as pb
from dragon.solver.snapshot import write_snapshot
from dragon.solver.solver import Solver
from dragon.solver.types import get_solver

__all__ = ["Ulp"]


@register("ulp")
@dataclass(kw_only=True, eq=False)
class Ulp(Probe):
    """How far a second training parts that starts one unit in the last place away, in one weight.

    The twin has the same weights but for the first of the first layer's, the same batches and random numbers, and is
    stepped along up to iteration `until`. `loss` is |L - L'| / |L| of the latest iteration, `weights` |w - w'| / |w|
    over all learned blobs. Cost: a second training, up to `until`.
    """

    every: int = setting(1, "measure after every so many updates; end: only at the end", least=0)
    until: int = setting(50, "the iteration up to which the twin is trained", least=1)
    ulps: int = setting(1, "by how many units in the last place the weight differs", least=0, most=1000)

    twin: Solver | None = None
    stored: Mapping[str, Any] | None = None

    def start(self, run: Run) -> None:
        self.close()
        if run.iteration >= self.until:
            return
        self.twin = twin = _twin_of(run.solver)
        if self.stored is not None:
            _restore(twin, self.stored)
            self.stored = None
            return
        for mine, theirs in zip(twin.net.owned, run.solver.net.owned, strict=True):
            mine[0].data[...] = theirs[0].peek()
        for slots, others in zip(twin.updater.history, run.solver.updater.history, strict=True):
            for blob, other in zip(slots, others, strict=True):
                blob.data[...] = other.peek()
        for layer, original in zip(twin.net.layers, run.solver.net.layers, strict=True):
            layer.rng.draws = original.rng.draws
            state = original.state()
            if state:
                layer.load_state(state)
        twin.iter = run.iteration
        learning = [p.blob for p in twin.net.learnable if p.lr_mult]
        self.check_learns(learning)
        weights = learning[0].data.reshape(-1)
        for _ in range(self.ulps):
            weights[0] = np.nextafter(weights[0], weights.dtype.type(np.inf))

    def after_iteration(self, run: Run) -> None:
        if self.twin is None:
            return
        if run.iteration > self.until:
            self.close()
            return
        try:
            self.twin.step(1)
        except NumericError:  # the twin diverged, which is no reason to end the training
            self.close()

    def measure(self, run: Run) -> Mapping[str, float]:
        if self.twin is None:
            return {}
        mine = [p.blob.peek() for p in self.twin.net.learnable]
        original = [p.blob.peek() for p in run.solver.net.learnable]
        found = {"weights": distance(original, mine) / (norm(*original) or math.nan)}
        if self.twin.losses and run.solver.losses:
            loss = run.solver.losses[-1]
            found["loss"] = abs(loss - self.twin.losses[-1]) / (abs(loss) or math.nan)
        return found

    def state(self) -> dict[str, Any]:
        if self.twin is None or self.twin.iter >= self.until:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            self.twin.param.snapshot_prefix = str(Path(folder) / "twin")
            return {
                Path(path).name: base64.b64encode(Path(path).read_bytes()).decode()
                for path in write_snapshot(self.twin)
            }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.stored = state

    def close(self) -> None:
        if self.twin is not None:
            self.twin.close()
        self.twin = None


def _twin_of(solver: Solver) -> Solver:
    """A solver of the same training, without tests, displays and snapshots."""
    param = pb.SolverParameter()
    param.CopyFrom(solver.param)
    for field in ("test_iter", "test_net", "test_net_param", "test_state", "test_interval", "display", "snapshot"):
        param.ClearField(field)
    param.ClearField("weights")
    param.ClearField("debug_info")
    param.snapshot_format = pb.SolverParameter.BINARYPROTO
    with layer_files(False):
        return get_solver(
            replace(solver.definition, message=param),
            engine=solver.net.executor.name,
            options=replace(solver.net.executor.options),
            seed=solver.seed,
            allow_python=solver.net.context.allow_python,
            dtype=solver.net.context.dtype,
            verbose=False,
        )


def _restore(twin: Solver, stored: Mapping[str, Any]) -> None:
    """Give the twin the snapshot that `state` returned. Raises WeightsError."""
    with tempfile.TemporaryDirectory() as folder:
        path = ""
        for name, text in stored.items():
            try:
                content = base64.b64decode(text, validate=True)
            except (TypeError, ValueError):
                raise WeightsError('the state of probe "ulp" is damaged') from None
            file = Path(folder) / Path(name).name
            file.write_bytes(content)
            path = str(file) if file.suffix == ".solverstate" else path
        if not path:
            raise WeightsError('the state of probe "ulp" is damaged')
        twin.restore(path)
