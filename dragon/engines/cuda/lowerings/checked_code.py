"""Layers with labels that run their array code: a kernel checks the labels, so that nothing waits for the host."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.engines.cuda.kernels.indices import check_indices, check_labels
from dragon.engines.cuda.lowerings.labels import Labelled
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.memory.blob import Blob

__all__ = ["LabelSequenceLowering", "LabelledCodeLowering"]


@lowers("CenterLoss", "FocalLoss", "LabelSpecificAdd", "LargeMarginInnerProduct", "MarginInnerProduct")
class LabelledCodeLowering(Labelled):
    """Layers whose bottom 1 has labels, the numbers of classes: `label_range` says which."""

    array_code = True

    @property
    def ignore(self) -> int | None:
        ignored: int | None = self.layer.label_range[1]
        return ignored

    def classes(self, bottom: Sequence[Blob]) -> int:
        return int(self.layer.label_range[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._launch_check(bottom)
        self.layer.labels_checked = True
        try:
            self.layer.forward(bottom, top)
        finally:
            self.layer.labels_checked = False

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.layer.backward(top, propagate_down, bottom)

    def _launch_check(self, bottom: Sequence[Blob]) -> None:
        """Launch the kernel that checks the labels; see `out_of_range`."""
        labels, found = self.label_blob(bottom), self.out_of_range
        if found is None:  # in a dry run
            found = self.buffer("out_of_range", 1, "int32")
        self.launch(
            check_labels, labels=labels.data, out_of_range=found, count=labels.count, classes=self.classes(bottom),
            **self.ignored(),
        )  # fmt: skip


@lowers("CTCLoss")
class LabelSequenceLowering(LabelledCodeLowering):
    """The last bottom has the labels; bottoms with numbers of steps and labels are checked with them."""

    def label_blob(self, bottom: Sequence[Blob]) -> Blob:
        return bottom[-1]

    def _launch_check(self, bottom: Sequence[Blob]) -> None:
        super()._launch_check(bottom)
        found = self.out_of_range
        if found is None:  # in a dry run
            found = self.buffer("out_of_range", 1, "int32")
        for blob, most, _ in self.layer.counted_bottoms(bottom):
            self.launch(check_indices, values=blob.data, out_of_range=found, count=blob.count, each=1, size=most + 1)

    def describe_out_of_range(self, bottom: Sequence[Blob], position: int) -> str:
        """The position does not say of which bottom it is: labels come first, as on the reference."""
        labels = self.label_blob(bottom).peek()
        wrong = ~((labels >= 0) & (labels < self.classes(bottom)) | (labels == self.ignore))
        if wrong.any():
            return super().describe_out_of_range(bottom, int(wrong.argmax()))
        faults = (self.layer.fault_of_numbers(blob.peek(), *of) for blob, *of in self.layer.counted_bottoms(bottom))
        first: str = next(fault for fault in faults if fault)
        return first
