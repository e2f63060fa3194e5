"""The layer type CTCLoss, under the names and with the bottoms that the forks of Caffe give it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from dragon.bases.ctc import Alignments, packed, sequence_lengths
from dragon.bases.label_sequences import Scores, blank_class, check_label_columns, check_marks
from dragon.bases.layer import register
from dragon.bases.loss import Loss, class_labels
from dragon.counting import how_many
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["CTCLoss"]

log = logging.getLogger("dragon")


@register("CtcLoss", "WarpCTCLoss", "WarpCTC", "WarpCtcLoss", "WarpCtc")
class CTCLoss(Loss):
    """-log P(label) of label sequences whose alignment is unknown (CTC, Graves et al. 2006), the mean of the batch.

    Bottom 0: scores (T, N, C) before the softmax, which the layer computes. Then one of

    - labels (N, L): each sequence has T steps (warpctc-caffe, crnn.caffe, caffe_ocr);
    - marks (T, N), 0 where a sequence begins, and labels (L, N): the sequence of a column ends where the next one
      begins, which does not count (ChWick's);
    - steps (N) and number of labels (N) of each sequence, and labels (L, N) (ChWick's WarpCTCLoss).

    Labels are classes; the blank class and -1 fill them up and do not count. An empty label is one: the loss asks for
    blanks. A label that has no path, since the sequence is too short for it, adds neither loss nor gradient, as with
    torch's zero_infinity; engines on the CPU warn. The blank is 0 by default, the last class for type CTCLoss.

    As in these forks, the gradient is that of the sum over the batch, for which their learning rates are chosen, though
    the mean is shown. With `loss_param { normalization }` set, loss and gradient are both divided as it says.
    """

    type = "CTCLoss"
    settings = ("ctc_loss_param", "loss_param")
    defaults: ClassVar[Mapping[str, str]] = {
        "blank_index": "0; the last class for type CTCLoss",
        "normalization": "BATCH_SIZE, but not of the gradient",
    }
    bottoms = (2, 4)
    labels = frozenset({1, 2, 3})
    default_normalization = pb.LossParameter.BATCH_SIZE

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.ctc_loss_param
        if p.output_delay < 0:
            self.bad_param(f"output_delay must be at least 0, got {p.output_delay}")
        if p.HasField("blank_index") and p.HasField("blank_label") and p.blank_index != p.blank_label:
            self.bad_param(f"blank_index {p.blank_index} and blank_label {p.blank_label} are names of one setting")
        self.unset_blank = -1 if self.param.type == self.type else 0
        self.label_bottom = len(bottom) - 1
        self.warned = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.ctc_loss_param
        self.scores = Scores(self, bottom[0].shape)
        steps, n, classes = self.scores.shape
        if p.alphabet_size and p.alphabet_size != classes:
            self.bad_shape(
                f"alphabet_size is {p.alphabet_size}, bottom 0 has {how_many(classes, 'class')} (shape "
                f"{bottom[0].shape})"
            )
        self.steps = p.time_step or steps
        if self.steps > steps or self.steps <= p.output_delay:
            self.bad_shape(
                f"time_step {self.steps} must be above output_delay {p.output_delay} and at most {steps}, the steps of "
                f"bottom 0 (shape {bottom[0].shape})"
            )
        if p.HasField("blank_label"):
            self.blank = blank_class(self, p.blank_label, classes)
        else:
            self.blank = blank_class(self, p.blank_index if p.HasField("blank_index") else self.unset_blank, classes)
        self.label_range = classes, -1
        self._check_labels(bottom, steps, n)
        top[0].reshape(())

    def _check_labels(self, bottom: Sequence[Blob], steps: int, n: int) -> None:
        labels = bottom[self.label_bottom].shape
        if len(bottom) == 2:
            if labels[:1] != (n,):
                self.bad_shape(
                    f"bottom 1 must hold the labels of {how_many(n, 'sequence')}, (N, L), got shape {labels}"
                )
            return
        check_label_columns(self, bottom[self.label_bottom], self.label_bottom, n)
        if len(bottom) == 3:
            check_marks(self, bottom[1], steps, n)
        for i in (1, 2) if len(bottom) == 4 else ():
            if bottom[i].count != n:
                self.bad_shape(f"bottom {i} must hold {how_many(n, 'number')}, got shape {bottom[i].shape}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.ctc_loss_param
        scores = self.scores.of(bottom[0])[p.output_delay : self.steps]
        labels, counts = self._labels(bottom)
        lengths = self._lengths(bottom, counts)
        self.alignments = Alignments(scores, labels, counts, self.blank, lengths, p.ctc_merge_repeated)
        losses = self.alignments.losses
        self.divisor = self._divided_by(scores.shape[1])
        top[0].data[...] = losses.sum() / self.divisor
        self._warn(losses)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if not propagate_down[0]:
            return
        divisor = self.divisor if self.is_divided else 1
        diff = self.scores.diff_of(bottom[0])
        delay = self.param.ctc_loss_param.output_delay
        diff[:delay], diff[self.steps :] = 0, 0
        diff[delay : self.steps] = self.alignments.gradient() * (top[0].diff / divisor)

    @property
    def is_divided(self) -> bool:
        """Whether the gradient too is divided: where the net says by what."""
        p = self.param.loss_param
        return p.HasField("normalization") or p.HasField("normalize")

    def _divided_by(self, n: int) -> Array | float:
        if self.normalization == pb.LossParameter.VALID:
            possible = self.alignments.possible
            count: Array = xp_of(possible).maximum(possible.sum(), 1)
            return count
        return self.normalizer(n, 1, n)

    def _labels(self, bottom: Sequence[Blob]) -> tuple[Array, Array]:
        """The labels (N, L), those that count first, and their number (N)."""
        p, blob = self.param.ctc_loss_param, bottom[self.label_bottom]
        classes, valid = class_labels(self, blob.data, *self.label_range)
        counted = (classes != self.blank) & (valid if valid is not None else True)
        if len(bottom) == 2:
            shape = blob.shape[0], math.prod(blob.shape[1:])
            classes, counted = classes.reshape(shape), counted.reshape(shape)
        else:
            length, n = blob.shape[:2]
            classes, counted = classes.reshape(length, n).T, counted.reshape(length, n).T
        xp = xp_of(classes)
        if len(bottom) == 4:
            given = self._numbers(bottom[2], counted.shape[1], "labels")
            counted = counted & (xp.arange(counted.shape[1]) < given[:, None])
        labels, counts = packed(classes, counted)
        if p.preprocess_collapse_repeated:
            counted = xp.arange(labels.shape[1]) < counts[:, None]
            counted[:, 1:] &= labels[:, 1:] != labels[:, :-1]
            labels, counts = packed(labels, counted)
        return labels, counts

    def _lengths(self, bottom: Sequence[Blob], counts: Array) -> Array | None:
        """The steps of each sequence (N) behind the delay; None: all."""
        if len(bottom) == 2:
            return None
        steps = self.scores.shape[0]
        if len(bottom) == 3:
            lengths = sequence_lengths(bottom[1].data.reshape(self.scores.shape[:2]))
            # a column of a batch that is not full: a sequence of one step without a label does not count
            lengths = xp_of(lengths).where((lengths == 1) & (counts == 0), 0, lengths)
        else:
            lengths = self._numbers(bottom[1], steps, "steps")
        behind: Array = xp_of(lengths).minimum(lengths, self.steps) - self.param.ctc_loss_param.output_delay
        return behind

    def _numbers(self, blob: Blob, most: int, what: str) -> Array:
        """The numbers of steps or labels (N) in a bottom. Raises DataError for one out of range, on the CPU."""
        values = blob.data.reshape(-1)
        if not self.labels_checked and (fault := self.fault_of_numbers(values, most, what)):
            raise DataError(fault, layer=self.where)
        fits = (values >= 0) & (values < most + 1)  # not NaN
        numbers: Array = xp_of(values).where(fits, values, 0).astype("int64")
        return numbers

    def counted_bottoms(self, bottom: Sequence[Blob]) -> Iterator[tuple[Blob, int, str]]:
        """The bottoms with numbers of labels and of steps, the largest number that each may hold, and of what."""
        if len(bottom) == 4:
            yield bottom[2], bottom[3].shape[0], "labels"
            yield bottom[1], self.scores.shape[0], "steps"

    @staticmethod
    def fault_of_numbers(values: Array, most: int, what: str) -> str:
        """A message if a number is out of range, else an empty one."""
        if bool(((values >= 0) & (values < most + 1)).all()):
            return ""
        return f"numbers of {what} must be 0 to {most}, got {float(values.min()):g} to {float(values.max()):g}"

    def _warn(self, losses: Array) -> None:
        """Warn once of labels without a path, where the host can read them without waiting."""
        if self.warned or self.labels_checked:
            return
        lost = self.alignments.possible.size - int(self.alignments.possible.sum())
        if self.alignments.lengths is not None:
            lost -= int((self.alignments.lengths <= 0).sum())
        if lost > 0:
            self.warned = True
            log.warning(
                "%s: %d of %s cannot fit into their sequences, which need a step for each label and one between "
                "equal labels; they add no loss (said once)", self.where, lost,
                how_many(losses.size, "label"),
            )  # fmt: skip
