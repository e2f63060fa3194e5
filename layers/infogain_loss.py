"""The layer type InfogainLoss."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss, class_labels, label_spans, without_ignored
from dragon.errors import DataError, WeightsError
from dragon.layers.softmax import softmax
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto.blobs import read_blobproto

__all__ = ["InfogainLoss"]

_MIN_PROBABILITY = 1e-20  # smaller probabilities count as this, as in Caffe


@register()
class InfogainLoss(Loss):
    """Softmax, then -sum_k H[label, k] log(p_k), divided as `loss_param` says.

    H (classes x classes) is bottom 2, or is read from the BlobProto file `source`; with the identity this is
    SoftmaxWithLoss. The second top holds the probabilities.
    """

    type = "InfogainLoss"
    settings = ("infogain_loss_param", "loss_param")
    bottoms = (2, 3)
    tops = (1, 2)
    labels = frozenset({1, 2})

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.prob = Blob((), self.dtype, self.context.space)
        self.matrix: Blob | None = None
        source = self.param.infogain_loss_param.source
        if len(bottom) > 2:
            return
        if not source:
            self.bad_param("needs the matrix H: a third bottom, or infogain_loss_param { source: FILE }")
        try:
            values = read_blobproto(self.find(source, "infogain matrix"))
        except WeightsError as error:
            raise DataError(f"infogain matrix {error}", layer=self.where) from None
        self.matrix = Blob(values.shape, self.dtype, self.context.space)
        self.matrix.data[...] = values

    def _gain(self, bottom: Sequence[Blob]) -> Blob:
        return bottom[2] if self.matrix is None else self.matrix

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.spans = label_spans(self, shape, bottom[1].shape, self.param.infogain_loss_param.axis)
        classes, gain = self.spans[1], self._gain(bottom).shape
        if gain[-2:] != (classes, classes) or self._gain(bottom).count != classes**2:
            self.bad_shape(f"the infogain matrix must have shape {(classes, classes)}, got {gain}")
        top[0].reshape(())
        self.prob.reshape(shape)
        if len(top) > 1:
            top[1].reshape(shape)
            top[1].share_data(self.prob)

    def _rows(self, bottom: Sequence[Blob]) -> tuple[Array, Array | None]:
        """The row of H for each label (outer, classes, inner), and the labels that count (outer, 1, inner)."""
        outer, classes, inner = self.spans
        label, valid = class_labels(self, bottom[1].data, classes, self.ignore_label)
        rows = self._gain(bottom).data.reshape(classes, classes)[label.reshape(outer, inner)].swapaxes(1, 2)
        return rows, None if valid is None else valid.reshape(outer, 1, inner)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        outer, _, inner = self.spans
        prob = self.prob.data.reshape(self.spans)
        xp = xp_of(prob)
        rows, valid = self._rows(bottom)
        softmax(bottom[0].data.reshape(self.spans), 1, prob)
        self.divisor = self.normalizer(outer, inner, outer * inner if valid is None else int(valid.sum()))
        losses = without_ignored(rows * xp.log(xp.maximum(prob, _MIN_PROBABILITY)), valid)
        top[0].data[...] = -losses.sum() / self.divisor

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if propagate_down[0]:
            rows, valid = self._rows(bottom)
            prob = self.prob.data.reshape(self.spans)
            dx = without_ignored(prob * rows.sum(axis=1, keepdims=True) - rows, valid)
            dx *= top[0].diff / self.divisor
            bottom[0].diff[...] = dx.reshape(bottom[0].shape)
