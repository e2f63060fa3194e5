"""Base of loss layers: normaliser, checks of class labels, no gradient for labels.

A loss is the scalar sum / normaliser. In backward its gradient is multiplied by the diff of top 0, which the net sets
to the loss weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Loss", "class_labels", "label_spans", "without_ignored"]


class Loss(Layer):
    """Base of loss layers. Bottoms: predictions (N, ...) and labels (N, ...). Top: the loss, a scalar."""

    bottoms = (2, 2)
    tops = (1, 1)
    is_loss = True
    auto_tops = True
    default_normalization = pb.LossParameter.VALID
    labels: frozenset[int] = frozenset({1})  # bottoms without a gradient

    def can_propagate(self, index: int) -> bool:
        return index not in self.labels

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        first = bottom[0].shape[:1]
        if not first or bottom[1].shape[:1] != first:
            self.bad_shape(
                f"bottom 1 must have as many items as bottom 0: expected {first}, got {bottom[1].shape[:1]} "
                f"(shapes {bottom[0].shape} and {bottom[1].shape})"
            )
        top[0].reshape(())

    def check_one_label_per_item(self, bottom: Sequence[Blob]) -> None:
        """Raise ShapeError unless there is exactly one label for each item."""
        if bottom[1].count != bottom[0].shape[0]:
            self.bad_shape(f"expected {how_many(bottom[0].shape[0], 'label')}, got shape {bottom[1].shape}")

    def check_propagation(self, propagate_down: Sequence[bool]) -> None:
        """Raise PrototxtError if a gradient of a label is asked for."""
        for index in sorted(self.labels):
            if index < len(propagate_down) and propagate_down[index]:
                self.bad_param(f"bottom {index} is a label and has no gradient; set its propagate_down to false")

    @property
    def ignore_label(self) -> int | None:
        """The label that does not count; None if all of them do."""
        p = self.param.loss_param
        return p.ignore_label if p.HasField("ignore_label") else None

    @property
    def normalization(self) -> int:
        """The NormalizationMode in force; the older setting `normalize` chooses between VALID and BATCH_SIZE."""
        p = self.param.loss_param
        if p.HasField("normalization"):
            return p.normalization
        if p.HasField("normalize"):
            return pb.LossParameter.VALID if p.normalize else pb.LossParameter.BATCH_SIZE
        return self.default_normalization

    def normalizer(self, outer: int, inner: int, valid: int) -> float:
        """What the sum of the losses is divided by, at least 1.

        outer: the batch size. inner: labels for each item. valid: labels that are not ignored.
        """
        mode = self.normalization
        if mode == pb.LossParameter.FULL:
            count = outer * inner
        elif mode == pb.LossParameter.VALID:
            count = valid
        elif mode == pb.LossParameter.PRE_FIXED:
            return float(max(1.0, self.param.loss_param.pre_fixed_normalizer))
        else:
            count = outer if mode == pb.LossParameter.BATCH_SIZE else 1
        return float(max(1, count))


def label_spans(layer: Layer, shape: tuple[int, ...], labels: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Counts (outer, classes, inner) of predictions of `shape` with the classes at `axis`.

    Raises ShapeError unless `labels`, the shape of the labels, has outer * inner values.
    """
    axis = layer.axis(axis, len(shape))
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    if math.prod(labels) != outer * inner:
        layer.bad_shape(
            f"expected {how_many(outer * inner, 'label')} for predictions of shape {shape} with classes at axis "
            f"{axis}, "
            f"got {math.prod(labels)} (shape {labels})"
        )
    return outer, shape[axis], inner


def without_ignored(values: Array, valid: Array | None) -> Array:
    """`values` with 0 where `valid` is false, even in place of NaN: what stands at ignored labels does not count.

    valid: as `class_labels` gives it, of a shape that broadcasts to that of `values`.
    """
    return values if valid is None else xp_of(values).where(valid, values, values.dtype.type(0))


def class_labels(layer: Layer, labels: Array, classes: int, ignore: int | None) -> tuple[Array, Array | None]:
    """The labels as class indices (int64, ignored ones 0), and a mask of those not ignored (None: none is ignored).

    Raises DataError for the first label outside 0 .. classes - 1. Where the layer's labels are checked elsewhere, such
    labels count as 0.
    """
    xp = xp_of(labels)
    valid: Array | None = None
    fits = (labels >= 0) & (labels < classes)
    if ignore is not None:
        valid = labels != ignore
        fits = fits | ~valid
    if layer.labels_checked:
        return xp.where(fits if valid is None else fits & valid, labels, 0).astype("int64"), valid
    if not bool(fits.all()):
        flat = int((~fits).ravel().argmax())
        position = tuple(int(i) for i in np.unravel_index(flat, labels.shape))
        raise DataError(
            f"label {float(labels[position]):g} at position {position} is out of range: "
            f"expected 0 to {classes - 1} for {how_many(classes, 'class')}"
            + (f", or {ignore} to be ignored" if ignore is not None else ""),
            layer=layer.where,
        )
    indices = (labels if valid is None else xp.where(valid, labels, 0)).astype("int64")
    return indices, valid
