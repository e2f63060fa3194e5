"""The layer type Reshape."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.view import View
from dragon.counting import how_many
from dragon.memory.blob import Blob

__all__ = ["Reshape"]


@register()
class Reshape(View):
    """Another shape for the same memory.

    `shape` replaces `num_axes` axes (-1: all) from `axis` on. A dim of 0 copies that of the bottom, one of -1 is
    inferred from the count. A negative `axis` counts from the end: -1 is after the last axis.
    """

    type = "Reshape"
    settings = ("reshape_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().setup(bottom, top)
        p = self.param.reshape_param
        self.dims: list[int] = list(p.shape.dim)
        if self.dims.count(-1) > 1:
            self.bad_param(f"at most one dim can be -1, got {self.dims}")
        if any(dim < -1 for dim in self.dims):
            self.bad_param(f"a dim is -1, 0 or positive, got {self.dims}")
        if p.num_axes < -1:
            self.bad_param(f"num_axes must be -1 or more, got {p.num_axes}")

    def new_shape(self, shape: tuple[int, ...]) -> Sequence[int]:
        p = self.param.reshape_param
        start = p.axis if p.axis >= 0 else len(shape) + p.axis + 1
        if not 0 <= start <= len(shape):
            self.bad_shape(f"axis {p.axis} is out of range for a bottom of shape {shape}")
        end = len(shape) if p.num_axes == -1 else start + p.num_axes
        if end > len(shape):
            self.bad_shape(f"axis {p.axis} and num_axes {p.num_axes} reach beyond a bottom of shape {shape}")
        dims = list(self.dims)
        for i, dim in enumerate(dims):
            if dim == 0:
                if start + i >= len(shape):
                    self.bad_shape(f"dim {i} is 0, but a bottom of shape {shape} has no axis {start + i} to copy")
                dims[i] = shape[start + i]
        count = math.prod(shape)
        if -1 in dims:
            # an axis of 0 that stays says nothing about the others: it counts as 1
            kept = {start + i for i, dim in enumerate(self.dims) if dim == 0} | {*range(start), *range(end, len(shape))}
            total = math.prod(1 if i in kept and not n else n for i, n in enumerate(shape))
            others = (*shape[:start], *shape[end:])
            known = math.prod(abs(d) or 1 for d in dims) * math.prod(n or 1 for n in others)
            if known == 0 or total % known:
                self.bad_shape(f"{how_many(count, 'value')} of shape {shape}, which cannot be divided into {self.dims}")
            dims[dims.index(-1)] = total // known
        wanted = (*shape[:start], *dims, *shape[end:])
        if math.prod(wanted) != count:
            self.bad_shape(
                f"expected {how_many(count, 'value')} as in the bottom of shape {shape}, the new shape is {wanted}"
            )
        return wanted
