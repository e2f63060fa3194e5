"""Pooling against loops over every window, its gradients, sizes and messages."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.layers.pooling import Pooling
from dragon.memory.storage import Array
from tests.layers.helpers import One

RNG = np.random.default_rng(0)
# settings, and what they mean: kernel, stride, pad, rounding up
CASES: dict[str, tuple[Any, Any, Any, bool]] = {
    "kernel_size: 2 stride: 2": ((2, 2), (2, 2), (0, 0), True),
    "kernel_size: 3 stride: 2": ((3, 3), (2, 2), (0, 0), True),
    "kernel_size: 3 stride: 2 round_mode: FLOOR": ((3, 3), (2, 2), (0, 0), False),
    "kernel_size: 3 stride: 2 ceil_mode: false": ((3, 3), (2, 2), (0, 0), False),
    "kernel_size: 3 stride: 2 pad: 1": ((3, 3), (2, 2), (1, 1), True),
    "kernel_size: 3 pad: 2": ((3, 3), (1, 1), (2, 2), True),
    "kernel_size: 4 stride: 3 pad: 1": ((4, 4), (3, 3), (1, 1), True),
    "kernel_h: 1 kernel_w: 3 stride_h: 3 stride_w: 1 pad_w: 1": ((1, 3), (3, 1), (0, 1), True),
}
SIZES = [(8, 7), (5, 8), (6, 6)]


def windows(x: Array, kernel: Any, stride: Any, pad: Any, up: bool, behind: Any = None) -> Any:
    """Yields (position, rows, columns, divisor) of each window, by the rule in words. behind: padding behind the image,
    `pad` unless given."""
    counts = []
    behind = behind or pad
    for n, k, s, p, q in zip(x.shape[2:], kernel, stride, pad, behind, strict=True):
        exact = (n + p + q - k) / s
        count = int(np.ceil(exact) if up else np.floor(exact)) + 1
        if (count - 1) * s >= n + p:
            count -= 1
        counts.append(count)
    for i in range(counts[0]):
        for j in range(counts[1]):
            parts, area = [], 1
            for at, n, k, s, p, q in zip((i, j), x.shape[2:], kernel, stride, pad, behind, strict=True):
                start = at * s - p
                area *= min(start + k, n + q) - start
                parts.append(slice(max(start, 0), min(start + k, n)))
            yield (i, j), parts[0], parts[1], area


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_values_and_gradient(pool: str, text: str, size: tuple[int, int]) -> None:
    x = RNG.standard_normal((2, 3, *size))
    full = f'type: "Pooling" pooling_param {{ pool: {pool} {text} }}'
    one = One(full, x, dtype=np.float64)
    y = one.forward().copy()
    seen = np.zeros(y.shape[2:], bool)
    for at, rows, columns, area in windows(x, *CASES[text]):
        part = x[:, :, rows, columns]
        expected = part.max((2, 3)) if pool == "MAX" else part.sum((2, 3)) / area
        np.testing.assert_allclose(y[:, :, *at], expected)
        seen[at] = True
    assert seen.all()
    check_gradient(full, [x], most=60)


# settings, and what they mean: kernel, stride, padding before, rounding up, padding behind
SIDES: dict[str, tuple[Any, Any, Any, bool, Any]] = {
    "kernel_size: 3 stride: 2 pad_t: 1 pad_l: 2": ((3, 3), (2, 2), (1, 2), True, (0, 0)),
    "kernel_size: 3 stride: 2 pad_b: 2 pad_r: 1": ((3, 3), (2, 2), (0, 0), True, (2, 1)),
    "kernel_size: 4 pad_t: 1 pad_b: 2 pad_l: 1 pad_r: 2": ((4, 4), (1, 1), (1, 1), True, (2, 2)),
    "kernel_h: 3 kernel_w: 2 stride: 3 pad_b: 1 ceil_mode: false": ((3, 2), (3, 3), (0, 0), False, (1, 0)),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", SIDES)
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_padding_of_each_side(pool: str, text: str, size: tuple[int, int]) -> None:
    x = RNG.standard_normal((2, 3, *size))
    full = f'type: "Pooling" pooling_param {{ pool: {pool} {text} }}'
    one = One(full, x, dtype=np.float64)
    y = one.forward()
    found = list(windows(x, *SIDES[text]))
    assert len(found) == y[0, 0].size
    for at, rows, columns, area in found:
        part = x[:, :, rows, columns]
        expected = part.max((2, 3)) if pool == "MAX" else part.sum((2, 3)) / area
        np.testing.assert_allclose(y[:, :, *at], expected)
    check_gradient(full, [x], most=60)


@pytest.mark.parametrize("text", [*CASES, *SIDES])
@pytest.mark.parametrize("method", ["AVE_EXC_PAD", "AVE_TF", "AVE avg_include_pad: false"])
def test_mean_without_the_padding(method: str, text: str) -> None:
    x = RNG.standard_normal((2, 3, 5, 8))
    full = f'type: "Pooling" pooling_param {{ pool: {method} {text} }}'
    one = One(full, x, dtype=np.float64)
    y = one.forward()
    for at, rows, columns, _ in windows(x, *(CASES | SIDES)[text]):
        np.testing.assert_allclose(y[:, :, *at], x[:, :, rows, columns].mean((2, 3)))
    check_gradient(full, [x], most=60)


def test_avg_include_pad_true_is_the_mean_with_the_padding() -> None:
    x = RNG.standard_normal((2, 3, 5, 8))
    text = "pool: AVE kernel_size: 3 stride: 2 pad: 1"
    with_padding = One(f'type: "Pooling" pooling_param {{ {text} avg_include_pad: true }}', x).forward()
    np.testing.assert_array_equal(with_padding, One(f'type: "Pooling" pooling_param {{ {text} }}', x).forward())


@pytest.mark.parametrize("text", CASES)
def test_mask(text: str) -> None:
    x = RNG.standard_normal((2, 3, 8, 7))
    one = One(f'type: "Pooling" pooling_param {{ {text} }}', x, n_top=2, dtype=np.float64)
    y = one.forward()
    mask = one.top[1].data.astype(int)
    flat = x.reshape(2, 3, -1)
    np.testing.assert_array_equal(np.take_along_axis(flat, mask.reshape(2, 3, -1), 2).reshape(y.shape), y)


def test_ties_go_to_the_first() -> None:
    one = One('type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }', np.zeros((1, 1, 5, 5)), n_top=2)
    one.forward()
    expected = [[0, 2], [10, 12]]
    np.testing.assert_array_equal(one.top[1].data[0, 0], expected)
    one.top[1].diff[...] = 0
    dx = one.backward([[[[1, 2], [3, 4]]]], np.zeros((1, 1, 2, 2)))
    np.testing.assert_array_equal(dx.reshape(-1)[[0, 2, 10, 12]], [1, 2, 3, 4])
    assert dx.sum() == 10


def test_backward_does_not_need_the_top() -> None:
    x = RNG.standard_normal((2, 3, 8, 8))
    one = One('type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }', x)
    y = one.forward()
    dy = RNG.standard_normal(y.shape)
    dx = one.backward(dy).copy()
    one.forward()
    np.maximum(y, 0, out=y)  # as a ReLU in place does
    np.testing.assert_array_equal(one.backward(dy), dx)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_many_images_run_in_chunks(pool: str) -> None:
    x = RNG.standard_normal((60, 8, 32, 32))
    one = One(f'type: "Pooling" pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 }}', x)
    y = one.forward().copy()
    dy = RNG.standard_normal(y.shape)
    dx = one.backward(dy).copy()
    np.testing.assert_array_equal(one.forward(x[-3:]), y[-3:])
    np.testing.assert_array_equal(one.backward(dy[-3:]), dx[-3:])


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("size", [(7,), (3, 4, 5)])
def test_other_numbers_of_axes(pool: str, size: tuple[int, ...]) -> None:
    check_gradient(
        f'type: "Pooling" pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 pad: 1 }}',
        [RNG.standard_normal((2, 2, *size))],
    )


def test_global() -> None:
    x = RNG.standard_normal((2, 3, 5, 4))
    one = One('type: "Pooling" pooling_param { pool: AVE global_pooling: true }', x, dtype=np.float64)
    np.testing.assert_allclose(one.forward(), x.mean((2, 3), keepdims=True))
    z = RNG.standard_normal((2, 3, 2, 9))
    np.testing.assert_allclose(one.forward(z), z.mean((2, 3), keepdims=True))


STOCHASTIC = 'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }'


@pytest.mark.parametrize("phase", [0, TEST])
def test_stochastic_gradient(phase: int) -> None:
    check_gradient(STOCHASTIC, [RNG.random((2, 3, 6, 5)) + 0.1], phase=phase)


def test_stochastic_frequencies() -> None:
    x = np.tile([[1.0, 2.0], [3.0, 4.0]], (5000, 1, 1, 1))
    text = 'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }'
    one = One(text, x)
    values, counts = np.unique(one.forward(), return_counts=True)
    np.testing.assert_array_equal(values, [1, 2, 3, 4])
    np.testing.assert_allclose(counts / 5000, [0.1, 0.2, 0.3, 0.4], atol=0.03)
    one.layer.phase = TEST
    np.testing.assert_allclose(one.forward(), 3)


def test_average_divisors_are_known_to_engines() -> None:
    text = 'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }'
    one = One(text, np.ones((1, 1, 8, 7)))
    assert cast(Pooling, one.layer).divisors == [[3, 3, 3, 3, 2], [3, 3, 3, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be at least 1"),
        ("kernel_h: 2", "kernel_w is missing"),
        ("kernel_size: 2 kernel_w: 2", "give kernel_size or kernel_h and kernel_w, not both"),
        ("kernel_size: 2 pad: 2", r"pad \(2, 2\) must be smaller than the kernel \(2, 2\)"),
        ("kernel_size: 2 pad_t: 1 pad_b: 2", r"pad \(2, 0\) must be smaller than the kernel \(2, 2\)"),
        ("kernel_size: 2 pad_l: 3", r"pad \(0, 3\) must be smaller than the kernel \(2, 2\)"),
        ("kernel_size: 2 pad: 1 pad_l: 1", "give pad .* or pad_t, pad_b, pad_l and pad_r, not both"),
        ("kernel_size: 2 pad_h: 0 pad_w: 0 pad_b: 1", "or pad_t, pad_b, pad_l and pad_r, not both"),
        ("global_pooling: true pad_r: 1", "needs pad 0 and stride 1"),
        ("kernel_size: 2 pool: AVE_EXC_PAD avg_include_pad: true", "AVE_EXC_PAD is a mean without the padding"),
        ("kernel_size: 2 global_pooling: true", "do not give a kernel"),
        ("global_pooling: true pad: 1", "needs pad 0 and stride 1"),
        ("kernel_size: 2 ceil_mode: true round_mode: CEIL", "round_mode or ceil_mode, not both"),
    ],
)
def test_bad_settings(text: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        One(f'type: "Pooling" pooling_param {{ {text} }}', np.ones((1, 1, 5, 5)))


def test_padding_of_each_side_needs_two_axes() -> None:
    with pytest.raises(PrototxtError, match="pad_l and pad_r need 2 spatial axes, the bottom has 1"):
        One('type: "Pooling" pooling_param { kernel_size: 2 pad_l: 1 }', np.ones((1, 1, 5)))


def test_bad_shapes() -> None:
    message = r"a kernel of \(3, 3\) does not fit into a bottom of shape \(1, 1, 2, 5\)"
    with pytest.raises(ShapeError, match=message):
        One('type: "Pooling" pooling_param { kernel_size: 3 }', np.ones((1, 1, 2, 5)))
    with pytest.raises(ShapeError, match="needs a bottom"):
        One('type: "Pooling" pooling_param { kernel_size: 3 }', np.ones((5, 5)))
    with pytest.raises(PrototxtError, match="the mask, needs pool: MAX"):
        One('type: "Pooling" pooling_param { pool: AVE kernel_size: 3 }', np.ones((1, 1, 5, 5)), n_top=2)


# kernel, stride, pad and rounding up of windows whose axes differ
VOLUMES: dict[str, tuple[Any, Any, Any, bool]] = {
    "kernel_shape { dim: 2 dim: 3 dim: 1 }": ((2, 3, 1), (1, 1, 1), (0, 0, 0), True),
    "kernel_shape { dim: 1 dim: 2 dim: 2 } stride_shape { dim: 1 dim: 2 dim: 2 }": (
        (1, 2, 2), (1, 2, 2), (0, 0, 0), True,
    ),
    "kernel_size: 2 stride_shape { dim: 2 dim: 1 dim: 3 } pad_shape { dim: 1 dim: 0 dim: 1 } round_mode: FLOOR": (
        (2, 2, 2), (2, 1, 3), (1, 0, 1), False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", VOLUMES)
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_windows_over_three_axes(pool: str, text: str) -> None:
    kernel, stride, pad, up = VOLUMES[text]
    x = RNG.standard_normal((2, 2, 4, 5, 6))
    full = f'type: "Pooling" pooling_param {{ pool: {pool} {text} }}'
    y = One(full, x, dtype=np.float64).forward()
    empty = -np.inf if pool == "MAX" else 0.0
    width = [(0, 0), (0, 0), *((p, p + 4) for p in pad)]  # windows may end behind the padding
    padded = np.pad(x, width, constant_values=empty)
    for at in np.ndindex(y.shape[2:]):
        window: Any = (..., *(slice(i * s, i * s + k) for i, s, k in zip(at, stride, kernel, strict=True)))
        expected = padded[window].max((2, 3, 4))
        if pool == "AVE":
            inside = [
                min(i * s + k, n + 2 * p) - i * s
                for i, s, k, n, p in zip(at, stride, kernel, x.shape[2:], pad, strict=True)
            ]
            expected = padded[window].sum((2, 3, 4)) / np.prod(inside)
        np.testing.assert_allclose(y[:, :, *at], expected)
    rounding = np.ceil if up else np.floor
    exact = [(n + 2 * p - k) / s for n, p, k, s in zip(x.shape[2:], pad, kernel, stride, strict=True)]
    assert y.shape[2:] == tuple(int(rounding(value)) + 1 for value in exact)
    check_gradient(full, [x], most=60)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("kernel_shape { dim: 2 dim: 2 }", r"kernel_shape needs 3 sizes for the spatial axes, got \[2, 2\]"),
        ("kernel_shape { dim: 2 dim: 2 dim: -1 }", "kernel_shape needs 3 sizes"),
        ("kernel_shape { dim: 2 dim: 2 dim: 2 } kernel_size: 2", "give kernel_shape or kernel_size, not both"),
        ("kernel_size: 2 pad_shape { dim: 2 dim: 0 dim: 0 }", r"pad \(2, 0, 0\) must be smaller than the kernel"),
        ("kernel_size: 2 stride_shape { dim: 0 dim: 1 dim: 1 }", "stride must be at least 1"),
        ("global_pooling: true kernel_shape { dim: 2 dim: 2 dim: 2 }", "do not give a kernel"),
        ("kernel_size: 2 pad_t: 1 pad_shape { dim: 1 dim: 1 dim: 1 }", "not both"),
    ],
)
def test_messages_about_three_axes(settings: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        One(f'type: "Pooling" pooling_param {{ {settings} }}', np.zeros((1, 1, 3, 3, 3)))


def test_a_maximum_stays_where_it_was_when_the_bottom_changes() -> None:
    """As in Caffe, which keeps its position: scripts write into blobs between forward and backward."""
    one = One('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', np.arange(16.0).reshape(1, 1, 4, 4))
    one.forward()
    one.bottom[0].data[...] *= -1
    one.top[0].diff[...] = 1
    one.layer.backward(one.top, [True], one.bottom)
    assert np.flatnonzero(one.bottom[0].diff).tolist() == [5, 7, 13, 15]
