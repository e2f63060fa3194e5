from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.bases.layer import TEST, TRAIN
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.rng import Stream
from dragon.solver.solver import Solver
from dragon.solver.types import get_solver
from tests.layers.helpers import One

CATALOGUE = {
    "NoisyBN": [
        (),
        ("noisy_bn_param { shift: 2 scale_min: 0.5 scale_max: 0.5 shift_spread: 0 scale_std: 0.3 }",),
        ("", ((6,),)),
    ]
}
ARRAY_CODE = {"NoisyBN": "its noise is drawn on the host"}
X = np.random.default_rng(1).standard_normal((200, 3, 2, 4))
NOISY = 'name: "noise" type: "NoisyBN"'


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 2, 2)])
def test_gradient(shape: tuple[int, ...], phase: int, in_place: bool) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    assert check_gradient(NOISY, [x], phase=phase, in_place=in_place) == x.size


def noise_of(one: One, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Scale and shift of the next run, from tops of zeros and, with the same draw, of ones."""
    draws = one.layer.rng.draws
    shift = one.forward(np.zeros(shape)).copy()
    one.layer.rng.draws = draws
    return one.forward(np.ones(shape)) - shift, shift


def test_the_protocol() -> None:
    """Channel and step: mu ~ U(-.5, .5), sigma ~ U(1, 1.25); element: m ~ U(mu - .1, mu + .1), s ~ N(sigma, .1)."""
    one = One(NOISY, X, dtype=np.float64)
    levels, means = [], []
    for _ in range(200):
        scale, shift = noise_of(one, X.shape)
        middle = (shift.max((0, 2, 3)) + shift.min((0, 2, 3))) / 2
        assert np.ptp(shift, axis=(0, 2, 3)).min() > 0.19
        assert abs(shift - middle.reshape(1, 3, 1, 1)).max() < 0.1001
        np.testing.assert_allclose(scale.std((0, 2, 3)), 0.1, rtol=0.1)
        levels.append(middle)
        means.append(scale.mean((0, 2, 3)))
    mu, sigma = np.ravel(levels), np.ravel(means)
    assert -0.51 < mu.min() < -0.45
    assert 0.45 < mu.max() < 0.51
    assert 0.99 < sigma.min() < 1.01
    assert 1.24 < sigma.max() < 1.26
    np.testing.assert_allclose([mu.mean(), mu.std()], [0, 1 / np.sqrt(12)], atol=0.04)
    np.testing.assert_allclose([sigma.mean(), sigma.std()], [1.125, 0.25 / np.sqrt(12)], atol=0.01)


def test_all_five_numbers_are_settings() -> None:
    still = "shift: 0 scale_min: 3 scale_max: 3 shift_spread: 0 scale_std: 0"
    np.testing.assert_allclose(One(f"{NOISY} noisy_bn_param {{ {still} }}", X, dtype=np.float64).forward(), 3 * X)
    channels = One(f"{NOISY} noisy_bn_param {{ shift_spread: 0 scale_std: 0 }}", X, dtype=np.float64)
    scale, shift = noise_of(channels, X.shape)
    for value in (scale, shift):
        assert np.ptp(value, axis=(0, 2, 3)).max() < 1e-6
        assert np.ptp(value, axis=1).min() > 1e-4


def test_copies_in_test_without_a_draw() -> None:
    one = One(NOISY, X, phase=TEST)
    np.testing.assert_array_equal(one.forward(), X.astype(np.float32))
    np.testing.assert_array_equal(one.backward(X), X.astype(np.float32))
    assert one.layer.rng.draws == 0


def test_the_stream_is_the_whole_state_and_serves_every_type() -> None:
    one, other, double = One(NOISY, X, seed=9), One(NOISY, X, seed=9), One(NOISY, X, seed=9, dtype=np.float64)
    first, second = one.forward().copy(), one.forward().copy()
    assert (first != second).any()
    np.testing.assert_allclose(double.forward(), first, rtol=1e-5, atol=1e-6)
    other.layer.rng.draws = 1
    np.testing.assert_array_equal(other.forward(), second)
    assert (one.layer.rng.key == Stream(9, "noise").key).all()


FORMS = {
    "merged": 'layer { name: "bn" type: "BN" bottom: "x" top: "y" }',
    "split": 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }'
    'layer { name: "scale" type: "Scale" bottom: "y" top: "y" scale_param { bias_term: true } }',
}
NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 8 dim: 3 dim: 3 } } }
BN
layer { name: "noise" type: "NoisyBN" bottom: "y" top: "TOP" }
layer { name: "relu" type: "ReLU" bottom: "TOP" top: "z" }
"""


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_behind_merged_and_split_in_place_or_not_it_is_the_same(engine: str, phase: int) -> None:
    x, dy = np.random.default_rng(0).standard_normal((2, 4, 8, 3, 3))
    found = []
    for form, top in (("merged", "y"), ("split", "y"), ("merged", "n"), ("split", "n")):
        text = "force_backward: true\n" + NET.replace("BN\n", FORMS[form] + "\n").replace("TOP", top)
        net = dragon.Net(parse_text(text, pb.NetParameter()), phase, engine=engine, seed=5)
        net.blobs["x"].data[...] = x
        net.run_forward()
        net.blobs["z"].diff[...] = dy
        net.run_backward()
        found.append((net.blobs["z"].peek().copy(), net.blobs["x"].peek_diff().copy()))
        net.close()
    for values in found[1:]:
        for value, expected in zip(values, found[0], strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


SOLVER = """
base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 6 random_seed: 1 snapshot_prefix: "PREFIX"
net_param {
  layer { name: "data" type: "DummyData" top: "data" top: "label"
          dummy_data_param { shape { dim: 8 dim: 3 } data_filler { type: "gaussian" }
                             shape { dim: 8 } data_filler {} } }
  layer { name: "bn" type: "BN" bottom: "data" top: "bn" }
  layer { name: "noise" type: "NoisyBN" bottom: "bn" top: "bn" }
  layer { name: "fc" type: "InnerProduct" bottom: "bn" top: "fc"
          inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
}
"""


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_a_resumed_run_draws_what_the_whole_one_drew(engine: str, tmp_path: Path) -> None:
    text = SOLVER.replace("PREFIX", str(tmp_path / "s"))

    def solver() -> Solver:
        return get_solver(parse_text(text, pb.SolverParameter()), engine=engine)

    whole, begun, resumed = solver(), solver(), solver()
    whole.step(6)
    begun.step(3)
    begun.snapshot()
    resumed.restore(next(tmp_path.glob("*_iter_3.solverstate*")))
    resumed.step(3)
    noise = [solver.net.layers[2].rng.draws for solver in (whole, begun, resumed)]
    assert noise == [6, 3, 6]
    assert not np.array_equal(whole.net.params["fc"][0].peek(), begun.net.params["fc"][0].peek())
    for name, blobs in whole.net.params.items():
        for a, b in zip(blobs, resumed.net.params[name], strict=True):
            np.testing.assert_array_equal(a.peek(), b.peek())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("shift: -1", "shift must not be negative, got -1"),
        ("scale_std: nan", "noisy_bn_param.scale_std must be a finite number, got nan"),
        ("shift_spread: inf", "noisy_bn_param.shift_spread must be a finite number, got inf"),
        ("scale_min: 2", "scale_min must be at most scale_max, got 2 and 1.25"),
    ],
)
def test_messages(setting: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=re.escape(message)):
        One(f"{NOISY} noisy_bn_param {{ {setting} }}", X)
    with pytest.raises(ShapeError, match="at least 1 axis"):
        One(NOISY, 1.0)
