"""Random small nets agree with the reference in float64, forward and backward, fused and not, in TRAIN and TEST.

ONEDNN_RANDOM_NETS=N tries N nets; ONEDNN_RANDOM_START=S begins with seed S.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import dragon
from tests.engines.onednn.comparing import LEAST, Array, compare, fill, make_net
from tests.engines.onednn.random_nets import RandomNet

pytestmark = pytest.mark.usefixtures("device")

COUNT = int(os.environ.get("ONEDNN_RANDOM_NETS", "200"))
START = int(os.environ.get("ONEDNN_RANDOM_START", "0"))
TOLERANCE = 5e-5
BATCH = 10


def everything(net: dragon.Net) -> list[Array]:
    blobs = [*net.blobs.values(), *(blob for blobs in net.params.values() for blob in blobs)]
    return [a for blob in blobs for a in (blob.peek().astype(np.float64), blob.peek_diff().astype(np.float64))]


def shaken(net: dragon.Net, seed: int) -> float:
    """How much the values of a float64 net move, in relation to the largest, when inputs and weights move by 1e-6."""
    rng = np.random.default_rng(seed)
    start = {name: net.blobs[name].peek().copy() for name in net.inputs if name != "x1"}
    kept = {(name, i): blob.peek().copy() for name, blobs in net.params.items() for i, blob in enumerate(blobs)}
    run((net,))
    before = everything(net)
    worst = 0.0
    for _ in range(3):
        for name, value in start.items():
            net.blobs[name].data[...] = value * (1 + 1e-6 * rng.standard_normal(value.shape))
        for (name, i), value in kept.items():
            net.params[name][i].data[...] = value * (1 + 1e-6 * rng.standard_normal(value.shape))
        run((net,))
        worst = max(worst, distance(before, everything(net)))
    return worst


def distance(first: list[Array], second: list[Array]) -> float:
    """The largest difference of two arrays, in relation to the largest value of the first."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a.size]
    return max(float(np.abs(b - a).max()) / max(LEAST, float(np.abs(a).max())) for a, b in pairs)


def run(nets: tuple[dragon.Net, ...]) -> None:
    for net in nets:
        for layer in net.layers:
            layer.rng.draws = 0
        net.clear_param_diffs()
        net.run_forward()
        net.run_backward()


def check(seed: int) -> bool:
    """Whether a point was found at which the net has a derivative that can be compared."""
    random = RandomNet(seed)
    phase = dragon.TEST if seed % 4 == 3 else dragon.TRAIN
    options: dict[str, Any] = {"fuse": seed % 5 != 4}
    values = {"x1": random.labels()}
    for attempt in range(8):
        nets = make_net(random.text, "numpy", phase, np.float64), make_net(random.text, "onednn", phase, **options)
        fill(nets, attempt, values)
        run(nets)
        probe = make_net(random.text, "numpy", phase, np.float64)
        fill((probe,), attempt, values)
        amplified = shaken(probe, seed)
        if amplified > 1e-3:  # a kink nearby, or a net that blows every rounding up
            continue
        single = make_net(random.text, "numpy", phase)
        fill((single,), attempt, values)
        run((single,))
        tolerance = TOLERANCE + amplified / 3 + 3 * distance(everything(nets[0]), everything(single))
        # gradients that cancel one another leave the roundings of the largest
        least = LEAST * max(1.0, *(float(np.abs(a).max()) for a in everything(nets[0])[1::2] if a.size))
        compare(*nets, tolerance, least_diff=least, least_sum=10 * least)
        fill(nets, attempt, values)  # once more, with all that is kept from before
        run(nets)
        compare(*nets, tolerance, least_diff=least, least_sum=10 * least)
        return True
    return False


@pytest.mark.parametrize("first", range(START, START + COUNT, BATCH))
def test_random_nets(first: int) -> None:
    check_all(first)


@pytest.mark.usefixtures("winograd_everywhere")
@pytest.mark.parametrize("first", range(START + COUNT, START + COUNT + COUNT // 4, BATCH))
def test_random_nets_with_fewer_products(first: int) -> None:
    check_all(first)


@pytest.mark.usefixtures("square_tiles_everywhere")
@pytest.mark.parametrize("first", range(START + 2 * COUNT, START + 2 * COUNT + COUNT // 4, BATCH))
def test_random_nets_in_square_tiles(first: int) -> None:
    check_all(first)


def check_all(first: int) -> None:
    compared = 0
    for seed in range(first, first + BATCH):
        try:
            compared += check(seed)
        except Exception as error:
            error.add_note(f"seed {seed}:\n{RandomNet(seed).text}")
            raise
    assert compared >= BATCH // 4
