"""The checker itself: it passes right layers, catches wrong ones and is not misled by kinks or randomness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dragon.bases.layer import Context, Layer
from dragon.gradient import GradientError, check_gradient
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb


class Product(Layer):
    """y = blob0 * x^2 * r + running, where r is random and `running` moves in every forward."""

    type = "Product"
    buffers = frozenset({1})
    fault = ""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.add_blob(bottom[0].shape, pb.FillerParameter(type="uniform", min=0.5))
        self.add_blob((1,), pb.FillerParameter())

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        self.x = x.copy()
        self.r = self.rng.generator().random(x.shape)
        self.blobs[1].data[...] += 1
        top[0].data[...] = self.blobs[0].data * x**2 * self.r + self.blobs[1].data

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff.copy()
        blob = self.x**2 * self.r * dy
        if self.fault == "replaces":
            self.blobs[0].diff[...] = blob
        else:
            self.blobs[0].diff[...] += blob
        dx = 2 * self.blobs[0].data * self.x * self.r * dy
        if self.fault == "sign":
            dx.flat[3] *= -1
        elif self.fault == "term":
            dx /= 1 + self.r
        if self.fault == "adds":
            bottom[0].diff[...] += dx
        else:
            bottom[0].diff[...] = dx


def product(fault: str = "") -> Product:
    layer = Product(pb.LayerParameter(name="p", type="Product"), context=Context(dtype=np.float64))
    layer.fault = fault
    return layer


X = np.random.default_rng(0).standard_normal((2, 3)) + 3


@pytest.mark.parametrize("in_place", [False, True])
def test_passes_a_right_layer(in_place: bool) -> None:
    assert check_gradient(product(), [X], in_place=in_place) == 12


def test_wrong_sign() -> None:
    where = r'layer "p" \(Product\): bottom 0\[1, 0\] of shape \(2, 3\)'
    with pytest.raises(GradientError, match=where + r": numeric -?[\d.]+, analytic -?[\d.]+$"):
        check_gradient(product("sign"), [X])


@pytest.mark.parametrize(("fault", "blob"), [("term", "bottom 0"), ("adds", "bottom 0"), ("replaces", "blob 0")])
def test_other_faults(fault: str, blob: str) -> None:
    with pytest.raises(GradientError, match=blob):
        check_gradient(product(fault), [X])


def test_large_blobs_are_sampled() -> None:
    assert check_gradient(product(), [np.ones((20, 20))], most=10) == 20


def test_moves_away_from_a_kink() -> None:
    x = np.array([[0.0, 1e-6, -1e-6, 1e-9], [1.0, -1.0, 0.0, 2.0]])
    assert check_gradient('name: "r" type: "ReLU"', [x]) == 8
    assert check_gradient('name: "r" type: "ReLU" relu_param { negative_slope: 0.1 }', [x], in_place=True) == 8
