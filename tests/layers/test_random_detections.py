"""Random boxes and scores: DetectionOutput and DetectionEvaluate against their rules, box by box.

DETECTIONS=N tries N cases of each; DETECTIONS_START=S begins with seed S.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

from tests.layers.helpers import One
from tests.layers.test_detection_output import decoded, greedy, iou

COUNT = int(os.environ.get("DETECTIONS", "40"))
START = int(os.environ.get("DETECTIONS_START", "0"))
SEEDS = pytest.mark.parametrize("seed", range(START, START + COUNT))


def flag(value: Any) -> str:
    return str(bool(value)).lower()


def single(value: Any) -> float:
    """A number as a setting in 32 bits holds it."""
    return float(np.float32(value))


@SEEDS
def test_detection_output(seed: int) -> None:
    """With equal scores and overlaps, every code, RefineDet's two further bottoms, and any class as background."""
    rng = np.random.default_rng(seed)
    n, priors, classes = rng.integers(1, [4, 40, 5]).tolist()
    code, shared, in_target = str(rng.choice(["CORNER", "CENTER_SIZE", "CORNER_SIZE"])), *(rng.random(2) < 0.5)
    coarse, refined, places = rng.random() < 0.4, rng.random() < 0.3, 1 if shared else classes
    corners = np.sort(rng.integers(0, 9, (priors, 2, 2)), axis=1) / 8
    corners[:, 1] += 1 / 8
    variance = np.ones(4) if in_target else rng.choice([0.1, 0.2, 0.5, 1], 4)
    offsets: Any = rng.integers(-1, 2, (n, priors, places, 4)) * 0.5
    scores: Any = rng.integers(0, 8, (n, priors, classes)) / 8
    if not coarse:
        offsets, scores = rng.standard_normal(offsets.shape) * 0.5, rng.random(scores.shape)
    moves, objects = rng.standard_normal((n, priors, 4)) * 0.05, rng.integers(0, 5, (n, priors)) / 4
    threshold, eta = single(rng.choice([0, 0.3, 0.45, 0.9, 2])), single(rng.choice([1, 0.9, 0.5]))
    least, object_score = single(rng.choice([-1, 0, 0.01, 0.5])), float(rng.choice([0, 0.25, 0.5]))
    top_k, keep, background = (int(rng.choice(of)) for of in ([0, 1, 5, 400], [-1, 0, 1, 3, 10], range(classes + 1)))
    prior = np.stack([corners.reshape(priors, 4), np.broadcast_to(variance, (priors, 4))])
    text = (
        f"num_classes: {classes} share_location: {flag(shared)} code_type: {code} keep_top_k: {keep} "
        f"variance_encoded_in_target: {flag(in_target)} confidence_threshold: {least} "
        f"background_label_id: {background} nms_param {{ nms_threshold: {threshold} eta: {eta} top_k: {top_k} }} "
        f"objectness_score: {object_score}"
    )
    bottoms = [offsets.reshape(n, -1), scores.reshape(n, -1), prior.reshape(1, 2, -1)]
    if refined:
        bottoms += [np.stack([1 - objects, objects], axis=2).reshape(n, -1), moves.reshape(n, -1)]
    rows: list[Any] = []
    for item in range(n):
        found: list[tuple[float, int, list[float]]] = []
        for label in set(range(classes)) - {background}:
            own = scores[item, :, label]
            if refined:
                own = np.where(objects[item] >= object_score, own, 0)
            start = [
                decoded(code, p, variance, m) if refined else p for p, m in zip(prior[0], moves[item], strict=True)
            ]
            place = 0 if shared else label
            boxes = [decoded(code, p, variance, o) for p, o in zip(start, offsets[item, :, place], strict=True)]
            found += [(own[i], label, boxes[i]) for i in greedy(boxes, own, threshold, least, top_k, eta)]
        if keep > -1:
            found = sorted(found, key=lambda one: -one[0])[:keep]
        rows += [[item, label, score, *box] for score, label, box in sorted(found, key=lambda one: (one[1], -one[0]))]
    rows = rows or [[item] + [-1] * 6 for item in range(n)]
    y = One(f'type: "DetectionOutput" detection_output_param {{ {text} }}', *bottoms, dtype=np.float64).forward()
    np.testing.assert_allclose(y, np.array(rows)[None, None], rtol=1e-9, atol=1e-12)


@SEEDS
def test_detection_evaluate(seed: int) -> None:
    """On a coarse grid, so that overlaps are equal; detections and labels in any order, some of them difficult."""
    rng = np.random.default_rng(seed)
    n, classes = rng.integers(1, [4, 5]).tolist()
    background = int(rng.integers(1, classes + 1))
    labels = [label for label in range(classes) if label != background]

    def rows_of(most: int) -> list[list[float]]:
        return [
            [item, int(rng.choice(labels)), 0, *(np.sort(rng.integers(0, 5, (2, 2)), axis=0) / 4).ravel()]
            for item in range(n)
            for _ in range(int(rng.integers(most)))
        ]

    found = rows_of(6) or [[item] + [-1.0] * 6 for item in range(n)]
    for row, score in zip(found, rng.permutation(1000), strict=False):
        row[2] = float(score) / 1000 if row[1] >= 0 else -1
    true = [[*row, float(rng.random() < 0.3)] for row in rows_of(5)] + [[-1.0] * 8]
    true = [true[i] for i in rng.permutation(len(true))]
    threshold, difficult = single(rng.choice([0.1, 0.25, 0.5, 1])), rng.random() < 0.5
    rows: list[list[float]] = [
        [-1, label, sum(t[0] >= 0 and t[1] == label and (difficult or not t[7]) for t in true), -1, -1]
        for label in labels
    ]
    for item in range(n):
        for label in labels:
            here = [t for t in true if t[0] == item and t[1] == label]
            taken: set[int] = set()
            for row in sorted((f for f in found if f[0] == item and f[1] == label), key=lambda f: -f[2]):
                overlap = [iou(row[3:], t[3:7]) for t in here]
                best = overlap.index(max(overlap)) if here else -1
                verdict = (0, 1)
                if max(overlap, default=-math.inf) >= threshold:
                    if here[best][7] and not difficult:
                        verdict = (0, 0)
                    elif best not in taken:
                        verdict = (1, 0)
                        taken.add(best)
                rows.append([*row[:3], *verdict])
    text = (
        f"num_classes: {classes} background_label_id: {background} overlap_threshold: {threshold} "
        f"evaluate_difficult_gt: {flag(difficult)}"
    )
    one = One(
        f'type: "DetectionEvaluate" detection_evaluate_param {{ {text} }}',
        np.array(found)[None, None], np.array(true)[None, None], dtype=np.float64,
    )  # fmt: skip
    np.testing.assert_array_equal(one.forward(), np.array(rows, float)[None, None])
