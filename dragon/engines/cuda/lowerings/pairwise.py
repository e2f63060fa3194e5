"""Add and Mul, of which all bottoms but the first may be broadcast, by broadcast.cu; Axpy, by rows.cu."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import Layer
from dragon.engines.cuda.kernels import broadcast as kernels
from dragon.engines.cuda.kernels.rows import axpy_rows
from dragon.engines.cuda.lowerings.channels import Channels, channel_sums, totals
from dragon.engines.cuda.lowerings.elementwise import copied
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.rearranging import AXES, Strided, copy, numbered, strides_of
from dragon.engines.cuda.lowerings.scale import affine
from dragon.memory.blob import Blob

__all__ = ["AxpyLowering", "PairwiseLowering"]

KEPT, REPEATED = 4, 3  # most axes that sum_repeats takes


def laid_over(whole: tuple[int, ...], part: tuple[int, ...]) -> Strided:
    """The copy of a contiguous array of shape `part` to one of shape `whole`, repeated along axes of extent 1."""
    full = (1,) * (len(whole) - len(part)) + part
    strides = tuple(0 if n == 1 else stride for n, stride in zip(full, strides_of(full), strict=True))
    return Strided(whole, strides, strides_of(whole)).merged


def _split(plan: Strided) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(size, stride in the whole) of the axes that the part has, and of those along which it is repeated."""
    axes = list(zip(plan.shape, plan.x, plan.y, strict=True))
    return [(n, y) for n, x, y in axes if x], [(n, y) for n, x, y in axes if not x]


@lowers("Add", "Mul")
class PairwiseLowering(Lowering):
    """Add and Mul: combine the bottoms one after another."""

    half = True

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        plans = [laid_over(top[0].shape, blob.shape) for blob in bottom[1:]]
        axes = [_split(plan) for plan in plans]
        fits = all(len(kept) <= KEPT and len(repeated) <= REPEATED for kept, repeated in axes)
        return fits and all(len(plan.shape) <= AXES for plan in plans)

    @property
    def _is_product(self) -> bool:
        return bool(self.layer.type == "Mul")

    def _combine(self, a: Any, b: Blob, y: Any, product: bool) -> None:
        plan = laid_over(y.shape, b.shape)
        lead = AXES - len(plan.shape)
        shape = (1,) * lead + plan.shape
        self.launch(
            kernels.combine, a=a, b=b.data, y=y, count=y.size, product=product, **numbered("n", shape[1:], 1),
            **numbered("b", (0,) * lead + plan.x),
        )  # fmt: skip

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        so_far, y = bottom[0].data, top[0].data
        for blob in bottom[1:]:
            self._combine(so_far, blob, y, self._is_product)
            so_far = y

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        for i, blob in enumerate(bottom):
            if not propagate_down[i]:
                continue
            whole = blob.shape == dy.shape
            product = dy
            if self._is_product:
                product = blob.diff if whole else self.buffer("product", dy.shape, self.stored)
                for number, other in enumerate(b for j, b in enumerate(bottom) if j != i):
                    self._combine(product if number else dy, other, product, product=True)
            if not whole:
                self._sum(product, blob)
            elif product is dy:
                copied(self, dy, blob.diff)

    def _sum(self, dy: Any, blob: Blob) -> None:
        """The diff of a broadcast blob: dy summed over the repeated axes."""
        kept, repeated = _split(laid_over(dy.shape, blob.shape))
        if not repeated:
            copy(self, Strided(blob.shape, strides_of(blob.shape), strides_of(blob.shape)), dy, blob.diff)
            return
        kept = [(1, 0)] * (KEPT - len(kept)) + kept
        repeats = math.prod(n for n, _ in repeated)
        repeated = [(1, 0)] * (REPEATED - len(repeated)) + repeated
        self.launch(
            kernels.sum_repeats, dy=dy, db=blob.diff, count=blob.count, repeats=repeats,
            **numbered("k", [n for n, _ in kept[1:]], 1), **numbered("s", [s for _, s in kept]),
            **numbered("r", [n for n, _ in repeated[1:]], 1), **numbered("t", [s for _, s in repeated]),
        )  # fmt: skip


@lowers("Axpy")
class AxpyLowering(Lowering):
    """Axpy: y = a x + b, with one number of `a` for each channel of each item."""

    half = True
    float32_bottoms = (0,)  # one number for each channel of each item

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[1].count > 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, x, b = (blob.data for blob in bottom)
        self.launch(axpy_rows, a=a, x=x, b=b, y=top[0].data, count=x.size, length=self.layer.rows[1])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, (rows, length) = top[0].diff, self.layer.rows
        at = Channels.of(self.device, 1, rows, length)
        if propagate_down[0]:
            sums = channel_sums(self.device, at, dy, bottom[1].data)
            totals(self.device, at, sums, None, bottom[0].diff, unscale=self.unscale, add=False)
        if propagate_down[1]:
            affine(self, at, dy, bottom[0].data, None, bottom[1].diff)
        if propagate_down[2] and top[0] is not bottom[2]:
            copied(self, dy, bottom[2].diff)
