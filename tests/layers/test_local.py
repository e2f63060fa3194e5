"""Local against loops over images, outputs and positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

FILL = 'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }'
CATALOGUE = {
    "Local": [
        (f"local_param {{ num_output: 3 kernel_size: 3 {FILL} }}",),
        (f"local_param {{ num_output: 2 kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 pad: 1 {FILL} }}",),
        (f"local_param {{ num_output: 2 kernel_size: 2 {FILL} }}", ((2, 3, 6),)),
    ]
}
ARRAY_CODE = {"Local": "one product for each position: the array code is a batch of matrix products already"}
RNG = np.random.default_rng(4)
CASES: dict[str, tuple[Any, Any, Any]] = {
    "kernel_size: 3": ((3, 3), (1, 1), (0, 0)),
    "kernel_size: 3 stride: 2 pad: 1": ((3, 3), (2, 2), (1, 1)),
    "kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_w: 2": ((2, 3), (1, 2), (0, 2)),
    "kernel_size: 1": ((1, 1), (1, 1), (0, 0)),
}


def text(settings: str) -> str:
    return f'type: "Local" local_param {{ num_output: 2 {settings} {FILL} }}'


@pytest.mark.parametrize("bias", ["", "bias_term: false"])
@pytest.mark.parametrize("settings", CASES)
def test_values_and_gradient(settings: str, bias: str) -> None:
    kernel, stride, pad = CASES[settings]
    x = RNG.standard_normal((2, 3, 5, 6))
    one = One(text(f"{settings} {bias}"), x, dtype=np.float64)
    y = one.forward()
    size = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip((5, 6), pad, kernel, stride, strict=True)]
    assert y.shape == (2, 2, *size)
    weight = one.blobs[0]
    assert weight.shape == (2, 1, 3 * kernel[0] * kernel[1], size[0] * size[1])
    padded = np.pad(x, ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1])))
    for image, output, row, column in np.ndindex(*y.shape):
        top, left = row * stride[0], column * stride[1]
        window = padded[image, :, top : top + kernel[0], left : left + kernel[1]].ravel()
        position = row * size[1] + column
        expected = window @ weight[output, 0, :, position]
        if not bias:
            expected += one.blobs[1][0, 0, output, position]
        assert y[image, output, row, column] == pytest.approx(expected)
    check_gradient(text(f"{settings} {bias}"), [x], most=60)


def test_one_axis() -> None:
    check_gradient(text("kernel_size: 2 stride: 2"), [RNG.standard_normal((2, 3, 6))])


def test_counts_multiply_adds() -> None:
    one = One(text("kernel_size: 3"), np.zeros((4, 3, 5, 6)))
    assert one.layer.multiply_adds(one.bottom, one.top) == 4 * 2 * 27 * 12


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ("kernel_size: 7", (1, 1, 5, 5), r"a kernel of \(7, 7\) does not fit into a bottom of shape \(1, 1, 5, 5\)"),
        ("num_output: 0 kernel_size: 3", (1, 1, 5, 5), "num_output must be at least 1"),
        ("stride: 2", (1, 1, 5, 5), "kernel_size is missing"),
        ("kernel_size: 3", (5, 5), r"needs a bottom \(N, C, spatial axes\)"),
    ],
)
def test_messages(settings: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises((PrototxtError, ShapeError), match=message):
        One(
            f'type: "Local" local_param {{ {"" if "num_output" in settings else "num_output: 1"} {settings} }}',
            np.zeros(shape),
        )


def test_another_size_is_an_error() -> None:
    one = One(text("kernel_size: 3"), np.zeros((1, 3, 5, 5)))
    assert one.forward(np.zeros((4, 3, 5, 5))).shape == (4, 2, 3, 3)
    with pytest.raises(
        ShapeError, match=r"has weights for each position of a bottom \(N, 3, 5, 5\), got \(1, 3, 6, 5\)"
    ):
        one.forward(np.zeros((1, 3, 6, 5)))
