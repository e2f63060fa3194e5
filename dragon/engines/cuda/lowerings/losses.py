"""Launches losses.cu: the losses other than SoftmaxWithLoss, without a word to the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dragon.engines.cuda.lowerings.labels import Labelled
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.engines.cuda.lowerings.softmax import WARP, softmax
from dragon.memory.blob import Blob

__all__ = ["ContrastiveLowering", "ElementLossLowering", "HingeLowering", "InfogainLowering", "MultinomialLowering"]

FILE = "losses"
MOST_BLOCKS = 256  # whose sums one block then adds up
LEAST = 1e-20  # a smaller probability counts as this
LEAST_DISTANCE = 1e-4  # added to one before dividing by it


@dataclass(frozen=True)
class _Family:
    """name: of the kernels. setting: theirs. per_item: whether the sum is divided by the batch, whatever loss_param
    says; signs: of the slope by each bottom."""

    name: str
    setting: Callable[[Any], float]
    per_item: bool
    signs: tuple[float, ...]


FAMILIES = {
    "EuclideanLoss": _Family("euclidean", lambda layer: 0.5, True, (1.0, -1.0)),
    "SmoothL1Loss": _Family("smooth_l1", lambda layer: layer.sharpness, True, (1.0, -1.0)),
    "SigmoidCrossEntropyLoss": _Family("sigmoid_cross_entropy", lambda layer: 1.0, False, (1.0,)),
}


@lowers(*FAMILIES)
class ElementLossLowering(Labelled):
    @property
    def ignore(self) -> int | None:
        return None if self._family.per_item else super().ignore

    @property
    def _family(self) -> _Family:
        return FAMILIES[self.layer.type]

    def _operands(self, bottom: Sequence[Blob]) -> tuple[Any, ...]:
        """Both sides, then the weights of their difference and of the term, which may be None."""
        arrays = [blob.data for blob in bottom]
        return *arrays, *[None] * (4 - len(arrays))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        family, count, items = self._family, bottom[0].count, bottom[0].shape[0]
        blocks = min(self.device.grid(count), MOST_BLOCKS)
        terms = self.device.workspace(2 * blocks, self.dtype)
        self.launch(
            FILE, f"{family.name}_terms", blocks, *self._operands(bottom), terms, count, *self.ignored(),
            float(family.setting(self.layer)),
        )  # fmt: skip
        divisor = float(max(1, items)) if family.per_item else self.divisor(items, count // max(1, items))
        self.sum_terms(terms, top[0].data, blocks, divisor)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        family = self._family
        self.layer.check_propagation(propagate_down)
        for blob, wanted, sign in zip(bottom, propagate_down, family.signs, strict=False):
            if wanted:
                dx = blob.diff
                self.spread(
                    FILE, f"{family.name}_backward", dx.size, *self._operands(bottom), top[0].diff,
                    self.room("divisor", 1), dx, dx.size, *self.ignored(), float(family.setting(self.layer)), sign,
                )  # fmt: skip


class _Rows(Labelled):
    """A row of classes for each label, all of which count."""

    @property
    def ignore(self) -> int | None:
        return None

    def classes(self, bottom: Sequence[Blob]) -> int:
        return bottom[0].count // bottom[0].shape[0]


class _RowLoss(_Rows):
    """A term for each row. name: of the kernels; a row takes `width` threads."""

    name: ClassVar[str]
    width: ClassVar[int]

    setting: Any  # the kernels' last argument

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        rows, classes = bottom[0].shape[0], self.classes(bottom)
        x, label, terms = bottom[0].data, bottom[1].data, self.device.workspace(2 * rows, self.dtype)
        self.spread(FILE, f"{self.name}_terms", rows * self.width, x, label, terms, rows, classes, self.setting)
        self.sum_terms(terms, top[0].data, rows, float(rows))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.layer.check_propagation(propagate_down)
        if propagate_down[0]:
            dx = bottom[0].diff
            self.spread(
                FILE, f"{self.name}_backward", dx.size, bottom[0].data, bottom[1].data, top[0].diff,
                self.room("divisor", 1), dx, dx.size, self.classes(bottom), self.setting,
            )  # fmt: skip


@lowers("HingeLoss")
class HingeLowering(_RowLoss):
    name = "hinge"
    width = WARP

    @property
    def setting(self) -> bool:
        return bool(self.layer.squared)


@lowers("MultinomialLogisticLoss")
class MultinomialLowering(_RowLoss):
    name = "multinomial"
    width = 1
    setting = LEAST


@lowers("InfogainLoss")
class InfogainLowering(Labelled):
    def _gains(self, bottom: Sequence[Blob]) -> Any:
        return (bottom[2] if self.layer.matrix is None else self.layer.matrix).data

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, prob = self.layer, self.layer.prob.data
        outer, classes, inner = layer.spans
        positions = outer * inner
        softmax(self, bottom[0].data, prob, layer.spans)
        terms = self.device.workspace(2 * positions, self.dtype)
        self.spread(
            FILE, "infogain_terms", positions, prob, bottom[1].data, self._gains(bottom), terms,
            self.room("totals", positions), positions, classes, inner, *self.ignored(), LEAST,
        )  # fmt: skip
        self.sum_terms(terms, top[0].data, positions, self.divisor(outer, inner))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer = self.layer
        layer.check_propagation(propagate_down)
        if propagate_down[0]:
            outer, classes, inner = layer.spans
            dx = bottom[0].diff
            self.spread(
                FILE, "infogain_backward", dx.size, layer.prob.data, bottom[1].data, self._gains(bottom),
                self.room("totals", outer * inner), top[0].diff, self.room("divisor", 1), dx, dx.size, classes, inner,
                *self.ignored(),
            )  # fmt: skip


@lowers("ContrastiveLoss")
class ContrastiveLowering(_Rows):
    """bottom 2 says which pairs are similar: any number will do, so there is no fault."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, rows = self.layer, bottom[0].shape[0]
        terms, squares = self.device.workspace(2 * rows, self.dtype), self.room("squares", rows)
        self.spread(
            FILE, "contrastive_terms", rows * WARP, *[blob.data for blob in bottom], terms, squares, rows,
            self.classes(bottom), layer.legacy, float(layer.margin),
        )  # fmt: skip
        self.sum_terms(terms, top[0].data, rows, float(2 * max(1, rows)))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer = self.layer
        layer.check_propagation(propagate_down)
        for blob, wanted, sign in zip(bottom[:2], propagate_down, (1.0, -1.0), strict=False):
            if wanted:
                dx = blob.diff
                self.spread(
                    FILE, "contrastive_backward", dx.size, *[each.data for each in bottom],
                    self.room("squares", bottom[0].shape[0]), top[0].diff, self.room("divisor", 1), dx, dx.size,
                    self.classes(bottom), layer.legacy, float(layer.margin), LEAST_DISTANCE, sign,
                )  # fmt: skip
