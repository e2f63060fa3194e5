"""Sampled regions with their classes and regression targets, for Faster R-CNN's second stage and Fast R-CNN."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dragon.bases.anchors import encode_offsets, overlaps_of_pixels
from dragon.bases.layer import Layer
from dragon.bases.region_source import four, sample
from dragon.errors import DataError
from dragon.memory.storage import Array

__all__ = ["RegionTargets", "Sampled"]

_MOST_CLASSES = 1 << 31


class Sampled(NamedTuple):
    """chosen: indices of the S regions, objects first. labels: (S). columns: targets, weights, (3, S, 4 * classes)."""

    chosen: Array
    labels: Array
    columns: Array


class RegionTargets:
    """Samples regions of one image as the `proposal_target_param` of `layer` says. Raises PrototxtError."""

    def __init__(self, layer: Layer) -> None:
        p = layer.param.proposal_target_param
        if p.num_classes < 2:
            layer.bad_param(f"num_classes must be at least 2, with the background, got {p.num_classes}")
        if p.batch_size < 1 and p.batch_size != -1:
            layer.bad_param(f"batch_size must be at least 1, or -1 for all regions, got {p.batch_size}")
        if not 0 <= p.fg_fraction <= 1:
            layer.bad_param(f"fg_fraction must lie in [0, 1], got {p.fg_fraction:g}")
        self._layer, self._p = layer, p
        self._mean = four(layer, p.bbox_mean, (0, 0, 0, 0), "bbox_mean")
        self._std = four(layer, p.bbox_std, (0.1, 0.1, 0.2, 0.2), "bbox_std")
        if not (self._std > 0).all():
            layer.bad_param(f"bbox_std must be positive, got {self._std.tolist()}")
        self._inside = four(layer, p.inside_weight, (1, 1, 1, 1), "inside_weight")

    @property
    def width(self) -> int:
        """Columns of the targets."""
        return 4 * self._p.num_classes

    def sample(self, rois: Array, true: Array, random: np.random.Generator) -> Sampled:
        """rois: (R, 4), R at least 1. true: (G, 5), with classes. Raises DataError for a class out of range."""
        overlaps = overlaps_of_pixels(rois, true[:, :4])
        chosen, objects = self._choose(overlaps, random)
        labels = np.zeros(len(chosen))
        targets = np.zeros((len(chosen), 4))
        if len(true):
            nearest = true[overlaps[chosen].argmax(axis=1)]
            labels[:objects] = self._classes(nearest[:objects, 4])
            targets = encode_offsets(rois[chosen], nearest[:, :4])
        if self._p.normalize_targets:
            targets = (targets - self._mean) / self._std
        return Sampled(chosen, labels, self._columns(labels, targets))

    def _classes(self, found: Array) -> Array:
        """The classes of the objects. Raises DataError for one that is no whole number."""
        odd = ~((np.abs(found) < _MOST_CLASSES) & (found == np.floor(found)))
        if odd.any():
            raise DataError(f"a true box has class {found[odd][0]:g}, expected a whole number", layer=self._layer.where)
        return found

    def _choose(self, overlaps: Array, random: np.random.Generator) -> tuple[Array, int]:
        """The indices of the sample, objects first, and how many objects it has."""
        p = self._p
        best = overlaps.max(axis=1, initial=0)
        lowest = p.bg_thresh_lo if overlaps.shape[1] else 0
        size = p.batch_size if p.batch_size > 0 else len(best)
        of_objects = int(np.round(p.fg_fraction * size)) if p.batch_size > 0 else size
        objects = sample(random, np.flatnonzero(best >= p.fg_thresh), of_objects)
        others = np.flatnonzero((best < p.bg_thresh_hi) & (best >= lowest))
        chosen = np.concatenate([objects, sample(random, others, size - len(objects))])
        if not len(chosen):
            chosen = np.array([best.argmin()])  # none is in the range: the one that overlaps least is background
        return chosen, len(objects)

    def _columns(self, labels: Array, targets: Array) -> Array:
        """Targets, inside weights and outside weights (S, 4 * classes), filled in the columns of each label."""
        p = self._p
        shown = np.flatnonzero(labels > 0)
        classes = np.ones(len(shown), np.intp) if p.class_agnostic else labels[shown].astype(np.intp)
        if (classes >= p.num_classes).any():
            raise DataError(
                f"a true box has class {classes.max()}, expected 1 to {p.num_classes - 1} (num_classes: "
                f"{p.num_classes})",
                layer=self._layer.where,
            )
        found = np.zeros((3, len(labels), p.num_classes, 4))
        found[0, shown, classes] = targets[shown]
        found[1, shown, classes] = self._inside
        found[2, shown, classes] = self._inside > 0
        return found.reshape(3, len(labels), -1)
