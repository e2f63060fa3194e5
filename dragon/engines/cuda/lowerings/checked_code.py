"""Layers with labels that run their array code: a kernel checks the labels, so that nothing waits for the host."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.engines.cuda.kernels.indices import check_labels
from dragon.engines.cuda.kernels.kernel import MOST
from dragon.engines.cuda.lowerings.labels import Labelled
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["LabelledCodeLowering"]


class _CheckedCode(Lowering):
    """The array code of a layer, which is told that its labels or indices are checked."""

    array_code = True

    def launch_check(self, bottom: Sequence[Blob]) -> None:
        """Launch the kernel that checks the labels or indices; see `out_of_range`."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.launch_check(bottom)
        self.layer.indices_checked = True
        try:
            self.layer.forward(bottom, top)
        finally:
            self.layer.indices_checked = False

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.layer.backward(top, propagate_down, bottom)


@lowers("CenterLoss", "FocalLoss", "LabelSpecificAdd", "LargeMarginInnerProduct", "MarginInnerProduct")
class LabelledCodeLowering(_CheckedCode, Labelled):
    """Layers whose bottom 1 has labels, the numbers of classes: `label_range` says which."""

    @property
    def ignore(self) -> int | None:
        ignored: int | None = self.layer.label_range[1]
        return ignored

    def classes(self, bottom: Sequence[Blob]) -> int:
        return int(self.layer.label_range[0])

    def launch_check(self, bottom: Sequence[Blob]) -> None:
        labels, found = bottom[1], self.out_of_range
        if found is None:  # in a dry run
            found = self.buffer("out_of_range", 1, "int32")
        self.launch(
            check_labels, labels=labels.data, out_of_range=found, count=labels.count, classes=self.classes(bottom),
            **self.ignored(),
        )  # fmt: skip

    def describe_out_of_range(self, bottom: Sequence[Blob], position: int) -> str:
        return super().describe_out_of_range(bottom, MOST - 1 - position)  # counted from the other end
