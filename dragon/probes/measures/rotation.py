"""The probe rotation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dragon.memory.storage import Array
from dragon.probes.arithmetic import angle
from dragon.probes.probe import Probe
from dragon.probes.registry import register
from dragon.probes.run import Run
from dragon.solver.solver import Solver

__all__ = ["Rotation"]


@register("rotation")
@dataclass(kw_only=True, eq=False)
class Rotation(Probe):
    """Angle in radians by which the latest update turned the weights of each layer with a weight matrix.

    The angle between w before and after the update. `equilibrium` is sqrt(2 rate decay / (1 + momentum)), where it
    settles for weights before a normalisation under SGD with L2 decay (van Laarhoven 2017, without momentum; Wan et al.
    2021, arXiv 2006.08419); left out for other rules. No value at iteration 0. Cost: a copy of the weights.
    """

    before: dict[str, Array] = field(default_factory=dict)
    rate: float = 0.0

    def start(self, run: Run) -> None:
        _ = run.solver  # raises for a net that is only looked at

    def before_measure(self, run: Run) -> None:
        net = run.net
        self.before = {layer: net.params[k].blob.peek().copy() for layer, k in net.kernels().items()}
        self.rate = run.rate(None)

    def measure(self, run: Run) -> Mapping[str, float]:
        before, self.before = self.before, {}
        net = run.net
        kernels = net.kernels()
        found = {layer: angle(w, net.params[kernels[layer]].blob.peek()) for layer, w in before.items()}
        if found and _settles(run.solver):
            p = run.solver.param
            found["equilibrium"] = math.sqrt(2 * self.rate * p.weight_decay / (1 + p.momentum))
        return found


def _settles(solver: Solver) -> bool:
    """Whether the formula of the equilibrium holds for the solver's rule."""
    p, rule = solver.param, solver.updater.rule
    return rule.name == "SGD" and rule.is_standard and p.regularization_type == "L2" and not p.larc
