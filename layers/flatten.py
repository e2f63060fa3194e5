"""The layer type Flatten."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.view import View

__all__ = ["Flatten"]


@register()
class Flatten(View):
    """The axes from `axis` to `end_axis` become one; the top shares the memory of the bottom."""

    type = "Flatten"
    settings = ("flatten_param",)

    def new_shape(self, shape: tuple[int, ...]) -> Sequence[int]:
        p = self.param.flatten_param
        first, last = self.axis(p.axis, len(shape)), self.axis(p.end_axis, len(shape))
        if last < first:
            self.bad_shape(f"end_axis {p.end_axis} lies before axis {p.axis} of a bottom of shape {shape}")
        return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
