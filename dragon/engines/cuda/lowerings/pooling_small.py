"""Pooling by small_pooling.cu: the usual small windows, and averages of whole planes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dragon.engines.cuda.kernels import small_pooling as kernels
from dragon.engines.cuda.kernels.kernel import VECTOR_BYTES
from dragon.engines.cuda.lowerings.lowering import Lowering, aligned

__all__ = ["SmallPooling", "small_pooling"]


class SmallPooling:
    """Launches pooling by one of the windows of small_pooling.cu, or over whole planes where `small` is None.

    window: the kernels' arguments for the window in the present shapes; counted: those for what an average counts.
    """

    def __init__(
        self,
        lowering: Lowering,
        small: kernels.SmallWindow | None,
        window: Mapping[str, int],
        counted: Mapping[str, int],
    ) -> None:
        self._lowering = lowering
        self._small = small
        self._counted = counted
        self._sizes = {name: window[name] for name in ("height", "width", "out_h", "out_w")}

    def forward(self, x: Any, y: Any, top_mask: Any, maximum: Mapping[str, Any] | None) -> None:
        """Launch y = the pooled x.

        top_mask: becomes the index of each maximum in its plane; or None. maximum: further arguments of a kernel that
        takes maxima; None: averages.
        """
        small, launch = self._small, self._lowering.launch
        if small is None:
            launch(kernels.plane_average, x=x, y=y, planes=y.size, size=x.size // y.size)
        elif maximum is not None:
            positions = self._positions(y.shape)
            launch(
                small.max_forward, x=x, y=y, positions=positions, top_mask=top_mask, count=y.size, **self._sizes,
                **maximum,
            )  # fmt: skip
        else:
            launch(small.average_forward, x=x, y=y, count=y.size, **self._sizes, **self._counted)

    def backward(self, dy: Any, dx: Any, more: Mapping[str, Any], maximum: bool) -> None:
        """Launch dx = the gradient of what was pooled. more: further arguments of the kernel."""
        lowering, small, width = self._lowering, self._small, self._sizes["width"]
        if small is None:
            lowering.launch(
                kernels.plane_average_backward, dy=dy, dx=dx, count=dx.size, vectors=aligned(dx, more["x"]),
                size=dx.size // dy.size, **more,
            )  # fmt: skip
            return
        lanes = VECTOR_BYTES // np.dtype(lowering.stored).itemsize
        strips = -(-width // lanes)
        whole = width % lanes == 0 and aligned(dx)
        given = {
            "dy": dy, "dx": dx, "count": dx.size // width * strips, "whole": whole, "strips": strips, **self._sizes,
            **more,
        }  # fmt: skip
        if maximum:
            lowering.launch(small.max_backward, positions=self._positions(dy.shape), **given)
        else:
            lowering.launch(small.average_backward, **given, **self._counted)

    def _positions(self, shape: tuple[int, ...]) -> Any:
        """For each output the place in its window of the element that it is, from forward to backward."""
        return self._lowering.buffer("positions", shape, "uint8")


def small_pooling(
    lowering: Lowering, window: Mapping[str, int], counted: Mapping[str, int], maximum: bool
) -> SmallPooling | None:
    """The kernels for this window, its arguments given as for any kernel of pooling.cu; None where there are none."""
    size, stride, pad = ((window[f"{name}_h"], window[f"{name}_w"]) for name in ("kernel", "stride", "pad"))
    square = all(h == w for h, w in (size, stride, pad))
    small = kernels.WINDOWS.get((size[0], stride[0], pad[0])) if square else None
    whole = (
        size == (window["height"], window["width"]) and pad == (0, 0) and (window["out_h"], window["out_w"]) == (1, 1)
    )
    if small is None and (maximum or not whole):
        return None
    return SmallPooling(lowering, small, window, counted)
