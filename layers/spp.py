"""The layer type SPP."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, create, register
from dragon.layers.concat import pieces
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["SPP"]


@register()
class SPP(Layer):
    """Spatial pyramid pooling (He et al. 2014): level l pools into 2^l x 2^l bins.

    Bottom: (N, C, H, W). Top: (N, C * sum of 4^l). Each level is a Pooling layer whose windows do not overlap.
    """

    type = "SPP"
    settings = ("spp_param",)

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        return param.spp_param.pool == pb.SPPParameter.STOCHASTIC

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.height: int = self.param.spp_param.pyramid_height
        if self.height < 1:
            self.bad_param("pyramid_height must be at least 1")
        self.levels: list[Layer] = []
        self.pooled: list[Blob] = []
        self.flat: list[Blob] = []
        self.built: tuple[int, ...] = ()

    def _build(self, bottom: Sequence[Blob]) -> None:
        """Make the Pooling layers of the levels, whose windows depend on the size of the bottom. Raises ShapeError."""
        shape = bottom[0].shape
        method = pb.SPPParameter.PoolMethod.Name(self.param.spp_param.pool)
        self.levels, self.pooled, self.flat = [], [], []
        for level in range(self.height):
            bins = 2**level
            kernel = [-(-size // bins) for size in shape[2:]]
            pad = [(k * bins - size + 1) // 2 for k, size in zip(kernel, shape[2:], strict=True)]
            if any(p >= k for p, k in zip(pad, kernel, strict=True)):
                self.bad_shape(f"level {level} needs {bins} x {bins} bins, a bottom of shape {shape} is too small")
            param = pb.LayerParameter(
                name=f"{self.name}/level{level}", type="Pooling", pooling_param=pb.PoolingParameter(pool=method)
            )
            p = param.pooling_param
            p.kernel_h, p.kernel_w = kernel
            p.stride_h, p.stride_w = kernel
            p.pad_h, p.pad_w = pad
            layer = create(param, self.phase, self.context)
            pooled, flat = (Blob((), self.dtype, self.context.space) for _ in range(2))
            layer.setup(bottom, [pooled])
            self.levels.append(layer)
            self.pooled.append(pooled)
            self.flat.append(flat)
        self.built = shape[2:]

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            self.bad_shape(f"needs a bottom of shape (N, C, H, W), got {shape}")
        if shape[2:] != self.built:
            self._build(bottom)
        width = 0
        for level, pooled, flat in zip(self.levels, self.pooled, self.flat, strict=True):
            level.reshape(bottom, [pooled])
            flat.reshape(shape[0], pooled.count // max(1, shape[0]))
            flat.share_data(pooled)
            flat.share_diff(pooled)
            width += flat.shape[1]
        top[0].reshape(shape[0], width)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for level, pooled in zip(self.levels, self.pooled, strict=True):
            # both can be changed between runs; the draws are in snapshots, and go on where the size changes
            level.phase, level.rng = self.phase, self.rng
            level.forward(bottom, [pooled])
        y = top[0].data
        for flat, place in zip(self.flat, pieces(1, self.flat), strict=True):
            y[place] = flat.data

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy = top[0].diff
        total = None
        for i, place in enumerate(pieces(1, self.flat)):
            self.flat[i].diff[...] = dy[place]
            self.levels[i].backward([self.pooled[i]], [True], bottom)
            dx = bottom[0].diff
            total = dx.copy() if total is None else total + dx
        bottom[0].diff[...] = total
