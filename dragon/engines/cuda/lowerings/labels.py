"""What lowerings with labels share: the end of a loss, and the message for a label that is out of range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.engines.cuda.lowerings.lowering import Lowering
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Labelled"]


class Labelled(Lowering):
    """The lowering of a layer whose bottom 1 has labels, the numbers of classes, unless `label_blob` finds another."""

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    @property
    def ignore(self) -> int | None:
        """The label that is ignored, or None."""
        ignore: int | None = self.layer.ignore_label
        return ignore

    def label_blob(self, bottom: Sequence[Blob]) -> Blob:
        """The bottom with the labels."""
        return bottom[1]

    def classes(self, bottom: Sequence[Blob]) -> int:
        """The number of classes."""
        return int(self.layer.spans[1])

    def ignored(self) -> dict[str, int]:
        """The kernels' arguments has_ignore and ignore."""
        return {"has_ignore": self.ignore is not None, "ignore": self.ignore or 0}

    def divisor(self, outer: int, inner: int) -> float:
        """The number by which the sum of the terms is divided; 0: the number of labels that count, known on the GPU."""
        layer = self.layer
        by_valid = layer.normalization == pb.LossParameter.VALID and self.ignore is not None
        return 0.0 if by_valid else float(layer.normalizer(outer, inner, outer * inner))

    def describe_out_of_range(self, bottom: Sequence[Blob], position: int) -> str:
        labels, classes, ignore = self.label_blob(bottom).peek(), self.classes(bottom), self.ignore
        at = tuple(int(i) for i in np.unravel_index(position, labels.shape))
        return (
            f"label {float(labels[at]):g} at position {at} is out of range: "
            f"expected 0 to {classes - 1} for {how_many(classes, 'class')}"
            + (f", or {ignore} to be ignored" if ignore is not None else "")
        )

    def total(self, out: Any, work: int, divisor: float) -> dict[str, Any]:
        """Grid and arguments of a kernel that ends as terms.cuh says, for `work` threads: out = sum of terms / divisor.

        divisor: 0 for the number of terms that count. The buffer "divisor" becomes it.
        """
        blocks = self.device.grid(work)
        return {
            "grid": blocks, "parts": self.device.workspace(2 * blocks, self.dtype), "out": out,
            "kept_divisor": self.buffer("divisor", 1), "out_of_range": self.out_of_range,
            "arrived": self.counter("arrived"), "divisor": divisor,
        }  # fmt: skip
