"""The layer type LabelsequenceAccuracy."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.ctc import best_path, packed
from dragon.bases.label_sequences import Scores, blank_class, label_rows
from dragon.bases.layer import register
from dragon.bases.no_gradient import NoGradient
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["LabelsequenceAccuracy"]


@register()
class LabelsequenceAccuracy(NoGradient):
    """The fraction of sequences whose most probable path reads as their label, without a fault.

    Bottoms: scores (N, T, C), batch first as a Permute behind the net gives them, and labels (N, L), which the blank
    class and -1 fill up. A path is read as CTCLoss does: repeated classes are one label, then blanks are left out.
    """

    type = "LabelsequenceAccuracy"
    settings = ("labelsequence_accuracy_param",)
    bottoms = (2, 2)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.scores = Scores(self, bottom[0].shape, batch_first=True)
        _, n, classes = self.scores.shape
        self.blank = blank_class(self, self.param.labelsequence_accuracy_param.blank_label, classes)
        if bottom[1].shape[:1] != (n,):
            self.bad_shape(
                f"bottom 1 must hold the labels of {how_many(n, 'sequence')}, (N, L), got shape {bottom[1].shape}"
            )
        top[0].reshape(())

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        found, counts, _ = best_path(self.scores.of(bottom[0]), self.blank)
        labels, wanted = packed(*label_rows(bottom[1].data, self.blank))
        xp = xp_of(found)
        width = min(found.shape[1], labels.shape[1])  # equal numbers of labels are at most that
        same = (found[:, :width] == labels[:, :width]) | (xp.arange(width) >= wanted[:, None])
        right = same.all(axis=1) & (counts == wanted)
        top[0].data[...] = right.sum() / max(1, len(labels))
