"""Large weights are updated a part at a time: the same numbers, bit for bit, as all at once, for every rule."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.memory.scratch import parts
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.norms import squares
from dragon.solver.rules import RULES
from dragon.solver.update import Updater

COUNT = 300_000
NET = f"""
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: {COUNT // 2} }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {{ num_output: 2 }} }}
"""


def updater(name: str) -> Updater:
    param = pb.NetParameter()
    parse_text(NET, param)
    net = dragon.Net(param, dragon.TRAIN, engine="numpy")
    momentum = 0.0 if name in ("AdaGrad", "RMSProp") else 0.9
    settings = pb.SolverParameter(type=name, momentum=momentum, weight_decay=0.01, rms_decay=0.9, clip_gradients=5)
    made = Updater(net, settings)
    rng = np.random.default_rng(0)
    for p in net.learnable:
        p.blob.data[...] = rng.standard_normal(p.blob.shape)
        p.blob.diff[...] = rng.standard_normal(p.blob.shape)
    return made


@pytest.mark.parametrize("name", RULES)
def test_parts_are_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = updater(name), updater(name)
    assert len(list(parts(first.params[0].blob.peek().reshape(-1)))) > 2
    monkeypatch.setattr(Updater, "clip_scale", lambda self, squares: 0.25)
    for t in range(2):
        first.apply(0.1, t)
    monkeypatch.setattr("dragon.solver.update.parts", lambda array: [slice(None)])
    for t in range(2):
        second.apply(0.1, t)
    for a, b in zip(first.params, second.params, strict=True):
        np.testing.assert_array_equal(a.blob.peek(), b.blob.peek())
        np.testing.assert_array_equal(a.blob.peek_diff(), b.blob.peek_diff())
    for slot in range(len(first.history)):
        np.testing.assert_array_equal(first.history[slot][0].peek(), second.history[slot][0].peek())


def test_squares_are_summed_precisely() -> None:
    values = np.random.default_rng(1).standard_normal(2_000_000).astype(np.float32)
    exact = float((values.astype(np.float64) ** 2).sum())
    assert abs(squares(values) - exact) < 1e-6 * exact
