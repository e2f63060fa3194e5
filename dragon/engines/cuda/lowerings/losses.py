"""Losses other than SoftmaxWithLoss, by losses.cu. Nothing waits for the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dragon.engines.cuda.kernels import losses as kernels
from dragon.engines.cuda.kernels.kernel import WARP, Kernel
from dragon.engines.cuda.lowerings.labels import Labelled
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.engines.cuda.lowerings.softmax import softmax
from dragon.memory.blob import Blob

__all__ = ["ContrastiveLowering", "ElementLossLowering", "HingeLowering", "InfogainLowering", "MultinomialLowering"]

LEAST = 1e-20  # smaller probabilities count as this, as in Caffe
LEAST_DISTANCE = 1e-4  # added to a distance that is divided by, as in Caffe


@dataclass(frozen=True)
class _Family:
    """The kernels of an element-wise loss.

    setting: their argument of this name. per_item: whether the sum is divided by the batch size, whatever loss_param
    says. signs: of the gradient with respect to each bottom.
    """

    kernels: kernels.ElementLoss
    setting: Callable[[Any], float]
    per_item: bool
    signs: tuple[float, ...]


FAMILIES = {
    "EuclideanLoss": _Family(kernels.euclidean, lambda layer: 0.5, True, (1.0, -1.0)),
    "SmoothL1Loss": _Family(kernels.smooth_l1, lambda layer: layer.sharpness, True, (1.0, -1.0)),
    "L1Loss": _Family(kernels.l1, lambda layer: 1.0, True, (1.0, -1.0)),
    "SigmoidCrossEntropyLoss": _Family(kernels.sigmoid_cross_entropy, lambda layer: 1.0, False, (1.0,)),
}


@lowers(*FAMILIES)
class ElementLossLowering(Labelled):
    """EuclideanLoss, L1Loss, SmoothL1Loss and SigmoidCrossEntropyLoss: a term for each element."""

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """Whether the kernels can: not FlowNet's settings of L1Loss, nor a difference as the only bottom."""
        return len(bottom) > 1 and not layer.param.HasField("l1_loss_param")

    @property
    def ignore(self) -> int | None:
        return None if self._family.per_item else super().ignore

    @property
    def _family(self) -> _Family:
        return FAMILIES[self.layer.type]

    def _operands(self, bottom: Sequence[Blob]) -> dict[str, Any]:
        """Arguments of both kernels.

        These are the two bottoms, the weights of their difference and of the term (or None), the ignored label, and
        the setting.
        """
        arrays = [blob.data for blob in bottom]
        names = ("first", "second", "insides", "outsides")
        return {
            **dict(zip(names, [*arrays, *[None] * (4 - len(arrays))], strict=True)), **self.ignored(),
            "setting": float(self._family.setting(self.layer)),
        }  # fmt: skip

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        family, count, items = self._family, bottom[0].count, bottom[0].shape[0]
        divisor = float(max(1, items)) if family.per_item else self.divisor(items, count // max(1, items))
        total = self.total(top[0].data, count, divisor)
        self.launch(family.kernels.terms, count=count, **self._operands(bottom), **total)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        family = self._family
        self.layer.check_propagation(propagate_down)
        for blob, wanted, sign in zip(bottom, propagate_down, family.signs, strict=False):
            if wanted:
                dx = blob.diff
                self.launch(
                    family.kernels.backward, top_diff=top[0].diff, divisor=self.buffer("divisor", 1), dx=dx,
                    count=dx.size, sign=sign, **self._operands(bottom),
                )  # fmt: skip


class _Rows(Labelled):
    """A layer whose labels belong to rows of classes and are never ignored."""

    @property
    def ignore(self) -> int | None:
        return None

    def classes(self, bottom: Sequence[Blob]) -> int:
        return bottom[0].count // bottom[0].shape[0]


class _RowLoss(_Rows):
    """A loss with a term for each row."""

    terms: ClassVar[Kernel]  # forward
    threads: ClassVar[int] = 1  # that compute the term of a row
    gradient: ClassVar[Kernel]  # backward

    @property
    def setting(self) -> dict[str, Any]:
        """The kernels' last argument."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        rows, classes = bottom[0].shape[0], self.classes(bottom)
        total = self.total(top[0].data, rows * self.threads, float(rows))
        x, label = bottom[0].data, bottom[1].data
        self.launch(self.terms, x=x, label=label, rows=rows, classes=classes, **self.setting, **total)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.layer.check_propagation(propagate_down)
        if propagate_down[0]:
            dx = bottom[0].diff
            self.launch(
                self.gradient, x=bottom[0].data, label=bottom[1].data, top_diff=top[0].diff,
                divisor=self.buffer("divisor", 1), dx=dx, count=dx.size, classes=self.classes(bottom), **self.setting,
            )  # fmt: skip


@lowers("HingeLoss")
class HingeLowering(_RowLoss):
    """HingeLoss, with the L1 or the squared L2 norm."""

    terms, gradient = kernels.hinge_terms, kernels.hinge_backward
    threads = WARP

    @property
    def setting(self) -> dict[str, Any]:
        return {"square": bool(self.layer.squared)}


@lowers("MultinomialLogisticLoss")
class MultinomialLowering(_RowLoss):
    """MultinomialLogisticLoss of probabilities."""

    terms, gradient = kernels.multinomial_terms, kernels.multinomial_backward

    @property
    def setting(self) -> dict[str, Any]:
        return {"least": LEAST}


@lowers("InfogainLoss")
class InfogainLowering(Labelled):
    """InfogainLoss: softmax, then the terms weighted by a matrix (classes, classes)."""

    def _gains(self, bottom: Sequence[Blob]) -> Any:
        return (bottom[2] if self.layer.matrix is None else self.layer.matrix).data

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, prob = self.layer, self.layer.prob.data
        outer, classes, inner = layer.spans
        positions = outer * inner
        softmax(self, bottom[0].data, prob, layer.spans)
        self.launch(
            kernels.infogain_terms, prob=prob, label=bottom[1].data, gains=self._gains(bottom),
            totals=self.buffer("totals", positions), positions=positions, classes=classes, inner=inner,
            **self.ignored(), least=LEAST, **self.total(top[0].data, positions, self.divisor(outer, inner)),
        )  # fmt: skip

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer = self.layer
        layer.check_propagation(propagate_down)
        if propagate_down[0]:
            outer, classes, inner = layer.spans
            dx = bottom[0].diff
            self.launch(
                kernels.infogain_backward, prob=layer.prob.data, label=bottom[1].data, gains=self._gains(bottom),
                totals=self.buffer("totals", outer * inner), top_diff=top[0].diff, divisor=self.buffer("divisor", 1),
                dx=dx, count=dx.size, classes=classes, inner=inner, **self.ignored(),
            )  # fmt: skip


@lowers("ContrastiveLoss")
class ContrastiveLowering(_Rows):
    """ContrastiveLoss. Bottom 2 says which pairs are similar; any number is a valid label."""

    def _operands(self, bottom: Sequence[Blob]) -> dict[str, Any]:
        """Arguments of both kernels."""
        layer = self.layer
        arrays = dict(zip(("a", "b", "similar"), [blob.data for blob in bottom], strict=True))
        return {
            **arrays, "squares": self.buffer("squares", bottom[0].shape[0]), "length": self.classes(bottom),
            "legacy": layer.legacy, "margin": float(layer.margin),
        }  # fmt: skip

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        rows = bottom[0].shape[0]
        total = self.total(top[0].data, rows * WARP, float(2 * max(1, rows)))
        self.launch(kernels.contrastive_terms, rows=rows, **self._operands(bottom), **total)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.layer.check_propagation(propagate_down)
        for blob, wanted, sign in zip(bottom[:2], propagate_down, (1.0, -1.0), strict=False):
            if wanted:
                dx = blob.diff
                self.launch(
                    kernels.contrastive_backward, top_diff=top[0].diff, divisor=self.buffer("divisor", 1), dx=dx,
                    count=dx.size, least=LEAST_DISTANCE, sign=sign, **self._operands(bottom),
                )  # fmt: skip
