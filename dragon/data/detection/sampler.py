"""SSD's batch sampler: random windows of an image that meet constraints on the objects in them.

Source: weiliu89/caffe, branch ssd, caffe.proto (Sampler, SampleConstraint, BatchSampler). There a window is already
accepted if one object meets the first of the constraints that are set; here one object has to meet them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.detection.draws import Draws
from dragon.data.detection.geometry import covered
from dragon.proto import dragon_pb2 as pb

__all__ = ["check_sampler", "draw_windows", "jittered", "sample", "satisfying"]

Array = NDArray[Any]
_MOST_TRIALS = 100_000  # for one image
_KINDS: dict[str, Callable[[Array, Array], Array]] = {  # of windows and objects
    "jaccard_overlap": lambda windows, objects: covered(windows[:, None], objects, jaccard=True),
    "sample_coverage": lambda windows, objects: covered(windows[:, None], objects),
    "object_coverage": lambda windows, objects: covered(objects, windows[:, None]),
}


def check_sampler(rule: pb.BatchSampler) -> str:
    """What is wrong with the ranges of a batch sampler, in words; "" for a good one."""
    sampler = rule.sampler
    if rule.max_trials > _MOST_TRIALS:
        return f"max_trials must be at most {_MOST_TRIALS}, got {rule.max_trials}"
    if not 0 < sampler.min_scale <= sampler.max_scale <= 1:
        return f"min_scale and max_scale must lie in (0, 1], got {sampler.min_scale:g} and {sampler.max_scale:g}"
    low, high = sampler.min_aspect_ratio, sampler.max_aspect_ratio
    if not 0 < low <= high < np.inf:
        return f"min_aspect_ratio and max_aspect_ratio must be above 0 and in order, got {low:g} and {high:g}"
    return ""


def draw_windows(sampler: pb.Sampler, evenly: Array) -> Array:
    """Windows (N, 4) in fractions of the image, from N rows of 4 numbers in [0, 1).

    The numbers give scale, aspect ratio, and the place from left and from top. A window of scale s and aspect ratio a
    is s sqrt(a) wide and s / sqrt(a) high; a is limited to [s^2, 1 / s^2], so that it fits.
    """
    scale = sampler.min_scale + evenly[:, 0] * (sampler.max_scale - sampler.min_scale)
    high = np.minimum(sampler.max_aspect_ratio, 1 / scale**2)
    low = np.minimum(np.maximum(sampler.min_aspect_ratio, scale**2), high)
    root = np.sqrt(low + evenly[:, 1] * (high - low))
    size = np.minimum(np.column_stack([scale * root, scale / root]), 1)
    corner = evenly[:, 2:] * (1 - size)
    return np.concatenate([corner, corner + size], axis=1)


def satisfying(windows: Array, objects: Array, constraint: pb.SampleConstraint) -> NDArray[np.bool_]:
    """Which of `windows` (N, 4) meet the constraint with one of `objects` (M, 4).

    All do without a constraint, none without an object.
    """
    met = np.ones((len(windows), len(objects)), np.bool_)
    free = True
    for name, measure in _KINDS.items():
        for end, within in (("min", np.greater_equal), ("max", np.less_equal)):
            if constraint.HasField(f"{end}_{name}"):
                met &= within(measure(windows, objects), getattr(constraint, f"{end}_{name}"))
                free = False
    if free:
        return np.ones(len(windows), np.bool_)
    accepted: NDArray[np.bool_] = np.any(met, axis=1)
    return accepted


def jittered(jitter: float, draws: Draws, keep_shape: bool = False) -> Array:
    """A window (4) as MobileNet-YOLO draws it, each side shorter than the image's by up to `jitter` of it.

    One image in five stays whole, and for one in five the sides are shorter by up to half of that. keep_shape: both
    sides by the same part, as there before images are padded.
    """
    kind, wide, high, x, y = draws.many(5)
    if keep_shape:
        high = wide
    most = 0.0 if kind < 0.2 else jitter / 2 if kind < 0.4 else jitter
    size = 1 - most * np.array([wide, high])
    corner = (1 - size) * np.array([x, y])
    return np.concatenate([corner, corner + size])


def sample(samplers: Sequence[pb.BatchSampler], objects: Array, draws: Draws) -> Array | None:
    """A window (4) that one of the samplers found, chosen at random among all that they found; None if there is none.

    Each sampler tries max_trials windows, and keeps the first max_sample that meet its constraint.
    """
    found = []
    for one in samplers:
        if not one.use_original_image or not one.max_trials:
            continue
        windows = draw_windows(one.sampler, draws.many(4 * one.max_trials).reshape(-1, 4))
        good = windows[satisfying(windows, objects, one.sample_constraint)]
        found.append(good[: one.max_sample] if one.HasField("max_sample") else good)
    windows = np.concatenate(found) if found else np.empty((0, 4))
    return windows[draws.below(len(windows))] if len(windows) else None
