"""The engine's own SGD update against the solver's, large and small parameters, and what is left to the solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.engines.onednn.updating import LARGE, PIECE, SGDUpdate
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.types import get_solver

pytestmark = pytest.mark.usefixtures("device")

NET = f"""
layer {{ name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {{
  shape {{ dim: 4 dim: 40 }} data_filler {{ type: "gaussian" }}
  shape {{ dim: 4 }} data_filler {{ type: "constant" }} }} }}
layer {{ name: "large" type: "InnerProduct" bottom: "data" top: "large" param {{ lr_mult: 2 decay_mult: 0.5 }}
  param {{ lr_mult: 1 decay_mult: 0 }}
  inner_product_param {{ num_output: {PIECE // 40 * 2 + 7} weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "fixed" type: "InnerProduct" bottom: "large" top: "fixed" param {{ lr_mult: 0 }} param {{ lr_mult: 0 }}
  inner_product_param {{ num_output: 8 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "small" type: "InnerProduct" bottom: "fixed" top: "small"
  inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "small" bottom: "label" top: "loss" }}
"""


def solver(engine: str = "onednn", **settings: Any) -> Any:
    net = pb.NetParameter()
    parse_text(NET, net)
    usual: dict[str, Any] = {
        "base_lr": 0.1,
        "lr_policy": "step",
        "gamma": 0.5,
        "stepsize": 2,
        "momentum": 0.9,
        "weight_decay": 0.01,
    }
    return get_solver(pb.SolverParameter(net_param=net, **(usual | settings)), engine=engine, seed=3)


def test_as_the_solver_would_do_it() -> None:
    mine, other = solver(), solver("numpy")
    rng = np.random.default_rng(0)
    assert SGDUpdate.supports(mine.updater)
    assert mine.net.params["large"][0].count > 2 * PIECE > LARGE > mine.net.params["large"][1].count
    for iteration in range(5):
        for a, b in zip(mine.net.learnable, other.net.learnable, strict=True):
            gradient = rng.standard_normal(a.blob.shape).astype(np.float32)
            a.blob.diff[...] = gradient
            b.blob.diff[...] = gradient
        for one in (mine, other):
            one.net.executor.update(one.updater, 0.1 / 2 ** (iteration // 2), iteration)
        for a, b, h, i in zip(
            mine.net.learnable, other.net.learnable, mine.updater.history[0], other.updater.history[0], strict=True
        ):
            for left, right in ((a.blob.data, b.blob.data), (a.blob.diff, b.blob.diff), (h.data, i.data)):
                np.testing.assert_allclose(left, right, rtol=2e-6, atol=2e-7, err_msg=a.name)


def test_parameters_that_were_exchanged_or_grew_are_found_again() -> None:
    mine = solver()
    mine.step(1)
    other = solver()
    mine.net.share_with(other.net)
    before = other.net.params["large"][0].data.copy()
    mine.net.params["large"][0].diff[...] = 1
    mine.net.executor.update(mine.updater, 0.1, 1)
    assert (other.net.params["large"][0].data != before).all()


@pytest.mark.parametrize(
    "settings",
    [{"type": "Nesterov"}, {"clip_gradients": 1.0}, {"iter_size": 2}, {"regularization_type": "L1"}],
    ids=str,
)
def test_the_rest_is_the_solvers(settings: dict[str, Any]) -> None:
    mine, other = solver(**settings), solver("numpy", **settings)
    assert not SGDUpdate.supports(mine.updater)
    for one in (mine, other):
        one.step(3)
    for a, b in zip(mine.net.learnable, other.net.learnable, strict=True):
        np.testing.assert_allclose(a.blob.data, b.blob.data, rtol=1e-4, atol=1e-5)


def test_training_follows_the_reference() -> None:
    mine, other = solver(), solver("numpy")
    losses = [[one.step(1) for _ in range(6)] for one in (mine, other)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
