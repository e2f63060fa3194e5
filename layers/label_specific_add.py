"""The layer type LabelSpecificAdd."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import TRAIN, Layer, register
from dragon.bases.loss import class_labels
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["LabelSpecificAdd"]


@register()
class LabelSpecificAdd(Layer):
    """Adds `bias` to the score of the own class, where that is above -bias (AM-Softmax; Wang et al. 2018).

    Bottoms: scores (N, classes), usually cosines, and labels (N). Tops: scores, and optionally the bias (1). With
    `bias_base` the bias of training iteration n, counted from `iteration`, is bias_base + (1 + bias_gamma n)^bias_power
    - 1, limited to bias_min .. bias_max. TEST copies, unless `transform_test` is set. The gradient passes unchanged.
    """

    type = "LabelSpecificAdd"
    settings = ("label_specific_add_param",)
    unlimited = frozenset({"bias_max"})
    bottoms = (2, 2)
    tops = (1, 2)
    works_in_place = True

    def can_propagate(self, index: int) -> bool:
        return index == 0

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        return not param.label_specific_add_param.transform_test

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.label_specific_add_param
        if p.bias_gamma < 0:
            self.bad_param(f"bias_gamma must not be negative, got {p.bias_gamma:g}")
        if p.HasField("bias_base") and p.bias_min > p.bias_max:
            self.bad_param(f"bias_min must not exceed bias_max, got {p.bias_min:g} and {p.bias_max:g}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2 or bottom[0].count != shape[0] * shape[1]:
            self.bad_shape(f"needs scores (N, classes), got shape {shape}")
        if bottom[1].count != shape[0]:
            self.bad_shape(f"expected {how_many(shape[0], 'label')}, got shape {bottom[1].shape}")
        self.label_range = shape[1], None
        if top[0] is not bottom[0]:
            top[0].reshape(shape)
        if len(top) > 1:
            top[1].reshape(1)

    @property
    def bias(self) -> float:
        """What is added in the present iteration. Passes of TRAIN are counted as draws of the layer's stream."""
        p = self.param.label_specific_add_param
        if not p.HasField("bias_base"):
            return p.bias
        with np.errstate(over="ignore"):  # infinity is limited as well
            growth = np.float64(1 + p.bias_gamma * (p.iteration + self.rng.draws)) ** p.bias_power
        grown = p.bias_base + growth - 1
        return float(min(max(grown, p.bias_min), p.bias_max))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y, bias = top[0].data, self.bias
        if top[0] is not bottom[0]:
            y[...] = bottom[0].data
        label = class_labels(self, bottom[1].data, *self.label_range)[0].reshape(-1)
        if len(top) > 1:
            top[1].data[...] = bias
        if self.phase == TRAIN:
            self.rng.draws += 1
        elif not self.param.label_specific_add_param.transform_test:
            return
        scores = y.reshape(len(label), self.label_range[0])
        own = (xp_of(y).arange(len(label)), label)
        step = y.dtype.type(bias)
        scores[own] += step * (scores[own] > -step)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            self.bad_param("bottom 1 is a label and has no gradient; set its propagate_down to false")
        if propagate_down[0] and top[0] is not bottom[0]:
            bottom[0].diff[...] = top[0].diff
