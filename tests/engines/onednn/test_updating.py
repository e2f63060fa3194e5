"""The engine's own update by each rule against the solver's, large and small blobs, and what is left to the solver."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from dragon.engines.onednn.updating import LARGE, PrimitiveUpdate
from dragon.errors import ShapeError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.types import get_solver

pytestmark = pytest.mark.usefixtures("device")

PIECE = 20_000  # elements of a thread, here

NET = f"""
layer {{ name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {{
  shape {{ dim: 4 dim: 40 }} data_filler {{ type: "gaussian" }}
  shape {{ dim: 4 }} data_filler {{ type: "constant" }} }} }}
layer {{ name: "large" type: "InnerProduct" bottom: "data" top: "large" param {{ lr_mult: 2 decay_mult: 0.5 }}
  param {{ lr_mult: 1 decay_mult: 0 }}
  inner_product_param {{ num_output: {PIECE // 40 * 3 + 7} weight_filler {{ type: "xavier" }} }} }}
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


SETTINGS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.0, "weight_decay": 0.0},
    {"type": "Nesterov"},
    {"type": "AdaGrad", "momentum": 0.0},
    {"type": "RMSProp", "momentum": 0.0, "rms_decay": 0.9},
    {"type": "AdaDelta", "momentum": 0.95, "delta": 1e-6},
    {"type": "Adam", "momentum2": 0.99},
    {"type": "AdamW", "momentum2": 0.99},
    {"type": "AdamW", "momentum2": 0.99, "weight_decay": 0.0},
    {"clip_gradients": 300.0},
    {"type": "Adam", "clip_gradients": 300.0, "iter_size": 3},
    {"clip_gradients": 1e9, "iter_size": 2},
]


@pytest.fixture(params=SETTINGS, ids=str)
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Solvers of this engine and of NumPy's, whose large blob is some pieces and a rest."""
    monkeypatch.setattr("dragon.engines.onednn.updating.PIECE", PIECE)
    mine, other = solver(**request.param), solver("numpy", **request.param)
    assert PrimitiveUpdate.supports(mine.updater)
    assert mine.net.params["large"][0].count > PIECE > LARGE > mine.net.params["large"][1].count
    return mine, other


def update(pair: tuple[Any, Any], iteration: int, rate: float = 0.1) -> None:
    """One update of both with equal gradients."""
    rng = np.random.default_rng(iteration)
    for a, b in zip(*(one.net.learnable for one in pair), strict=True):
        a.blob.diff[...] = b.blob.diff[...] = rng.standard_normal(a.blob.shape).astype(np.float32)
    for one in pair:
        one.net.executor.update(one.updater, rate, iteration)


def compare(pair: tuple[Any, Any]) -> None:
    """Weights, steps and history of both are equal to rounding."""
    mine, other = pair
    for k, (a, b) in enumerate(zip(mine.net.learnable, other.net.learnable, strict=True)):
        arrays = [(a.blob.data, b.blob.data), (a.blob.diff, b.blob.diff)]
        arrays += [
            (one[k].data, two[k].data) for one, two in zip(mine.updater.history, other.updater.history, strict=True)
        ]
        for left, right in arrays:
            np.testing.assert_allclose(left, right, rtol=3e-6, atol=3e-7, err_msg=a.name)


def test_as_the_solver_would_do_it(pair: tuple[Any, Any]) -> None:
    before = pair[0].net.params["large"][0].data.copy()
    for iteration in range(5):
        update(pair, iteration, 0.1 / 2 ** (iteration // 2))
        compare(pair)
    assert (pair[0].net.params["large"][0].data != before).all()


def test_a_script_changes_numbers_between_two_steps(pair: tuple[Any, Any]) -> None:
    update(pair, 0)
    for one in pair:
        one.updater.param.weight_decay = 0.0 if one.updater.param.weight_decay else 0.02
        one.updater.param.delta *= 3
    update(pair, 1)
    compare(pair)
    for one in pair:
        for p in one.net.learnable[:2]:
            p.lr_mult = 0.5 if p.lr_mult == 2 else 0.0
    frozen = pair[0].net.params["large"][1].data.copy()
    update(pair, 2)
    compare(pair)
    np.testing.assert_array_equal(pair[0].net.params["large"][1].data, frozen)


def test_nan_and_infinity_as_in_numpy(pair: tuple[Any, Any]) -> None:
    for one in pair:
        one.net.params["large"][0].data.flat[[5, -5]] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        update(pair, 0)
    compare(pair)


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "RMSProp", "momentum": 0.0, "rms_decay": 0.0},
        {"type": "AdaDelta", "momentum": 0.0},
        {"type": "Adam", "momentum2": 0.0},
    ],
    ids=str,
)
def test_nan_in_an_average_without_memory(settings: dict[str, Any]) -> None:
    mine, other = solver(**settings), solver("numpy", **settings)
    for one in (mine, other):
        for slot in one.updater.history:
            slot[0].data.flat[[3, -3]] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        update((mine, other), 0)
    assert np.isnan(other.updater.history[-1][0].data.flat[[3, -3]]).all()
    compare((mine, other))


def test_decay_of_weights_that_are_not_finite_at_rate_0() -> None:
    mine, other = solver(type="AdamW", momentum2=0.99), solver("numpy", type="AdamW", momentum2=0.99)
    for one in (mine, other):
        one.net.params["large"][0].data.flat[[5, -5]] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        update((mine, other), 0, rate=0.0)
    assert np.isnan(other.net.params["large"][0].data.flat[[5, -5]]).all()
    compare((mine, other))


@pytest.mark.parametrize("engine", ["onednn", "numpy"])
@pytest.mark.parametrize("name", ["large", "small"])
def test_a_parameter_larger_than_its_history_is_refused(engine: str, name: str) -> None:
    one = solver(engine)
    one.step(1)
    grown = one.net.params[name][0]
    before = f"{grown.count:,}"
    grown.reshape(9, grown.count)
    expected = f"parameter {name}/0 has {grown.count:,} elements, its history of updates {before}: make a new solver"
    with pytest.raises(ShapeError, match=re.escape(expected)):
        one.apply_update()


def test_parameters_of_other_sizes(pair: tuple[Any, Any]) -> None:
    """A frozen one may grow, as a Python layer's memory does; a smaller one has the first part of its history."""
    update(pair, 0)
    for one in pair:
        one.net.params["fixed"][0].reshape(9, one.net.params["fixed"][0].count)
        one.net.params["large"][0].reshape(PIECE + 3)
    update(pair, 1)
    compare(pair)
    for one in pair:
        one.net.params["large"][0].reshape(LARGE - 1)
    update(pair, 2)
    compare(pair)


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
    [{"regularization_type": "L1"}, {"type": "LARS"}, {"type": "LAMB"}, {"larc": True}],
    ids=str,
)
def test_the_rest_is_the_solvers(settings: dict[str, Any]) -> None:
    mine, other = solver(**settings), solver("numpy", **settings)
    assert not PrimitiveUpdate.supports(mine.updater)
    for one in (mine, other):
        one.step(3)
    for a, b in zip(mine.net.learnable, other.net.learnable, strict=True):
        np.testing.assert_allclose(a.blob.data, b.blob.data, rtol=1e-4, atol=2e-4)  # LAMB divides by small gradients


def test_training_follows_the_reference() -> None:
    mine, other = solver(), solver("numpy")
    losses = [[one.step(1) for _ in range(6)] for one in (mine, other)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
