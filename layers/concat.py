"""The layer type Concat, and the slices of a blob that others make up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob

__all__ = ["Concat", "pieces"]


def pieces(along: int, blobs: Sequence[Blob]) -> Iterator[tuple[slice | int, ...]]:
    """For each of `blobs`, its slice of their concatenation along axis `along`."""
    start = 0
    for blob in blobs:
        stop = start + blob.shape[along]
        yield (*([slice(None)] * along), slice(start, stop))
        start = stop


@register()
class Concat(Layer):
    """The bottoms one after another along `axis` (`concat_dim` in older files)."""

    type = "Concat"
    works_in_place = True
    settings = ("concat_param",)
    pointwise = True
    bottoms = (1, None)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.concat_param
        if p.HasField("axis") and p.HasField("concat_dim"):
            self.bad_param("has both axis and concat_dim: leave concat_dim out, it is the older name")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.concat_param
        shape = list(bottom[0].shape)
        self.along = self.axis(p.concat_dim if p.HasField("concat_dim") else p.axis, len(shape))
        rest = shape[: self.along] + shape[self.along + 1 :]
        for i, blob in enumerate(bottom[1:], 1):
            other = list(blob.shape)
            if len(other) != len(shape) or other[: self.along] + other[self.along + 1 :] != rest:
                self.bad_shape(
                    f"bottom {i} must equal bottom 0 except on axis {self.along}: "
                    f"expected {bottom[0].shape}, got {blob.shape}"
                )
            shape[self.along] += other[self.along]
        top[0].reshape(shape)
        if len(bottom) == 1:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom) > 1:
            y = top[0].data
            for blob, place in zip(bottom, pieces(self.along, bottom), strict=True):
                y[place] = blob.data

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(bottom) > 1:
            dy = top[0].diff
            for blob, place, wanted in zip(bottom, pieces(self.along, bottom), propagate_down, strict=True):
                if wanted:
                    blob.diff[...] = dy[place]
