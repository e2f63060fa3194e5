"""Convolution, Deconvolution and Im2col against loops over every pixel, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.geometry import Window, fold, unfold
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from tests.layers.helpers import One

FILLERS = 'weight_filler { type: "gaussian" } bias_filler { type: "uniform" }'
RNG = np.random.default_rng(0)

WINDOWS = {
    "plain": ((7, 6), Window((3, 3), (1, 1), (0, 0), (0, 0), (1, 1))),
    "uneven": ((7, 6), Window((3, 2), (2, 1), (1, 0), (2, 1), (1, 2))),
    "stride above kernel": ((9, 8), Window((1, 2), (2, 3), (0, 1), (0, 0), (1, 1))),
    "pointwise": ((3, 4), Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))),
    "rows left over": ((8, 8), Window((3, 3), (2, 2), (0, 0), (0, 0), (1, 1))),
    "one axis": ((9,), Window((3,), (2,), (1,), (1,), (2,))),
    "three axes": ((4, 5, 6), Window((2, 1, 3), (1, 1, 2), (1, 0, 1), (1, 0, 1), (1, 1, 1))),
}


def unfold_by_loops(x: Array, w: Window) -> Array:
    pad = [(0, 0), (0, 0), *zip(w.before, w.after, strict=True)]
    x = np.pad(x, pad)
    n_axes = len(w.kernel)
    positions = tuple(
        (n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], w.kernel, w.stride, w.dilation, strict=True)
    )
    out = np.zeros((*x.shape[:2], *w.kernel, *positions))
    for k in np.ndindex(w.kernel):
        for p in np.ndindex(positions):
            at = tuple(p[i] * w.stride[i] + k[i] * w.dilation[i] for i in range(n_axes))
            out[:, :, *k, *p] = x[:, :, *at]
    return out


@pytest.mark.parametrize("name", WINDOWS)
def test_unfold_and_its_transpose(name: str) -> None:
    size, window = WINDOWS[name]
    x = RNG.standard_normal((2, 3, *size))
    expected = unfold_by_loops(x, window)
    assert expected.shape[2 + len(size) :] == window.positions(size)
    out = np.full(expected.shape, np.nan)
    unfold(x, window, out, Scratch())
    np.testing.assert_array_equal(out, expected)
    columns = RNG.standard_normal(expected.shape)
    back = np.full(x.shape, np.nan)
    fold(columns, window, back, Scratch())
    # <unfold(x), columns> = <x, fold(columns)> for a transpose
    np.testing.assert_allclose((expected * columns).sum(), (x * back).sum())


def convolve_by_loops(x: Array, weight: Array, bias: Array | None, w: Window, group: int) -> Array:
    columns = unfold_by_loops(x, w)
    n_axes = len(w.kernel)
    outputs = []
    for g, block in enumerate(np.split(weight, group)):
        width = x.shape[1] // group
        part = columns[:, g * width : (g + 1) * width]
        axes = list(range(1, 2 + n_axes))
        outputs.append(np.moveaxis(np.tensordot(part, block, (axes, axes)), -1, 1))
    y = np.concatenate(outputs, axis=1)
    return y if bias is None else y + bias.reshape(-1, *[1] * n_axes)


# text, channels and size of the bottom, its window, groups
CASES = [
    ("kernel_size: 3", (4, 7, 6), WINDOWS["plain"][1], 1),
    (
        "kernel_h: 3 kernel_w: 2 stride_h: 2 pad_h: 1",
        (2, 8, 6),
        Window((3, 2), (2, 1), (1, 0), (1, 0), (1, 1)),
        1,
    ),
    (
        "kernel_size: [3, 1] stride: 2 group: 2",
        (4, 7, 6),
        Window((3, 1), (2, 2), (0, 0), (0, 0), (1, 1)),
        2,
    ),
    ("kernel_size: 3 pad: 1 group: 4", (4, 5, 5), Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)), 4),
    ("kernel_size: 3 dilation: 2 pad: 2", (2, 6, 7), Window((3, 3), (1, 1), (2, 2), (2, 2), (2, 2)), 1),
    ("kernel_size: 2 pad: 1 pad_r: 1 pad_t: 2", (2, 4, 4), Window((2, 2), (1, 1), (3, 1), (1, 2), (1, 1)), 1),
    ("kernel_size: 1 bias_term: false", (4, 3, 3), WINDOWS["pointwise"][1], 1),
    ("kernel_size: 3 stride: 2 pad: 1 dilation: 2", (2, 9), WINDOWS["one axis"][1], 1),
    (
        "kernel_size: [2, 1, 3] pad: [1, 0, 1] stride: [1, 1, 2]",
        (2, 4, 5, 6),
        WINDOWS["three axes"][1],
        1,
    ),
]


@pytest.mark.parametrize(("text", "shape", "window", "group"), CASES)
def test_convolution(text: str, shape: tuple[int, ...], window: Window, group: int) -> None:
    x = RNG.standard_normal((3, *shape))
    text = f'type: "Convolution" convolution_param {{ num_output: 4 {text} {FILLERS} }}'
    one = One(text, x, dtype=np.float64)
    bias = one.blobs[1] if len(one.blobs) > 1 else None
    expected = convolve_by_loops(x, one.blobs[0], bias, window, group)
    np.testing.assert_allclose(one.forward(), expected)
    check_gradient(text, [x[:2]], most=50)


@pytest.mark.parametrize(("text", "shape", "window", "group"), CASES)
def test_deconvolution_is_the_transpose(text: str, shape: tuple[int, ...], window: Window, group: int) -> None:
    x = RNG.standard_normal((2, *shape))
    text = f'type: "Deconvolution" convolution_param {{ num_output: 8 {text} {FILLERS} }}'
    one = One(text, x, dtype=np.float64)
    y = one.forward()
    if len(one.blobs) > 1:
        y = y - one.blobs[1].reshape(-1, *[1] * (len(shape) - 1))
    assert y.shape[2:] == window.covered(shape[1:])
    t = RNG.standard_normal(y.shape)
    back = convolve_by_loops(t, one.blobs[0], None, window, group)
    np.testing.assert_allclose((back * x).sum(), (t * y).sum())
    check_gradient(text, [x], most=50)


def test_many_images_run_in_chunks() -> None:
    x = RNG.standard_normal((40, 8, 24, 24))
    one = One(f'type: "Convolution" convolution_param {{ num_output: 2 kernel_size: 3 {FILLERS} }}', x)
    whole = one.forward().copy()
    dy = RNG.standard_normal(whole.shape)
    dx = one.backward(dy).copy()
    dw = one.layer.blobs[0].diff.copy()
    first, second = one.forward(x[:20]).copy(), one.forward(x[20:]).copy()
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.backward(dy[20:]), dx[20:], rtol=1e-5, atol=1e-5)
    one.forward(x[:20])
    one.backward(dy[:20])
    np.testing.assert_allclose(one.layer.blobs[0].diff, 2 * dw, rtol=1e-3, atol=1e-3)


def test_several_bottoms_share_the_weights() -> None:
    x, z = RNG.standard_normal((2, 2, 3, 5, 5))
    text = f'type: "Convolution" convolution_param {{ num_output: 2 kernel_size: 3 {FILLERS} }}'
    check_gradient(text, [x, z], n_top=2, most=40)
    with pytest.raises(ShapeError, match="all bottoms must have the shape"):
        One(text, x, z[:, :, 1:], n_top=2)


def test_axis_counts_leading_axes_as_images() -> None:
    x = RNG.standard_normal((2, 3, 4, 5, 5))
    options = f"num_output: 2 kernel_size: 3 {FILLERS}"
    one = One(f'type: "Convolution" convolution_param {{ axis: 2 {options} }}', x)
    flat = One(f'type: "Convolution" convolution_param {{ {options} }}', x.reshape(6, 4, 5, 5))
    y = one.forward()
    assert y.shape == (2, 3, 2, 3, 3)
    np.testing.assert_array_equal(y.reshape(6, 2, 3, 3), flat.forward())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_output: 2", "kernel_size is missing"),
        ("num_output: 2 kernel_h: 2", "kernel_w is missing"),
        ("num_output: 2 kernel_size: 2 kernel_h: 2", "kernel_size or kernel_h and kernel_w, not both"),
        ("num_output: 2 kernel_size: [1, 2, 3]", "kernel_size is given 3 times for 2 spatial axes"),
        ("num_output: 2 kernel_size: 0", "kernel_size must be at least 1, got 0"),
        ("num_output: 2 kernel_size: 2 stride: 0", "stride must be at least 1, got 0"),
        ("kernel_size: 2", "num_output must be at least 1"),
        ("num_output: 2 kernel_size: 2 group: 3", "group 3 must divide the 4 channels and the 2 outputs"),
    ],
)
def test_bad_settings(text: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        One(f'type: "Convolution" convolution_param {{ {text} }}', np.ones((1, 4, 5, 5)))


def test_bad_shapes() -> None:
    text = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 }'
    message = r"a kernel of \(3, 3\) does not fit into a bottom of shape \(1, 4, 2, 5\)"
    with pytest.raises(ShapeError, match=message):
        One(text, np.ones((1, 4, 2, 5)))
    one = One(text, np.ones((1, 4, 5, 5)))
    with pytest.raises(ShapeError, match=r"weights of shape \(2, 4, 3, 3\) do not fit"):
        one.forward(np.ones((1, 3, 5, 5)))
    with pytest.raises(ShapeError, match="needs 2 spatial axes"):
        one.forward(np.ones((1, 4, 5)))


def test_im2col() -> None:
    size, window = WINDOWS["uneven"]
    x = RNG.standard_normal((2, 3, *size))
    options = "kernel_h: 3 kernel_w: 2 stride_h: 2 dilation: [1, 2] pad_h: 1 pad_r: 1 pad_b: 1"
    text = f'type: "Im2col" convolution_param {{ {options} }}'
    expected = unfold_by_loops(x, window)
    y = One(text, x, dtype=np.float64).forward()
    np.testing.assert_array_equal(y, expected.reshape(2, 18, *expected.shape[4:]))
    check_gradient(text, [x])


def test_channels_that_the_groups_do_not_divide_any_more() -> None:
    """5 // 2 channels in each group are as many as 4 // 2."""
    one = One('type: "Convolution" convolution_param { num_output: 2 group: 2 kernel_size: 1 }', np.ones((1, 4, 3, 3)))
    with pytest.raises(ShapeError, match=r"do not fit a bottom of shape \(1, 5, 3, 3\)"):
        one.forward(np.ones((1, 5, 3, 3)))
