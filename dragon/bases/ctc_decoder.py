"""Base of the layers that read label sequences from scores: the bottoms and tops of the forks' forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from dragon.bases.ctc import edit_distance, packed, sequence_lengths
from dragon.bases.label_sequences import Scores, blank_class, check_label_columns, check_marks, label_rows
from dragon.bases.no_gradient import NoGradient
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["CTCDecoder"]


class CTCDecoder(NoGradient):
    """Reads the labels of sequences from scores.

    Bottom 0: scores (T, N, C). Further bottoms, and tops, are one of

    - no further bottom: the labels found, (N, T, 1, 1), filled up with -1 (caffe_ocr);
    - labels (N, L): (1, 2, 1, 1), the mean of 1 - edit distance / longer length, then the fraction of sequences read
      without a fault (caffe_ocr);
    - marks (T, N), 0 where a sequence begins: the labels found and, as a second top, the costs of each sequence,
      (N, 1, 1, 1) (ChWick's). A bottom of that shape is always taken for the marks;
    - marks and labels (L, N), filled up with -1: the labels found; with two tops and the accuracy, (1, 1, 1, 1); with
      three tops the costs stand between the two (ChWick's).

    The blank is 0 by default, as in caffe_ocr; the last class where there are marks, as in ChWick's.
    """

    settings = ("ctc_decoder_param",)
    defaults: ClassVar[Mapping[str, str]] = {"blank_index": "0; the last class with marks"}
    bottoms = (1, 3)
    tops = (1, 3)
    by_sequences: ClassVar[bool] = False  # what the accuracy beside marks is: of whole sequences, else by edit distance

    def decode(self, scores: Array, lengths: Array | None) -> tuple[Array, Array, Array]:
        """Read scores (T, N, C) of sequences of `lengths` steps (N), None: of all T.

        The labels (N, T) with -1 behind the last one, their number (N), and the costs (N).
        """
        raise NotImplementedError

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.ctc_decoder_param
        self.scores = Scores(self, bottom[0].shape)
        steps, n, classes = self.scores.shape
        self.marked = len(bottom) == 3 or (len(bottom) == 2 and bottom[1].shape[:2] == (steps, n))
        self.only_scored = len(bottom) == 2 and not self.marked
        most = 3 if len(bottom) == 3 else 2 if self.marked else 1
        if len(top) > most:
            self.bad_param(f"gives at most {how_many(most, 'top')} for these bottoms, got {len(top)}")
        unset = -1 if self.marked else 0
        self.blank = blank_class(self, p.blank_index if p.HasField("blank_index") else unset, classes)
        if self.marked:
            check_marks(self, bottom[1], steps, n)
        if self.only_scored and bottom[1].shape[:1] != (n,):
            self.bad_shape(
                f"bottom 1 must hold the labels of {how_many(n, 'sequence')}, (N, L), got shape {bottom[1].shape}"
            )
        if len(bottom) == 3:
            check_label_columns(self, bottom[2], 2, n)
        costs, accuracy = (n, 1, 1, 1), (1, 1, 1, 1)
        shapes: list[tuple[int, ...]] = [(n, steps, 1, 1)]
        if self.only_scored:
            shapes = [(1, 2, 1, 1)]
        elif len(bottom) == 2:
            shapes.append(costs)
        elif len(bottom) == 3:
            shapes += [accuracy] if len(top) == 2 else [costs, accuracy]
        for blob, shape in zip(top, shapes, strict=False):
            blob.reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        lengths = sequence_lengths(bottom[1].data.reshape(self.scores.shape[:2])) if self.marked else None
        found, counts, costs = self.decode(self.scores.of(bottom[0]), lengths)
        if self.only_scored:
            similar, right = _accuracies(found, counts, *packed(*label_rows(bottom[1].data, self.blank)))
            top[0].data[0, 0], top[0].data[0, 1] = similar, right
            return
        top[0].data[...] = found[:, :, None, None]
        if len(bottom) == 3 and len(top) > 1:
            length, n = bottom[2].shape[:2]
            labels = label_rows(bottom[2].data.reshape(length, n).T, self.blank)
            top[-1].data[...] = _accuracies(found, counts, *packed(*labels))[int(self.by_sequences)]
        if len(top) == len(bottom) > 1:
            top[1].data[...] = costs[:, None, None, None]


def _accuracies(found: Array, counts: Array, labels: Array, wanted: Array) -> tuple[Array, Array]:
    """The mean of 1 - edit distance / longer length, and the fraction of sequences without a fault."""
    xp = xp_of(found)
    distance = edit_distance(found, labels, counts, wanted)
    n = max(1, len(labels))
    longer = xp.maximum(xp.maximum(counts, wanted), 1)
    return (1 - distance / longer).sum() / n, (distance == 0).sum() / n
