"""Maximum and average pooling over one to three axes, by itself or with a ReLU in front or behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dragon.engines.cuda.kernels import pooling as kernels
from dragon.engines.cuda.kernels import volume_pooling as volume
from dragon.engines.cuda.lowerings.lowering import Lowering
from dragon.engines.cuda.lowerings.pooling_last import backward_last, forward_last
from dragon.engines.cuda.lowerings.pooling_small import SmallPooling, small_pooling
from dragon.engines.cuda.lowerings.windows import at_least_2d, named, spread_out, window_sizes
from dragon.proto import dragon_pb2 as pb

__all__ = ["NO_RELU", "Pool", "WithReLU"]


@dataclass(frozen=True)
class WithReLU:
    """A ReLU in place in front of a pooling, or `behind` one that takes maxima. slope: at least 0; None: no ReLU."""

    slope: float | None
    behind: bool = False

    def forward(self) -> dict[str, Any]:
        """The arguments of kernels that take maxima."""
        return {"mark": self.slope is not None, "rectify": self.slope is not None and self.behind, **self._slope()}

    def backward(self, dy: Any) -> dict[str, Any]:
        """The arguments of their gradients. Behind the pooling, the ReLU changes its top's gradient dy in place."""
        return {"masked": dy if self.behind else None, **self._slope()}

    def average_backward(self, x: Any) -> dict[str, Any]:
        """The arguments of the gradients of averages of x, which the ReLU has made."""
        return {"x": None if self.slope is None else x, **self._slope()}

    def _slope(self) -> dict[str, float]:
        return {"slope": float(self.slope or 0)}


NO_RELU = WithReLU(None)


class Pool:
    """Launches the kernels of a Pooling layer of the method MAX or AVE, with the buffers of a lowering."""

    def __init__(self, lowering: Lowering, layer: Any, relu: WithReLU = NO_RELU) -> None:
        self._lowering = lowering
        self._layer = layer
        self._relu = relu

    @property
    def _in_3d(self) -> bool:
        return len(self._layer.window.kernel) > 2

    @property
    def _is_maximum(self) -> bool:
        return bool(self._layer.method == pb.PoolingParameter.MAX)

    def window(self, x: Any, y: Any) -> dict[str, int]:
        """The kernels' arguments."""
        inside, outside = (spread_out(array, array.shape) for array in (x, y))
        return window_sizes(at_least_2d(self._layer.window), inside, outside)

    def _counted(self) -> dict[str, int]:
        """The positions that an average counts, as the kernels' arguments; a single axis is the second of two."""
        counted = self._layer.counted if self._in_3d else [(0, 1), *self._layer.counted][-2:]
        first, end = zip(*counted, strict=True)
        return {**named("first_", first), **named("end_", end)}

    def _small(self, window: dict[str, int]) -> SmallPooling | None:
        """The kernels for the present window, if it is one of the usual small ones or as large as a plane."""
        return None if self._in_3d else small_pooling(self._lowering, window, self._counted(), self._is_maximum)

    def index(self, shape: tuple[int, ...]) -> Any:
        """For each output the index in its plane of the element that it is."""
        return self._lowering.buffer("mask", shape, "int32")

    def forward(self, x: Any, y: Any, top_mask: Any = None) -> None:
        """Launch y = the pooled x, behind the ReLU if it is there.

        top_mask: becomes the index in its plane of each maximum; or None.
        """
        lowering, window = self._lowering, self.window(x, y)
        maximum = self._relu.forward() if self._is_maximum else None
        if lowering.channels_last:
            forward_last(lowering, x, y, window, maximum or self._counted(), self._is_maximum)
        elif (small := self._small(window)) is not None:
            small.forward(x, y, top_mask, maximum)
        elif maximum is not None:
            kernel = volume.max_forward_3d if self._in_3d else kernels.max_forward
            mask = self.index(y.shape)
            lowering.launch(kernel, x=x, y=y, mask=mask, top_mask=top_mask, count=y.size, **window, **maximum)
        else:
            kernel = volume.average_forward_3d if self._in_3d else kernels.average_forward
            lowering.launch(kernel, x=x, y=y, count=y.size, **window, **self._counted())

    def backward(self, dy: Any, dx: Any, x: Any = None) -> None:
        """Launch dx = the gradient of the pooling's bottom, or of what is in front of the ReLU in front of it.

        x: the bottom, for an average with a ReLU in front.
        """
        lowering, window, relu = self._lowering, self.window(dx, dy), self._relu
        given = relu.backward(dy) if self._is_maximum else relu.average_backward(x)
        if lowering.channels_last:
            more = {"mark": relu.slope is not None} if self._is_maximum else self._counted()
            backward_last(lowering, dy, dx, window, {**given, **more}, self._is_maximum)
        elif (small := self._small(window)) is not None:
            small.backward(dy, dx, given, self._is_maximum)
        elif self._is_maximum:
            kernel = volume.max_backward_3d if self._in_3d else kernels.max_backward
            lowering.launch(kernel, dy=dy, mask=self.index(dy.shape), dx=dx, count=dx.size, **window, **given)
        else:
            kernel = volume.average_backward_3d if self._in_3d else kernels.average_backward
            lowering.launch(kernel, dy=dy, dx=dx, count=dx.size, **window, **self._counted(), **given)
