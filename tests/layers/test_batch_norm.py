"""BatchNorm and BN: values, averages, gradients, ranks, in place, warnings."""

from __future__ import annotations

import logging
from typing import Any, cast

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import TEST, TRAIN, Context, create
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from tests.layers.helpers import One

SHAPES = [(6,), (5, 3), (4, 3, 5), (3, 2, 4, 3), (2, 2, 2, 3, 2)]
SPLIT = 'type: "BatchNorm"'
AFFINE = 'type: "BatchNorm" batch_norm_param { scale_bias: true scale_filler { type: "gaussian" mean: 1 } }'
MERGED = 'type: "BN" batch_norm_param { scale_filler { type: "gaussian" } bias_filler { type: "uniform" } }'
FORK = 'type: "BN" bn_param { slope_filler { type: "uniform" min: 0.5 max: 2 } }'
LAYERS = {"split": SPLIT, "affine": AFFINE, "merged": MERGED, "fork": FORK}


def sample(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape) * 2 + 1


def axes_of(x: Array) -> tuple[int, ...]:
    return tuple(i for i in range(x.ndim) if i != 1)


def batch_norm(one: One) -> BatchStatistics:
    return cast(BatchStatistics, one.layer)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("in_place", [False, True])
def test_train_output_is_normalised(shape: tuple[int, ...], in_place: bool) -> None:
    x = sample(shape)
    y = One(SPLIT, x, in_place=in_place, dtype=np.float64).forward()
    expected = (x - x.mean(axes_of(x), keepdims=True)) / np.sqrt(x.var(axes_of(x), keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-9)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_gradient(name: str, shape: tuple[int, ...], in_place: bool, phase: int) -> None:
    param = pb.LayerParameter()
    text_format.Parse(LAYERS[name], param)
    layer = create(param, phase, Context(dtype=np.float64, seed=1))
    assert isinstance(layer, BatchStatistics)
    channels = shape[1] if len(shape) > 1 else 1
    setup = layer.setup

    def with_statistics(bottom: Any, top: Any) -> None:
        setup(bottom, top)
        mean, variance = (blob.data.reshape(-1) for blob in layer.statistics[:2])
        mean[:] = np.linspace(-1, 1, channels)
        variance[:] = np.linspace(0.5, 2, channels)

    layer.setup = with_statistics  # type: ignore[method-assign]
    assert check_gradient(layer, [sample(shape)], in_place=in_place, most=40) > 0


@pytest.mark.parametrize("shape", [(64, 2), (8, 2, 33, 7)])
def test_constant_channel_has_no_variance(shape: tuple[int, ...]) -> None:
    one = One(SPLIT, np.full(shape, 100.0))
    np.testing.assert_array_equal(one.forward(), 0)
    np.testing.assert_array_equal(one.blobs[0], 100)
    np.testing.assert_array_equal(one.blobs[1], 0)


def test_large_mean_keeps_precision() -> None:
    x = sample((16, 2, 8, 8)) * 0.01 + 1000
    one = One(SPLIT, x)
    x32 = one.bottom[0].data.astype(np.float64)
    one.forward()
    count = 16 * 64
    np.testing.assert_allclose(one.blobs[1], x32.var((0, 2, 3)) * count / (count - 1), rtol=1e-3)


def batches(n: int) -> list[Array]:
    return [sample((4, 3, 2, 2), seed) for seed in range(n)]


def statistics(x: Array) -> tuple[Array, Array]:
    return x.mean((0, 2, 3)), x.var((0, 2, 3))


def running_by_the_book(rule: str, fraction: float, n: int) -> tuple[Array, Array]:
    """What TEST should normalise with after `n` batches, as a weighted mean of the batches' statistics."""
    means, variances = (np.array(s) for s in zip(*map(statistics, batches(n)), strict=True))
    age = np.arange(n)[::-1]
    weights = {
        "CAFFE": fraction**age,
        "EMA": (1 - fraction) * fraction**age,
        "CUMULATIVE": np.ones(n),
        "LATEST": fraction * (1 - fraction) ** age,
    }[rule]
    if rule == "CAFFE":
        variances = variances * 16 / 15
    weights = weights / weights.sum()
    return weights @ means, weights @ variances


@pytest.mark.parametrize("rule", ["CAFFE", "EMA", "CUMULATIVE", "LATEST"])
@pytest.mark.parametrize("kind", ["BatchNorm", "BN"])
def test_averaging_rules(rule: str, kind: str) -> None:
    text = f'type: "{kind}" batch_norm_param {{ average: {rule} decay: 0.8 }}'
    one = One(text, batches(1)[0], dtype=np.float64)
    for x in batches(5):
        one.forward(x)
    mean, variance = batch_norm(one).running()
    expected_mean, expected_variance = running_by_the_book(rule, 0.8, 5)
    np.testing.assert_allclose(mean, expected_mean)
    np.testing.assert_allclose(variance, expected_variance)
    one.layer.phase = TEST  # looked at in every forward
    x = batches(1)[0]
    scale = (1, 3, 1, 1)
    expected = (x - mean.reshape(scale)) / np.sqrt(variance.reshape(scale) + 1e-5)
    np.testing.assert_allclose(one.forward(x), expected)


def test_blobs_follow_each_rule_literally() -> None:
    m0, m1 = (statistics(x)[0] for x in batches(2))
    stored = {}
    for rule in ("CAFFE", "EMA", "CUMULATIVE", "LATEST"):
        text = f'type: "BN" batch_norm_param {{ average: {rule} decay: 0.9 }}'
        one = One(text, batches(1)[0], dtype=np.float64)
        for x in batches(2):
            one.forward(x)
        stored[rule] = one.blobs[2], float(one.blobs[4][0])
    np.testing.assert_allclose(stored["CAFFE"][0], 0.9 * m0 + m1, rtol=1e-6)
    np.testing.assert_allclose(stored["EMA"][0], 0.9 * 0.1 * m0 + 0.1 * m1, rtol=1e-6)
    np.testing.assert_allclose(stored["CUMULATIVE"][0], (m0 + m1) / 2)
    np.testing.assert_allclose(stored["LATEST"][0], 0.1 * 0.9 * m0 + 0.9 * m1, rtol=1e-6)
    weights = [stored[rule][1] for rule in ("CAFFE", "EMA", "CUMULATIVE", "LATEST")]
    np.testing.assert_allclose(weights, [1.9, 0.19, 2, 0.99], rtol=1e-6)


def test_defaults() -> None:
    x = sample((4, 3))
    split, merged, fork = One(SPLIT, x), One('type: "BN"', x), One('type: "BN" bn_param { }', x)
    assert [b.shape for b in split.layer.blobs] == [(3,), (3,), (1,)]
    assert [b.shape for b in merged.layer.blobs] == [(3,), (3,), (3,), (3,), (1,)]
    assert [b.shape for b in fork.layer.blobs] == [(1, 3, 1, 1)] * 4
    assert [batch_norm(one).normalization.rule for one in (split, merged)] == [pb.CAFFE, pb.EMA]
    fractions = [batch_norm(one).normalization.fraction for one in (split, merged, fork)]
    np.testing.assert_allclose(fractions, [0.999, 0.95, 0.9], rtol=1e-6)
    np.testing.assert_allclose(batch_norm(fork).normalization.eps, 1e-5, rtol=1e-6)
    np.testing.assert_array_equal(merged.blobs[0], 1)
    np.testing.assert_array_equal(merged.blobs[1], 0)
    assert split.layer.buffers == {0, 1, 2}
    assert merged.layer.buffers >= {2, 3, 4}


def test_factor_zero_reads_as_zero_statistics() -> None:
    x = sample((4, 3))
    one = One(SPLIT, x, phase=TEST, dtype=np.float64)
    one.blobs[0][:] = 7
    one.blobs[1][:] = 9
    np.testing.assert_allclose(one.forward(), x / np.sqrt(1e-5))


def test_statistics_without_a_weight_are_a_full_average() -> None:
    one = One('type: "BN"', batches(1)[0], dtype=np.float64)
    one.blobs[2][:] = 5
    one.blobs[3][:] = 4
    np.testing.assert_allclose(batch_norm(one).running()[0], 5)
    one.forward()
    mean, _ = statistics(batches(1)[0])
    np.testing.assert_allclose(batch_norm(one).running()[0], 0.95 * 5 + 0.05 * mean)


@pytest.mark.parametrize("rule", ["CAFFE", "EMA", "CUMULATIVE", "LATEST"])
def test_set_running(rule: str) -> None:
    one = One(f'type: "BN" batch_norm_param {{ average: {rule} }}', batches(1)[0], dtype=np.float64)
    one.forward()
    mean, variance = np.array([1.0, 2, 3]), np.array([4.0, 5, 6])
    batch_norm(one).set_running(mean, variance)
    np.testing.assert_array_equal(batch_norm(one).running(), (mean, variance))


def test_frozen_fork_uses_and_keeps_its_statistics() -> None:
    x = sample((4, 3, 2, 2))
    one = One('type: "BN" bn_param { frozen: true }', x, dtype=np.float64)
    np.testing.assert_allclose(one.forward(), x / np.sqrt(1 + 1e-5))
    np.testing.assert_array_equal(one.blobs[2], 0)
    assert [spec.lr_mult for spec in one.layer.param.param] == [0, 0]


def warnings_of(caplog: pytest.LogCaptureFixture, text: str, x: Array, phase: int = TRAIN) -> list[str]:
    with caplog.at_level(logging.WARNING, "dragon"):
        one = One(f'name: "bn7" {text}', x, phase=phase)
        one.forward()
        one.forward()
    return [record.getMessage() for record in caplog.records]


def test_one_value_per_channel_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    messages = warnings_of(caplog, SPLIT, np.ones((1, 3)))
    assert len(messages) == 1
    assert 'layer "bn7" (BatchNorm): one value per channel' in messages[0]


@pytest.mark.parametrize(("value", "phase"), [("true", TRAIN), ("false", TEST)])
def test_contradicting_the_phase_warns_once(value: str, phase: int, caplog: pytest.LogCaptureFixture) -> None:
    text = f"{SPLIT} batch_norm_param {{ use_global_stats: {value} }}"
    messages = warnings_of(caplog, text, sample((4, 3)), phase)
    assert len(messages) == 1
    assert f'layer "bn7" (BatchNorm): use_global_stats: {value}' in messages[0]


@pytest.mark.parametrize(("value", "phase"), [("false", TRAIN), ("true", TEST)])
def test_agreeing_with_the_phase_is_silent(value: str, phase: int, caplog: pytest.LogCaptureFixture) -> None:
    text = f"{SPLIT} batch_norm_param {{ use_global_stats: {value} }}"
    assert warnings_of(caplog, text, sample((4, 3)), phase) == []


def test_backward_twice_gives_the_same() -> None:
    one = One(MERGED, sample((4, 3, 2, 2)), dtype=np.float64)
    one.forward()
    dy = sample((4, 3, 2, 2), 5)
    first = one.backward(dy).copy()
    np.testing.assert_array_equal(one.backward(dy), first)


@pytest.mark.parametrize("fraction", [2.0, -0.5])
@pytest.mark.parametrize(
    ("text", "field", "stats"),
    [
        (SPLIT + " batch_norm_param {{ moving_average_fraction: {} }}", "moving_average_fraction", (0, 1)),
        (
            'type: "BN" batch_norm_param {{ average: CAFFE moving_average_fraction: {} }}',
            "moving_average_fraction",
            (2, 3),
        ),
        ('type: "BN" bn_param {{ momentum: {} }}', "momentum", (2, 3)),
    ],
)
def test_a_fraction_outside_0_to_1_is_a_warning(
    text: str, field: str, stats: tuple[int, int], fraction: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Such files run in Caffe: a sum over batches, each time times the fraction."""
    batches = [sample((8, 3), 1), sample((8, 3), 2)]
    with caplog.at_level("WARNING", "dragon"):
        one = One(text.format(fraction), batches[0], dtype=np.float64)
    assert f"{field} must be between 0 and 1, got {fraction:g}" in caplog.text
    new = 1 - fraction if field == "momentum" else 1
    unbiased = 1 if field == "momentum" else 8 / 7
    mean, variance = one.blobs[stats[0]].ravel().copy(), one.blobs[stats[1]].ravel().copy()
    for batch in batches:
        one.forward(batch)
        mean = mean * fraction + new * batch.mean(0)
        variance = variance * fraction + new * batch.var(0) * unbiased
    np.testing.assert_allclose(one.blobs[stats[0]].ravel(), mean)
    np.testing.assert_allclose(one.blobs[stats[1]].ravel(), variance)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("moving_average_fraction: nan", "a finite number"),
        ("moving_average_fraction: inf", "a finite number"),
        ("decay: 1.5", "between 0 and 1"),
    ],
)
def test_a_fraction_that_caffe_cannot_have_is_an_error(setting: str, words: str) -> None:
    with pytest.raises(PrototxtError, match=f"must be {words}, got"):
        One(f"{SPLIT} batch_norm_param {{ {setting} }}", np.ones((2, 2)))


def test_bad_input() -> None:
    one = One(SPLIT, sample((4, 3)))
    message = r'layer "one" \(BatchNorm\): has statistics of 3 channels, got .* \(4, 5\)'
    with pytest.raises(ShapeError, match=message):
        one.forward(np.ones((4, 5)))
    with pytest.raises(ShapeError, match="empty bottom"):
        one.forward(np.ones((0, 3)))
    with pytest.raises(PrototxtError, match="eps must not be negative, got -1"):
        One(f"{SPLIT} batch_norm_param {{ eps: -1 }}", np.ones((2, 2)))
    with pytest.raises(PrototxtError, match="between 0 and 1, got 2"):
        One(f"{SPLIT} batch_norm_param {{ decay: 2 }}", np.ones((2, 2)))
    with pytest.raises(PrototxtError, match="bn_param has momentum, of a BN that keeps an average"):
        One('type: "BN" bn_param { bn_mode: INFERENCE momentum: 0.9 }', np.ones((2, 2)))
