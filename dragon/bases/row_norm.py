"""Base of the layers that normalise each sample by itself: GroupNorm, LayerNorm, InstanceNorm.

The bottom is viewed as rows of values that are normalised together: y = gamma (x - mean) / sqrt(var + eps) + beta.
gamma and beta have some of the axes of the bottom. TRAIN and TEST do the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["RowNorm"]


class RowNorm(Layer):
    """Base of the layers that normalise each sample by itself. Blobs: gamma and beta, if `learns`."""

    works_in_place = True
    pointwise = True
    family = "normalisation"

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Number of rows of a bottom of `shape`, and of values in each. Raises ShapeError."""
        raise NotImplementedError

    def affine_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of gamma and beta for a bottom of `shape`."""
        raise NotImplementedError

    def broadcast_shape(self, affine: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that gamma and beta, of shape `affine`, are viewed in to broadcast to a bottom of `shape`."""
        raise NotImplementedError

    def setup_norm(
        self,
        bottom: Sequence[Blob],
        eps: float,
        learns: bool,
        scale: pb.FillerParameter | None,
        bias: pb.FillerParameter,
    ) -> None:
        """The `setup` of a subclass, which passes its settings. Raises PrototxtError for a negative eps.

        scale, bias: fillers of gamma and beta; None for gamma fills it with 1.
        """
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
            self.affine_view = self.broadcast_shape(self.blobs[0].shape, shape)
            extents = enumerate(zip(self.affine_view, shape, strict=True))
            self.broadcast_axes = tuple(axis for axis, (a, b) in extents if a != b)
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
            xp.multiply(self.normal, self.blobs[0].data.reshape(self.affine_view), out=y)
            y += self.blobs[1].data.reshape(self.affine_view)
        else:
            y[...] = self.normal

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        if self.learns:
            for blob, diff in zip(self.blobs, (dy * self.normal, dy), strict=True):
                blob.diff[...] += diff.sum(axis=self.broadcast_axes).reshape(blob.shape)
            dy = dy * self.blobs[0].data.reshape(self.affine_view)
        if propagate_down[0]:
            d, normal = dy.reshape(self.view), self.normal.reshape(self.view)
            along = normal * (d * normal).mean(axis=1, keepdims=True)
            dx = (d - d.mean(axis=1, keepdims=True) - along) * self.inv
            bottom[0].diff[...] = dx.reshape(bottom[0].shape)
