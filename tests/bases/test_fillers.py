"""Fillers: their distributions, and errors that name the blob."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.bases.fillers import FILLERS, fill, may_wait
from dragon.bases.layer import TRAIN, Context, Layer
from dragon.errors import DragonError, PrototxtError, ShapeError
from dragon.graph.net import Net
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.rng import Stream
from tests.layers.helpers import One

SHAPE = (200, 30, 5, 5)


def filled(shape: tuple[int, ...] = SHAPE, **settings: object) -> Array:
    out = np.full(shape, np.nan)
    fill(out, pb.FillerParameter(**settings), Stream(1, "test"), "weight")  # type: ignore[arg-type]
    assert np.isfinite(out).all()
    return out


def close(value: float, expected: float, count: int, scale: float) -> bool:
    """Within five standard errors."""
    return bool(abs(value - expected) < 5 * scale / math.sqrt(count))


def test_constant() -> None:
    assert (filled(value=3.5) == 3.5).all()


def test_uniform() -> None:
    out = filled(type="uniform", min=-2, max=4)
    assert out.min() >= -2
    assert out.max() < 4
    assert close(out.mean(), 1, out.size, 6 / math.sqrt(12))


def test_gaussian() -> None:
    out = filled(type="gaussian", mean=1, std=0.5)
    assert close(out.mean(), 1, out.size, 0.5)
    assert close(out.std(), 0.5, out.size, 0.5)


def test_sparse_gaussian_keeps_the_expected_number_of_inputs() -> None:
    out = filled((100, 1000), type="gaussian", std=1, sparse=10)
    assert close(np.count_nonzero(out) / out.size, 10 / 100, out.size, math.sqrt(0.1 * 0.9))


def test_positive_unitball() -> None:
    out = filled(type="positive_unitball")
    assert out.min() >= 0
    assert np.allclose(out.reshape(200, -1).sum(axis=1), 1)


@pytest.mark.parametrize(("norm", "n"), [("FAN_IN", 750), ("FAN_OUT", 5000), ("AVERAGE", 2875)])
def test_xavier_and_msra(norm: str, n: int) -> None:
    xavier = filled(type="xavier", variance_norm=norm)
    assert abs(xavier).max() <= math.sqrt(3 / n)
    assert close(xavier.var() * n, 1, xavier.size, 1)
    msra = filled(type="msra", variance_norm=norm)
    assert close(msra.std() / math.sqrt(2 / n), 1, msra.size, 1)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_bilinear_is_the_interpolation_kernel(size: int) -> None:
    out = filled((2, 1, size, size), type="bilinear")
    centre = (size - 1) / 2
    factor = math.ceil(size / 2)
    ramp = 1 - abs(np.arange(size) - centre) / factor
    assert np.allclose(out, ramp[:, None] * ramp)


def test_errors_name_the_blob_and_the_nearest_filler() -> None:
    with pytest.raises(PrototxtError, match=r'weight: unknown filler type "gausian".*"gaussian"'):
        filled(type="gausian")
    with pytest.raises(ShapeError, match="weight: a bilinear filler"):
        filled((2, 3), type="bilinear")
    with pytest.raises(PrototxtError, match="sparse"):
        filled(type="uniform", sparse=2)
    assert len(FILLERS) == 8


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((2, 3), {"type": "gaussian", "std": -1}, "cannot be filled by gaussian: std must not be negative, got -1"),
        ((2, 3), {"type": "uniform", "min": 2}, "cannot be filled by uniform: min must not exceed max, got 2 and 1"),
        ((), {"type": "positive_unitball"}, r"positive_unitball filler needs at least one axis, the shape is \(\)"),
        ((), {"type": "gaussian", "sparse": 2}, r"sparse gaussian filler needs at least one axis, the shape is \(\)"),
        ((0, 3), {"type": "gaussian", "std": -1}, "std must not be negative, got -1"),
    ],
)
def test_settings_that_fill_nothing(shape: tuple[int, ...], settings: dict[str, object], message: str) -> None:
    with pytest.raises(DragonError, match=message):
        filled(shape, **settings)


@pytest.mark.parametrize("norm", ["FAN_IN", "FAN_OUT", "AVERAGE"])
@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 0, 3, 3), (2, 3, 0, 0), (0, 0, 0, 0)], ids=str)
@pytest.mark.parametrize(
    "settings", [*({"type": kind} for kind in FILLERS), {"type": "gaussian", "sparse": 2}], ids=str
)
def test_a_blob_without_elements_is_filled_by_nothing(
    settings: dict[str, object], shape: tuple[int, ...], norm: str
) -> None:
    more = {"branches": 2} if settings["type"] == "fixup" else {}
    assert filled(shape, **settings, **more, variance_norm=norm).shape == shape


def test_a_layer_of_a_bottom_without_channels() -> None:
    fillers = 'weight_filler { type: "xavier" } bias_filler { value: 2 }'
    one = One(f'type: "InnerProduct" inner_product_param {{ num_output: 3 {fillers} }}', np.zeros((2, 0)))
    assert one.blobs[0].shape == (3, 0)
    assert (one.forward() == 2).all()


def test_alpha_of_msra_is_the_slope_of_the_relu() -> None:
    plain, sloped = filled(type="msra"), filled(type="msra", alpha=0.75)
    np.testing.assert_allclose(sloped, plain / 1.25, rtol=1e-5)  # sqrt(1 + 0.75^2) = 1.25


@pytest.mark.parametrize(("branches", "layers", "factor"), [(9, 2, 9**-0.5), (16, 3, 16**-0.25), (1, 2, 1)])
def test_fixup_is_msra_times_a_power_of_the_branches(branches: int, layers: int, factor: float) -> None:
    out = filled(type="fixup", branches=branches, branch_layers=layers, alpha=0.5, variance_norm="FAN_OUT")
    msra = filled(type="msra", alpha=0.5, variance_norm="FAN_OUT")
    np.testing.assert_allclose(out, msra * factor, rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "fixup"}, "cannot be filled by fixup: branches, .* must be at least 1, got 0"),
        ({"type": "fixup", "branches": 3, "branch_layers": 1}, "branch_layers must be at least 2, got 1"),
        ({"type": "msra", "branches": 3}, "weight: branches is for the fixup filler, not for msra"),
        ({"type": "xavier", "branch_layers": 3}, "weight: branch_layers is for the fixup filler, not for xavier"),
    ],
)
def test_settings_of_fixup(settings: dict[str, object], message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        filled(SHAPE, **settings)


FIXUP = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "bias1a" type: "Bias" bottom: "x" top: "a" bias_param { axis: 0 num_axes: 0 } }
layer { name: "conv1" type: "Convolution" bottom: "a" top: "b" convolution_param {
  num_output: 3 kernel_size: 3 pad: 1 bias_term: false weight_filler { type: "fixup" branches: 4 } } }
layer { name: "bias1b" type: "Bias" bottom: "b" top: "b" bias_param { axis: 0 num_axes: 0 } }
layer { name: "relu" type: "ReLU" bottom: "b" top: "b" }
layer { name: "bias2a" type: "Bias" bottom: "b" top: "c" bias_param { axis: 0 num_axes: 0 } }
layer { name: "conv2" type: "Convolution" bottom: "c" top: "d" convolution_param {
  num_output: 3 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "scale" type: "Scale" bottom: "d" top: "d" scale_param { axis: 0 num_axes: 0 bias_term: true } }
layer { name: "sum" type: "Eltwise" bottom: "x" bottom: "d" top: "y" }
"""


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_a_residual_branch_as_fixup_has_it_starts_as_nothing_and_learns(engine: str) -> None:
    """With scalar biases and a scalar factor: Bias and Scale of no axes."""
    net = Net(parse_text("force_backward: true\n" + FIXUP, pb.NetParameter()), TRAIN, engine=engine, seed=1)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
    assert [net.params[name][0].shape for name in ("bias1a", "bias1b", "bias2a", "scale")] == [()] * 4
    for step in range(2):
        net.blobs["x"].data[...] = x
        net.clear_param_diffs()
        net.run_forward()
        assert (net.blobs["y"].peek() == x).all() == (step == 0)
        net.blobs["y"].diff[...] = 1
        net.run_backward()
        learned = {name for name, blobs in net.params.items() if any(blob.peek_diff().any() for blob in blobs)}
        # the first step moves the last convolution, and then all the rest has a gradient
        assert learned == ({"conv2", "scale"} if step == 0 else set(net.params))
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] -= 0.1 * blob.diff
    net.close()


WAITING = [
    {"value": 2}, {"type": "xavier"}, {"type": "msra"}, {"type": "uniform", "min": -1, "max": 1},
    {"type": "gaussian", "std": 0.1}, {"type": "gaussian", "std": 1, "sparse": 2},
]  # fmt: skip
AT_ONCE = [
    {"type": "gaussian", "std": -1}, {"type": "uniform", "min": 2, "max": 1}, {"type": "uniform", "max": math.inf},
    {"type": "xavier", "sparse": 3}, {"type": "msra", "branches": 2}, {"type": "no such filler"},
    {"type": "gaussian", "std": math.nan},
]  # fmt: skip


@pytest.mark.parametrize("settings", [*WAITING, {"type": "bilinear"}, {"type": "positive_unitball"}], ids=str)
def test_blobs_of_a_layer_get_the_numbers_of_their_stream(settings: dict[str, object]) -> None:
    """Whether their filler runs at once or when they are first read."""
    filler = pb.FillerParameter(**settings)  # type: ignore[arg-type]
    layer = Layer(pb.LayerParameter(name="one", type="InnerProduct"), TRAIN, Context(seed=5))
    blob = layer.add_blob((6, 3, 4, 4), filler)
    filler.Clear()  # the layer has a copy
    expected = np.zeros(blob.shape, np.float32)
    fill(expected, pb.FillerParameter(**settings), Stream(5, "one/blob0"), "weight")  # type: ignore[arg-type]
    assert np.array_equal(blob.peek(), expected)


@pytest.mark.parametrize("settings", WAITING, ids=str)
def test_what_cannot_fail_may_wait(settings: dict[str, object]) -> None:
    assert may_wait((4, 3), pb.FillerParameter(**settings))  # type: ignore[arg-type]
    assert not may_wait((4, 0), pb.FillerParameter(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", AT_ONCE, ids=str)
def test_what_can_fail_is_filled_at_once(settings: dict[str, object]) -> None:
    assert not may_wait((4, 3), pb.FillerParameter(**settings))  # type: ignore[arg-type]
