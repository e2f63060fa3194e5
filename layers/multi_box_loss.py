"""The layer type MultiBoxLoss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dragon.bases.box_matching import (
    IGNORED,
    UNMATCHED,
    Truth,
    check_predictions,
    match_boxes,
    refined_boxes,
    shows_object,
    truth_of,
)
from dragon.bases.boxes import decode_boxes, encode_boxes
from dragon.bases.hard_examples import Suppression, hard_examples, hard_negatives
from dragon.bases.layer import register
from dragon.bases.loss import Loss
from dragon.errors import DataError
from dragon.layers.sigmoid import sigmoid
from dragon.layers.softmax import softmax
from dragon.layers.softmax_with_loss import cross_entropy
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["MultiBoxLoss"]

_P = pb.MultiBoxLossParameter
_MOST_LABELS = 1 << 31  # where every label counts as one class
_REFINING = 4  # the bottom from which on RefineDet's stand


@register()
class MultiBoxLoss(Loss):
    """SSD's loss (Liu et al. 2016): of the offsets of boxes that match a label, and of the classes of boxes.

    Bottoms: offsets (N, P * 4), or (N, P * classes * 4) without `share_location`; scores (N, P * classes), before the
    softmax; the PriorBox top (1, 2, P * 4); labels (1, 1, G, 8) of AnnotatedData: rows item, class, instance, xmin,
    ymin, xmax, ymax, difficult, with an item of -1 where there is no box. Top: loc_weight * offsets' loss + classes'
    loss, each summed and divided by the number of matches, or as `loss_param` says.

    RefineDet (Zhang et al. 2018) has two more: the probabilities (N, P * 2) of background and object, and the offsets
    (N, P * 4), both of its first step. The offsets move the default boxes of each image before everything else, and
    boxes whose probability of an object is below `objectness_score` are no hard examples. They get no gradient. In the
    loss of the first step, with `objectness_score` and two classes, every label has the class 1.

    A default box (or with `use_prior_for_matching: false` the box that is predicted from it) matches the label that it
    overlaps most; see `dragon.bases.box_matching`. Boxes without a match have the class background. Which of them
    count is what `mining_type` says: NONE all, MAX_NEGATIVE those with the largest loss, HARD_EXAMPLE the `sample_size`
    boxes of an image with the largest loss, with a match or without one; see `dragon.bases.hard_examples`. With mining
    an image without labels adds nothing. A bottom 0 or 1 whose `propagate_down` is false adds nothing either.

    The gradient is that of this loss. The Caffe of SSD differs in two places: its gradient of offsets lacks the factor
    1 / variance where `encode_variance_in_target` is set, and for LOGISTIC without mining it has targets of 0 for
    boxes without a match, also for the background.
    """

    type = "MultiBoxLoss"
    settings = ("multibox_loss_param", "loss_param")
    unlimited = frozenset({"neg_pos_ratio", "overlap_threshold", "neg_overlap", "nms_threshold"})
    bottoms = (4, 6)
    labels = frozenset({2, 3, _REFINING, _REFINING + 1})
    host_only = "matches boxes, whose number depends on the labels"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.multibox_loss_param
        if p.num_classes < 1:
            self.bad_param("needs num_classes")
        self.classes: int = p.num_classes
        self.background: int = p.background_label_id
        self.locations = 1 if p.share_location else self.classes
        if p.conf_loss_type == _P.SOFTMAX and self.background >= self.classes:
            self.bad_param(f"background_label_id {self.background} must lie below num_classes, {self.classes}")
        self.agnostic = p.map_object_to_agnostic or (
            p.HasField("objectness_score") and (self.classes, self.background) == (2, 0)
        )
        if p.map_object_to_agnostic and (self.classes, self.background) != (2, 0):
            self.bad_param(
                "map_object_to_agnostic needs num_classes: 2 and background_label_id: 0, "
                f"got {self.classes} and {self.background}"
            )
        self.mining: int = p.mining_type
        if p.HasField("do_neg_mining"):
            if p.HasField("mining_type") and p.do_neg_mining != (self.mining != _P.NONE):
                name = _P.MiningType.Name(p.mining_type)
                self.bad_param(f"do_neg_mining, the older setting, contradicts mining_type: {name}; remove it")
            self.mining = self.mining if p.do_neg_mining else _P.NONE
        if self.mining != _P.NONE and not p.share_location:
            self.bad_param("needs mining_type: NONE with share_location: false")
        if self.mining == _P.HARD_EXAMPLE and p.sample_size < 1:
            self.bad_param(f"sample_size must be positive, got {p.sample_size}")
        if not p.neg_pos_ratio >= 0:
            self.bad_param(f"neg_pos_ratio must not be negative, got {p.neg_pos_ratio:g}")
        self.nms: Suppression | None = None
        if p.HasField("nms_param") and p.nms_param.nms_threshold > 0:
            self.nms = Suppression(
                p.nms_param.nms_threshold, p.nms_param.top_k if p.nms_param.HasField("top_k") else -1
            )
        self.threshold = p.overlap_threshold if p.match_type == _P.PER_PREDICTION else None
        given = list(self.param.propagate_down) + [True, True][len(self.param.propagate_down) :]
        self.weights = (p.loc_weight if given[0] else 0.0, 1.0 if given[1] else 0.0)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.n, self.priors = check_predictions(self, bottom, self.locations, self.classes, _REFINING)
        if bottom[3].ndim < 2 or bottom[3].shape[-1] != 8:
            self.bad_shape(
                f"bottom 3 must be the labels of AnnotatedData, of shape (1, 1, G, 8), got {bottom[3].shape}"
            )
        top[0].reshape(())

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.multibox_loss_param
        prior, variance = np.asarray(bottom[2].peek(), np.float64).reshape(2, self.priors, 4)
        if not (variance > 0).all():
            raise DataError(f"variance {variance.min():g} of a default box: it must be positive", layer=self.where)
        # what offsets are multiplied by to give boxes, and differences of offsets before they count
        self.factors: Array | None = None if p.encode_variance_in_target else variance
        self.sharpness: Array | None = 1 / variance if p.encode_variance_in_target else None
        self.prior = refined_boxes(bottom, _REFINING, prior, self.factors, p.code_type)
        offsets = _at_least_float32(bottom[0]).reshape(self.n, self.priors, self.locations, 4)
        scores = _at_least_float32(bottom[1]).reshape(self.n, self.priors, self.classes)
        matches = [
            found
            for item, truth in self._truth(bottom[3]).items()
            for found in self._matches(item, truth, offsets[item])
        ]
        losses, self.score_slopes = self._classes(scores, matches)
        counted = self._mine(matches, losses, offsets, shows_object(bottom, _REFINING, p.objectness_score))
        self.rows = _Rows.of(matches)
        miss = self._misses(self.rows, offsets)
        self.offset_slopes = np.clip(miss, -1, 1) if p.loc_loss_type == _P.SMOOTH_L1 else miss
        self.score_slopes *= counted[..., None]
        self.divisor = self.normalizer(self.n, self.priors, len(self.rows.item))
        total = self.weights[0] * self._offset_losses(miss).sum() + self.weights[1] * losses[counted].sum()
        top[0].data[...] = total / self.divisor

    def _truth(self, labels: Blob) -> dict[int, Truth]:
        """The boxes of the labels for each image that has some, with the class that the scores are to have."""
        p = self.param.multibox_loss_param
        classes = _MOST_LABELS if self.agnostic else self.classes
        found = truth_of(self, labels.peek(), classes, self.background, self.n)
        if not p.use_difficult_gt:
            found = {item: truth.only(~truth.difficult) for item, truth in found.items()}
        if self.agnostic:
            found = {item: replace(truth, labels=np.ones_like(truth.labels)) for item, truth in found.items()}
        return {item: truth for item, truth in found.items() if len(truth.labels)}

    def _matches(self, item: int, truth: Truth, offsets: Array) -> list[_Match]:
        """The matches of the boxes of one image: for each class that has predictions of its own."""
        p = self.param.multibox_loss_param
        inside = p.ignore_cross_boundary_bbox
        if p.use_prior_for_matching:
            match, most = match_boxes(self.prior[item], truth.boxes, self.threshold, inside)
            if p.share_location:
                return [_Match(item, 0, truth, match, most)]
            label = np.where(match > UNMATCHED, truth.labels[np.maximum(match, 0)], UNMATCHED)
            return [
                _Match(item, c, truth, np.where(label == c, match, UNMATCHED), most)
                for c in np.unique(truth.labels).tolist()
            ]
        if p.share_location:
            predicted = self._decoded(item, offsets[:, 0])
            return [_Match(item, 0, truth, *match_boxes(predicted, truth.boxes, self.threshold, inside))]
        found = []
        for c in np.unique(truth.labels).tolist():
            own = np.flatnonzero(truth.labels == c)
            match, most = match_boxes(self._decoded(item, offsets[:, c]), truth.boxes[own], self.threshold, inside)
            found.append(_Match(item, c, truth, np.where(match > UNMATCHED, own[np.maximum(match, 0)], match), most))
        return found

    def _decoded(self, item: int, offsets: Array) -> Array:
        """The boxes (P, 4) that `offsets` (P, 4) of an image predict."""
        with np.errstate(over="ignore"):  # a box without end overlaps nothing
            return decode_boxes(self.prior[item], self.factors, offsets, self.param.multibox_loss_param.code_type)

    def _classes(self, scores: Array, matches: Sequence[_Match]) -> tuple[Array, Array]:
        """The loss (N, P) of the class of each box, and its gradient (N, P, classes)."""
        label = np.full(scores.shape[:2], self.background)
        matched = [(found, np.flatnonzero(found.match > UNMATCHED)) for found in matches]
        for found, box in matched:
            label[found.item, box] = found.truth.labels[found.match[box]]
        slopes = np.empty_like(scores)
        if self.param.multibox_loss_param.conf_loss_type == _P.SOFTMAX:
            softmax(scores, 2, slopes)
            losses = cross_entropy(slopes.reshape(-1, self.classes, 1), label.reshape(-1, 1)).reshape(label.shape)
            np.put_along_axis(slopes, label[..., None], np.take_along_axis(slopes, label[..., None], 2) - 1, 2)
            return losses, slopes
        wanted = np.zeros(scores.shape, bool)
        if self.background < self.classes:
            wanted[..., self.background] = label == self.background
        for found, box in matched:  # of several classes if each has its own predictions
            wanted[found.item, box, found.truth.labels[found.match[box]]] = True
        each = np.log1p(np.exp(-np.abs(scores))) - scores * (wanted.astype(scores.dtype) - (scores >= 0))
        sigmoid(scores, slopes)
        slopes -= wanted
        return each.sum(axis=2), slopes

    def _mine(
        self, matches: list[_Match], losses: Array, offsets: Array, objects: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_]:
        """Which boxes (N, P) count for the loss of classes; drops matches that are no hard examples.

        objects: of which boxes hard examples are chosen; None: of all.
        """
        p = self.param.multibox_loss_param
        if self.mining == _P.NONE:
            return np.ones(losses.shape, bool)
        counted = np.zeros(losses.shape, bool)
        for i, found in enumerate(matches):
            loss = losses[found.item]
            boxes = self.prior[found.item]
            if self.nms is not None and not p.use_prior_for_nms:
                boxes = self._decoded(found.item, offsets[found.item, :, 0])
            among = None if objects is None else objects[found.item]
            if self.mining == _P.HARD_EXAMPLE:
                rows = _Rows.of([found])
                loss = loss.astype(np.float64)
                loss[rows.box] += self._offset_losses(self._misses(rows, offsets)).sum(axis=1)
                match, negative = hard_examples(found.match, loss, p.sample_size, self.nms, boxes, among)
                matches[i] = found = replace(found, match=match)
            else:
                match = found.match
                if among is not None:
                    match = np.where((match == UNMATCHED) & ~among, IGNORED, match)
                negative = hard_negatives(match, found.most, loss, p.neg_pos_ratio, p.neg_overlap, self.nms, boxes)
            counted[found.item] = found.match > UNMATCHED
            counted[found.item, negative] = True
        return counted

    def _misses(self, rows: _Rows, offsets: Array) -> Array:
        """How far the predicted offsets (K, 4) of the matches are from those of the labels, as the loss counts it."""
        p = self.param.multibox_loss_param
        prior, predicted = self.prior[rows.item, rows.box], offsets[rows.item, rows.box, rows.place].astype(np.float64)
        factors = None if self.factors is None else self.factors[rows.box]
        miss = predicted - encode_boxes(prior, factors, rows.truth, p.code_type)
        if self.sharpness is not None:
            miss *= self.sharpness[rows.box]
        if p.bp_inside:
            boxes = prior if p.use_prior_for_matching else decode_boxes(prior, factors, predicted, p.code_type)
            miss[(boxes < 0) | (boxes > 1)] = 0
        return miss

    def _offset_losses(self, miss: Array) -> Array:
        if self.param.multibox_loss_param.loc_loss_type == _P.L2:
            halves: Array = miss * miss / 2
            return halves
        size = np.abs(miss)
        losses: Array = np.where(size < 1, size * size / 2, size - 0.5)
        return losses

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for i, what in enumerate(("default boxes", "labels", "probabilities", "offsets that move default boxes"), 2):
            if i < len(bottom) and propagate_down[i]:
                self.bad_param(f"bottom {i} holds {what} and has no gradient; set its propagate_down to false")
        scale = float(top[0].diff) / self.divisor
        if propagate_down[0]:
            slopes = (
                self.offset_slopes if self.sharpness is None else self.offset_slopes * self.sharpness[self.rows.box]
            )
            bottom[0].diff[...] = 0
            offsets = bottom[0].diff.reshape(self.n, self.priors, self.locations, 4)
            offsets[self.rows.item, self.rows.box, self.rows.place] = slopes * (scale * self.weights[0])
        if propagate_down[1]:
            scores = bottom[1].diff.reshape(self.score_slopes.shape)
            np.multiply(self.score_slopes, scale * self.weights[1], out=scores, casting="same_kind")


@dataclass(frozen=True)
class _Match:
    """Which row of `truth` each default box of an image is matched with, for the predictions at `place`."""

    item: int
    place: int
    truth: Truth
    match: NDArray[np.int64]
    most: Array


@dataclass(frozen=True)
class _Rows:
    """The matches of a batch, one after another: item, default box, place of the prediction, and the labelled box."""

    item: NDArray[np.intp]
    box: NDArray[np.intp]
    place: NDArray[np.intp]
    truth: NDArray[np.float64]

    @classmethod
    def of(cls, matches: Sequence[_Match]) -> _Rows:
        boxes = [np.flatnonzero(m.match > UNMATCHED) for m in matches]
        if not boxes:
            none = np.zeros(0, np.intp)
            return cls(none, none, none, np.zeros((0, 4)))
        counts = [len(box) for box in boxes]
        return cls(
            np.repeat([m.item for m in matches], counts),
            np.concatenate(boxes),
            np.repeat([m.place for m in matches], counts),
            np.concatenate([m.truth.boxes[m.match[box]] for m, box in zip(matches, boxes, strict=True)]),
        )


def _at_least_float32(blob: Blob) -> Array:
    values = blob.peek()
    return values.astype(np.result_type(values.dtype, np.float32), copy=False)
