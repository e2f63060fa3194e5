"""Base of normalisers whose statistics belong to one sample: GroupNorm, LayerNorm, InstanceNorm.

The bottom is seen as rows of values that are normalised together, y = gamma (x - mean) / sqrt(var + eps) + beta; gamma
and beta are laid over the axes that the subclass names. TRAIN and TEST do the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["RowNorm"]


class RowNorm(Layer):
    """Blobs, where the layer learns: gamma, beta."""

    works_in_place = True
    pointwise = True
    normalises = "sample"
    family = "normalisation"

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(rows, values in each) of a bottom of `shape`; raises ShapeError."""
        raise NotImplementedError

    def affine_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of gamma and beta for a bottom of `shape`."""
        raise NotImplementedError

    def lay(self, affine: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which gamma and beta match a bottom of `shape`, extents of 1 being repeated."""
        raise NotImplementedError

    def start(
        self,
        bottom: Sequence[Blob],
        eps: float,
        learns: bool,
        scale: pb.FillerParameter | None,
        bias: pb.FillerParameter,
    ) -> None:
        """What a subclass's `setup` does with its settings; gamma starts at 1 unless it has a filler."""
        self.eps = eps
        self.learns = learns
        if not eps >= 0:
            self.bad_param(f"eps must not be negative, got {eps:g}")
        self.rows(bottom[0].shape)
        if learns:
            shape = self.affine_shape(bottom[0].shape)
            self.add_blob(shape, pb.FillerParameter(value=1) if scale is None else scale, "scale")
            self.add_blob(shape, bias, "bias")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.view = self.rows(shape)
        if self.learns:
            if self.affine_shape(shape) != self.blobs[0].shape:
                self.bad_shape(
                    f"has a scale of shape {self.blobs[0].shape}, which does not fit a bottom of shape {shape}"
                )
            self.laid = self.lay(self.blobs[0].shape, shape)
            self.repeated = tuple(i for i, (a, b) in enumerate(zip(self.laid, shape, strict=True)) if a != b)
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data.reshape(self.view)
        xp = xp_of(x)
        normal = x - x.mean(axis=1, keepdims=True)
        self.inv = 1 / xp.sqrt((normal * normal).mean(axis=1, keepdims=True) + x.dtype.type(self.eps))
        normal *= self.inv
        self.normal = normal.reshape(bottom[0].shape)
        y = top[0].data
        if self.learns:
            xp.multiply(self.normal, self.blobs[0].data.reshape(self.laid), out=y)
            y += self.blobs[1].data.reshape(self.laid)
        else:
            y[...] = self.normal

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        if self.learns:
            for blob, diff in zip(self.blobs, (dy * self.normal, dy), strict=True):
                blob.diff[...] += diff.sum(axis=self.repeated).reshape(blob.shape)
            dy = dy * self.blobs[0].data.reshape(self.laid)
        if propagate_down[0]:
            d, normal = dy.reshape(self.view), self.normal.reshape(self.view)
            along = normal * (d * normal).mean(axis=1, keepdims=True)
            dx = (d - d.mean(axis=1, keepdims=True) - along) * self.inv
            bottom[0].diff[...] = dx.reshape(bottom[0].shape)
