"""Accuracy, by accuracy.cu. Nothing waits for the host."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.engines.cuda.kernels import accuracy as kernels
from dragon.engines.cuda.kernels.kernel import WARP
from dragon.engines.cuda.lowerings.labels import Labelled
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.memory.blob import Blob

__all__ = ["AccuracyLowering"]


@lowers("Accuracy")
class AccuracyLowering(Labelled):
    """Accuracy, of all labels and, with a second top, of each class."""

    half = True
    float32_bottoms = (1,)
    float32_tops = (0, 1)

    @property
    def ignore(self) -> int | None:
        ignore: int | None = self.layer.ignore
        return ignore

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        outer, classes, inner = self.layer.spans
        positions = outer * inner
        by_class = len(top) > 1
        given = {
            "score": bottom[0].data, "label": bottom[1].data, "positions": positions, "classes": classes,
            "terms": self.buffer("terms", 2 * positions) if by_class else None, "top_k": self.layer.top_k,
            **self.ignored(),
        }  # fmt: skip
        if inner > 1:
            self.launch(
                kernels.accuracy_columns, **given, **self.total(top[0].data, positions, 0.0), inner=inner
            )  # fmt: skip
        else:
            self.launch(kernels.accuracy_rows, **given, **self.total(top[0].data, positions * WARP, 0.0))
        if by_class:
            self.launch(
                kernels.class_accuracy, grid=classes, terms=given["terms"], label=bottom[1].data, out=top[1].data,
                positions=positions,
            )  # fmt: skip

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """A count has no gradient."""
