"""The probe hessian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dragon.memory.storage import Array
from dragon.probes.arithmetic import distance, dot, mean_gradient, moved, norm
from dragon.probes.probe import Probe, setting
from dragon.probes.probe_net import Batch, ProbeNet
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["Hessian"]

STEPS = {np.dtype(np.float32): 1e-2, np.dtype(np.float64): 1e-8}


@register("hessian")
@dataclass(kw_only=True, eq=False)
class Hessian(Probe):
    """Eigenvalue of the Hessian of the loss that is largest in size, by power iteration.

    v <- H v / |H v|, with H v = (g(w + h v) - g(w - h v)) / (2 h), g the mean gradient over the probe batches (in
    training's form: statistics of the batch, no weight decay). h is the largest with |h v| <= step * |w| in each weight
    matrix, since a small one before a normalisation bends the loss most. `largest` is v H v. `residual`
    |H v - largest v|: an eigenvalue lies within it. `step_error`: how far `largest` is from its value with 2 h.
    By default in float64 by NumPy, with a step so short (1e-8) that hardly any ReLU or max pooling changes sides within
    h, since each that does adds its jump over h; the relative error is about 1e-7. `exact: false` takes the solver's
    engine and a step of 1e-2, good to about 1e-3 for smooth nets only. Cost: two passes forward and backward for each
    iteration and batch.
    """

    batches: int = setting(1, "probe batches that the loss is taken over", least=1)
    batch_size: int = setting(0, "images in a probe batch; 0: as many as in training", least=0)
    iterations: int = setting(30, "most power iterations", least=1)
    tolerance: float = setting(1e-3, "stop when the eigenvalue changes less, relatively", least=0)
    exact: bool = setting(True, "compute in float64 by NumPy; false: by the solver's engine, for smooth nets")
    step: float | None = setting(None, "h in norms of the weights; by default 1e-8, and 1e-2 with exact=false", least=0)

    def check(self) -> None:
        if self.step == 0:
            raise self.wrong("step must be above 0")

    def measure(self, run: Run) -> Mapping[str, float]:
        net = run.clone(engine="numpy", dtype=np.float64) if self.exact else run.net
        batches = [run.batch(k, self.batch_size) for k in range(self.batches)]
        weights = net.weights()
        self.check_learns(weights)
        step = self.step or STEPS[np.dtype(net.net.context.dtype)]
        kernels = list(net.kernels().values())

        def length(v: Sequence[Array]) -> float:
            lengths = [(norm(weights[k]), norm(v[k])) for k in kernels]
            return step * min((w / d for w, d in lengths if w > 0 and d > 0), default=1.0)

        def product_with(v: Sequence[Array], factor: float = 1.0) -> list[Array]:
            return _product(net, batches, weights, v, factor * length(v))

        chance = np.random.default_rng(1)
        v = _unit([chance.standard_normal(w.shape) for w in weights])
        shifted = moved(weights, length(v), v)
        if all(np.array_equal(weights[k], shifted[k]) for k in kernels or range(len(weights))):
            raise self.wrong(f"step {step:g} is too short: it leaves the weights as they are")
        value = np.inf
        for _ in range(self.iterations):
            product = product_with(v)
            before, value = value, dot(v, product)
            if abs(value - before) <= self.tolerance * abs(value) or not np.isfinite(value) or not norm(*product):
                break
            v = _unit(product)
        product = product_with(v)
        value = dot(v, product)
        doubled = dot(v, product_with(v, 2.0))
        residual = distance(product, [value * x for x in v])
        return {"largest": value, "residual": residual, "step_error": abs(doubled - value)}


def _unit(v: Sequence[Array]) -> list[Array]:
    length = norm(*v)
    return [x / length for x in v]


def _product(
    net: ProbeNet, batches: Sequence[Batch], weights: Sequence[Array], v: Sequence[Array], h: float
) -> list[Array]:
    """H v by central differences; see the class."""
    sides = []
    for sign in (1, -1):
        net.set_weights(moved(weights, sign * h, v))
        sides.append(mean_gradient(net, batches)[1])
    return [(above - below) / (2 * h) for above, below in zip(*sides, strict=True)]
