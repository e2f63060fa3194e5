"""Base of inner products with an angular margin for the class of each item: SphereFace's and L-Softmax's.

With theta the angle between an item x and the weights w of a class, <x, w> = |x| |w| cos(theta). For the item's own
class cos(theta) is replaced by psi(theta) = (-1)^k cos(m theta) - 2 k for theta in [k pi / m, (k + 1) pi / m], which
falls faster (Liu et al. 2016). cos(m theta) is the Chebyshev polynomial T_m of cos(theta).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dragon.bases.layer import TRAIN, Layer
from dragon.bases.loss import class_labels
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["MarginProduct"]

_CHEBYSHEV = (np.array([1, 0]), np.array([2, 0, -1]), np.array([4, 0, -3, 0]), np.array([8, 0, -8, 0, 1]))


def _polynomial(coefficients: Array, x: Array) -> Array:
    value: Array = xp_of(x).zeros_like(x)
    for coefficient in coefficients:
        value = value * x + x.dtype.type(coefficient)
    return value


class MarginProduct(Layer):
    """Base of MarginInnerProduct and LargeMarginInnerProduct.

    Bottoms: x (N, ...) and labels (N). Tops: (N, num_output), and optionally lambda (1). Blob: weight (num_output, K).
    The product of an item with its own class is (s psi + lambda <x, w>) / (1 + lambda), with s = |x| |w| and
    lambda = max(base (1 + gamma n)^-power, lambda_min) in iteration n, counted from `iteration` + 1. Passes of TRAIN
    are counted, as draws of the layer's stream are: in snapshots, and not again where a pass is repeated.
    """

    bottoms = (2, 2)
    tops = (1, 2)
    family = "inner product"
    unit_weights: ClassVar[bool] = False  # whether w stands for w / |w|

    @property
    def margin_param(self) -> Any:
        """The message with num_output, axis, type and the schedule of lambda."""
        raise NotImplementedError

    def can_propagate(self, index: int) -> bool:
        return index == 0

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.margin_param
        if p.num_output < 1:
            self.bad_param("num_output must be at least 1")
        for name in ("base", "gamma", "lambda_min"):
            if getattr(p, name) < 0:
                self.bad_param(f"{name} must not be negative, got {getattr(p, name):g}")
        self.inputs = math.prod(bottom[0].shape[self.axis(p.axis, bottom[0].ndim) :])
        self.add_blob((p.num_output, self.inputs), p.weight_filler, "weight")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.margin_param
        shape = bottom[0].shape
        axis = self.axis(p.axis, len(shape))
        if math.prod(shape[axis:]) != self.inputs:
            self.bad_shape(f"has weights for {how_many(self.inputs, 'input')}, got a bottom of shape {shape}")
        self.rows = math.prod(shape[:axis])
        if bottom[1].count != self.rows:
            self.bad_shape(f"expected {how_many(self.rows, 'label')}, got shape {bottom[1].shape}")
        self.label_range = p.num_output, None
        top[0].reshape(*shape[:axis], p.num_output)
        if len(top) > 1:
            top[1].reshape(1)

    @property
    def plain_weight(self) -> float:
        """The lambda of the present iteration: the weight of the product without a margin."""
        p = self.margin_param
        with np.errstate(over="ignore"):  # a negative power may end in infinity
            factor = np.float64(1 + p.gamma * (p.iteration + self.rng.draws)) ** -p.power
            return float(max(p.base * factor, p.lambda_min))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.phase == TRAIN:
            self.rng.draws += 1
        self.plain = self.plain_weight
        if len(top) > 1:
            top[1].data[...] = self.plain
        x, w = bottom[0].data.reshape(self.rows, self.inputs), self.blobs[0].data
        xp = xp_of(x)
        self.length = xp.sqrt((w * w).sum(axis=1, keepdims=True))
        self.w = w / self._nonzero(self.length) if self.unit_weights else w
        y = top[0].data.reshape(self.rows, self.label_range[0])
        xp.matmul(x, self.w.T, out=y)
        label = class_labels(self, bottom[1].data, *self.label_range)[0].reshape(-1)
        if self.margin_param.type == 0:  # a margin of 1
            return
        own = (xp.arange(self.rows), label)
        self.x_square, self.w_square = (x * x).sum(axis=1), (self.w * self.w).sum(axis=1)
        scale = xp.sqrt(self.x_square * self.w_square[label])
        cosine = xp.clip(y[own] / self._nonzero(scale), -1, 1)
        psi, self.slope = self._psi(cosine)
        self.own, self.excess = own, scale * (psi - cosine * self.slope)
        y[own] = (scale * psi + self.plain * y[own]) / (1 + self.plain)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        x, dy = bottom[0].data.reshape(self.rows, self.inputs), top[0].diff.reshape(self.rows, self.label_range[0])
        xp = xp_of(dy)
        margin = self.margin_param.type > 0
        along_x = along_w = xp.zeros((1, 1), dy.dtype)  # what the lengths of x and w contribute
        if margin:
            # d(s psi) = psi' (dx w + x dw) + s (psi - cos psi') (x dx / |x|^2 + w dw / |w|^2)
            share = dy[self.own] / (1 + self.plain)
            own = xp.zeros_like(dy)
            own[self.own] = share * self.excess
            along_x = (own.sum(axis=1) / self._nonzero(self.x_square))[:, None]
            along_w = (own.sum(axis=0) / self._nonzero(self.w_square))[:, None]
            dy = dy.copy()
            dy[self.own] = share * (self.slope + self.plain)
        dw = dy.T @ x
        if margin:
            dw += along_w * self.w
        if self.unit_weights:  # only what turns the weights changes w / |w|
            dw = (dw - (dw * self.w).sum(axis=1, keepdims=True) * self.w) / self._nonzero(self.length)
        self.blobs[0].diff[...] += dw
        if propagate_down[0]:
            dx = bottom[0].diff.reshape(self.rows, self.inputs)
            xp.matmul(dy, self.w, out=dx)
            if margin:
                dx += along_x * x

    def _psi(self, cosine: Array) -> tuple[Array, Array]:
        """psi(theta), and its derivative with respect to cos(theta)."""
        m = self.margin_param.type + 1
        steps = sum(cosine < cosine.dtype.type(math.cos(j * math.pi / m)) for j in range(1, m))
        sign = (1 - 2 * (steps % 2)).astype(cosine.dtype)
        chebyshev = _CHEBYSHEV[m - 1]
        psi = sign * _polynomial(chebyshev, cosine) - (2 * steps).astype(cosine.dtype)
        return psi, sign * _polynomial(np.polyder(chebyshev), cosine)

    @staticmethod
    def _nonzero(length: Array) -> Array:
        """Lengths to divide by: of a vector of zeros, whose products are 0, the least positive number."""
        xp = xp_of(length)
        guarded: Array = xp.maximum(length, xp.finfo(length.dtype).tiny)
        return guarded
