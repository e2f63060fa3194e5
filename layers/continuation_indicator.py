"""The layer type ContinuationIndicator."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["ContinuationIndicator"]


@register()
class ContinuationIndicator(Layer):
    """The marks that LSTM and RNN take as bottom 1, (T, N): 0 at the first step, then 1, so each batch begins anew.

    T is `time_step`, N is `batch_size`. Where one of them is not set, bottom 0 (T, N, ...) says it, of which only the
    shape counts. Where both are set, a bottom (N) holds 1 for each sequence that goes on from the batch before; `flag`
    says so of all sequences. warpctc-caffe's takes no bottom and has no `flag`.
    """

    type = "ContinuationIndicator"
    settings = ("continuation_indicator_param",)
    bottoms = (0, 1)
    size_bottoms = frozenset({0})

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.continuation_indicator_param
        self.measures = not (p.time_step and p.batch_size)
        if self.measures and not bottom:
            self.bad_param("needs time_step and batch_size, or a bottom of shape (T, N, ...) to take them from")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.continuation_indicator_param
        shape = p.time_step, p.batch_size
        if self.measures:
            given = bottom[0].shape
            if len(given) < 2 or any(wanted not in (0, has) for wanted, has in zip(shape, given, strict=False)):
                expected = ", ".join(str(size) if size else name for size, name in zip(shape, "TN", strict=True))
                self.bad_shape(f"needs a bottom of shape ({expected}, ...), got {given}")
            shape = given[0], given[1]
        elif bottom and bottom[0].count != p.batch_size:
            self.bad_shape(
                f"bottom 0 says whether sequences go on: it must hold {how_many(p.batch_size, 'value')}, "
                f"got shape {bottom[0].shape}"
            )
        top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        y[...] = 1
        if self.param.continuation_indicator_param.flag:
            return
        y[:1] = 0
        if bottom and not self.measures:
            going_on = bottom[0].data.reshape(-1)
            y[:1] = xp_of(y).abs(going_on - 1) <= 0.01

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Zeros: the marks do not depend on the values of the bottom."""
        if any(propagate_down):
            bottom[0].diff[...] = 0
