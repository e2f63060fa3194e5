"""Gradients and Jacobians of random nets with branches, against differences; DRAGON_PROBED_NETS=200 for more."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest

from dragon.bases.layer import TRAIN
from dragon.memory.storage import Array
from dragon.probes import Batch, ProbeNet, Run, create, measure
from tests.probes.helpers import run_of
from tests.probes.measures.branching import BranchingNet

NETS = int(os.environ.get("DRAGON_PROBED_NETS", "5"))
STEP = 1e-5


def with_statistics(seed: int) -> Run:
    """The run of a net in float64 whose running statistics are those of some batches."""
    run = run_of(BranchingNet(seed).text, np.float64)
    for _ in range(3):
        run.source().run_forward()
    return run


def differences(net: ProbeNet, batch: Batch) -> list[Array]:
    """The gradient of the loss by central differences."""
    weights, found = net.weights(), []
    for k, values in enumerate(weights):
        slope = np.empty(values.size)
        for i in range(values.size):
            sides = []
            for sign in (1, -1):
                there = [w.copy() for w in weights]
                there[k].reshape(-1)[i] += sign * STEP
                net.set_weights(there)
                sides.append(net.loss(batch))
            slope[i] = (sides[0] - sides[1]) / (2 * STEP)
        found.append(slope)
    net.set_weights(weights)
    return found


def outputs(net: ProbeNet, batch: Batch, x: Array, layer: str) -> Array:
    """What a layer gives for other images, (images, outputs)."""
    net.load(Batch({**batch.arrays, "data": x}, batch.index))
    net.net.run_forward(0, net.node(layer).index)
    return np.array(net.node(layer).tops[0].peek())


def ends(net: ProbeNet, batch: Batch, layer: str) -> Sequence[float]:
    """The largest and the smallest singular value of d layer / d data by differences, each the mean over the images."""
    x = batch.arrays["data"].astype(np.float64)
    columns = []
    for k in range(x.shape[1]):  # images do not depend on each other: one component of all of them at a time
        step = np.zeros_like(x)
        step[:, k] = STEP
        above, below = (outputs(net, batch, x + sign * step, layer) for sign in (1, -1))
        columns.append((above - below) / (2 * STEP))
    values = np.linalg.svd(np.stack(columns, axis=2), compute_uv=False)
    return values[:, 0].mean(), values[:, -1].mean()


@pytest.mark.filterwarnings("ignore:.*its backward reads its top")
@pytest.mark.parametrize("seed", range(NETS))
def test_gradients_of_random_nets(seed: int) -> None:
    run = with_statistics(seed)
    net, batch = run.net, run.batch(0)
    exact = differences(net, batch) if net.params else []
    norms = {net.key(p): np.linalg.norm(slope) for p, slope in zip(net.params, exact, strict=True)}
    found = measure(create("gradient_norm", {}), run)
    assert found == pytest.approx({**norms, "all": np.linalg.norm([*norms.values()])}, rel=1e-4, abs=1e-6)
    run.close()


@pytest.mark.filterwarnings("ignore:.*its backward reads its top")
@pytest.mark.parametrize("seed", range(NETS))
def test_jacobians_of_random_nets(seed: int) -> None:
    """Of every layer, the last first: what is found must not depend on losses on the way, nor on other layers."""
    run = with_statistics(seed)
    other = run_of(BranchingNet(seed).text, np.float64)
    own = other.clone(TRAIN, batch_statistics=False)
    own.copy_from(run.source())
    batch = run.batch(0)
    layers = [n.name for n in own.net.nodes if n.bottoms and n.layer.type != "Split" and not n.makes_loss]
    for layer in reversed(layers):
        found = measure(create("jacobian", {"layer": layer, "images": batch.extent}), run)
        assert (found["largest"], found["smallest"]) == pytest.approx(ends(own, batch, layer), rel=1e-4, abs=1e-7), (
            layer
        )
    run.close()
    other.close()
