"""ROIPooling, ROIAlign and PSROIPooling, by regions.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import Layer
from dragon.engines.cuda.kernels import regions as kernels
from dragon.engines.cuda.lowerings.indices import Indexed
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.engines.cuda.lowerings.rearranging import fill
from dragon.memory.blob import Blob

__all__ = ["PSROIPoolingLowering", "ROIAlignLowering", "ROIPoolingLowering"]


class _Regions(Indexed):
    half = True
    float32_bottoms = (1,)
    what = "item of a region"
    each = 5

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0 and top[0].count > 0

    def sizes(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> dict[str, Any]:
        """The kernels' last arguments."""
        names = ("items", "channels", "height", "width", "bins_h", "bins_w")
        shapes = dict(zip(names, (*bottom[0].shape, *top[0].shape[2:]), strict=True))
        return {**shapes, "scale": float(self.layer.scale)}

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check(bottom[1], bottom[0].shape[0])
        self.pool(bottom[0].data, bottom[1].data, top[0].data, self.sizes(bottom, top))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            fill(self, bottom[1].diff)
        if propagate_down[0]:
            self.pool_backward(top[0].diff, bottom[1].data, bottom[0].diff, self.sizes(bottom, top))

    def pool(self, x: Any, rois: Any, y: Any, sizes: dict[str, Any]) -> None:
        """Launch y (R, ...) = the regions `rois` (R, 5) of x, pooled."""
        raise NotImplementedError

    def pool_backward(self, dy: Any, rois: Any, dx: Any, sizes: dict[str, Any]) -> None:
        """Launch dx = the gradient of `pool` for dy."""
        raise NotImplementedError


@lowers("ROIPooling")
class ROIPoolingLowering(_Regions):
    """ROIPooling: the maximum of each bin (Girshick 2015)."""

    def pool(self, x: Any, rois: Any, y: Any, sizes: dict[str, Any]) -> None:
        self.launch(
            kernels.roi_forward, x=x, rois=rois, y=y, winner=self._winner(y.shape), count=y.size, **sizes
        )  # fmt: skip

    def pool_backward(self, dy: Any, rois: Any, dx: Any, sizes: dict[str, Any]) -> None:
        winner, regions = self._winner(dy.shape), dy.shape[0]
        self.launch(
            kernels.roi_backward, dy=dy, rois=rois, winner=winner, dx=dx, count=dx.size, regions=regions, **sizes
        )  # fmt: skip

    def _winner(self, shape: tuple[int, ...]) -> Any:
        return self.buffer("winner", shape, "int32")


@lowers("ROIAlign")
class ROIAlignLowering(_Regions):
    """ROIAlign: the mean of points in each bin, as weights of positions along both axes (He et al. 2017)."""

    def pool(self, x: Any, rois: Any, y: Any, sizes: dict[str, Any]) -> None:
        for axis, weights in enumerate(reversed(self._weights(y.shape, sizes))):
            bins, size = weights.shape[1:]
            self.launch(
                kernels.roi_align_weights, rois=rois, weights=weights, count=weights.size, axis=axis, bins=bins,
                size=size, ratio=self.layer.ratio, scale=sizes["scale"],
            )  # fmt: skip
        rows, columns = self._weights(y.shape, sizes)
        self.launch(kernels.roi_align_forward, x=x, rois=rois, rows=rows, columns=columns, y=y, count=y.size, **sizes)

    def pool_backward(self, dy: Any, rois: Any, dx: Any, sizes: dict[str, Any]) -> None:
        rows, columns = self._weights(dy.shape, sizes)
        self.launch(
            kernels.roi_align_backward, dy=dy, rois=rois, rows=rows, columns=columns, dx=dx, count=dx.size,
            regions=dy.shape[0], **sizes,
        )  # fmt: skip

    def _weights(self, shape: tuple[int, ...], sizes: dict[str, Any]) -> tuple[Any, Any]:
        """The weights of rows (R, bins, height) and of columns (R, bins, width), for a top of `shape`."""
        regions, _, bins_h, bins_w = shape
        return (
            self.buffer("rows", (regions, bins_h, sizes["height"])),
            self.buffer("columns", (regions, bins_w, sizes["width"])),
        )


@lowers("PSROIPooling")
class PSROIPoolingLowering(_Regions):
    """PSROIPooling: the mean of each bin, over a channel of its own (Dai et al. 2016)."""

    def pool(self, x: Any, rois: Any, y: Any, sizes: dict[str, Any]) -> None:
        outputs = self.layer.outputs
        self.launch(kernels.psroi_forward, x=x, rois=rois, y=y, count=y.size, outputs=outputs, **sizes)

    def pool_backward(self, dy: Any, rois: Any, dx: Any, sizes: dict[str, Any]) -> None:
        self.launch(
            kernels.psroi_backward, dy=dy, rois=rois, dx=dx, count=dx.size, regions=dy.shape[0],
            outputs=self.layer.outputs, **sizes,
        )  # fmt: skip
