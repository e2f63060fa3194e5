"""ProposalTarget against a loop over regions, and its sampling."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError
from tests.bases.test_anchors import boxes, overlap
from tests.layers.helpers import One, goes_on_as

CATALOGUE = {
    "ProposalTarget": [
        ("proposal_target_param { num_classes: 3 batch_size: 6 }", ("regions of one image", "true boxes"), 5),
        (
            "proposal_target_param { num_classes: 2 batch_size: -1 class_agnostic: true normalize_targets: true "
            "bg_thresh_lo: 0 }",
            ("regions of one image", "true boxes"),
            5,
        ),
    ]
}
TRUE = np.array([[2, 3, 20, 22, 1], [25, 8, 50, 40, 2], [26, 9, 52, 41, 2]], float)
ROIS = np.concatenate([np.zeros((200, 1)), np.round(boxes(200, 30))], axis=1)
ALL = np.concatenate([ROIS, np.pad(TRUE[:, :4], ((0, 0), (1, 0)))])


def make(settings: str, rois: np.ndarray = ROIS, true: np.ndarray = TRUE, classes: int = 3, seed: int = 3) -> One:
    text = f'type: "ProposalTarget" proposal_target_param {{ num_classes: {classes} {settings} }}'
    return One(text, rois, true, n_top=5, dtype=np.float64, seed=seed)


@pytest.mark.parametrize(("normalize", "agnostic"), [(False, False), (True, False), (False, True)])
def test_values_of_all_regions(normalize: bool, agnostic: bool) -> None:
    classes = 2 if agnostic else 3
    one = make(f"batch_size: -1 normalize_targets: {str(normalize).lower()} bbox_mean: 0.1 bbox_mean: 0 bbox_mean: 0.2 "
               f"bbox_mean: 0 class_agnostic: {str(agnostic).lower()}", classes=classes)  # fmt: skip
    rois = one.forward()
    expected = {}
    for roi in ALL:
        row = [overlap(roi[1:], t) for t in TRUE]
        best = max(row)
        if best >= 0.1:
            expected[tuple(roi)] = best >= 0.5, TRUE[row.index(best)]
    assert sorted(map(tuple, rois)) == sorted(tuple(roi) for roi in ALL if tuple(roi) in expected)
    labels, targets, inside, outside = (blob.data for blob in one.top[1:])
    assert targets.shape == (len(rois), 4 * classes)
    assert labels.shape == (len(rois),)
    for roi, label, *rows in zip(rois, labels, targets, inside, outside, strict=True):
        shows, t = expected[tuple(roi)]
        assert label == (t[4] if shows else 0)
        goal = np.zeros((3, classes, 4))
        if shows:
            w, h, w2, h2 = roi[3] - roi[1] + 1, roi[4] - roi[2] + 1, t[2] - t[0] + 1, t[3] - t[1] + 1
            offsets = [(t[0] + w2 / 2 - roi[1] - w / 2) / w, (t[1] + h2 / 2 - roi[2] - h / 2) / h,
                       math.log(w2 / w), math.log(h2 / h)]  # fmt: skip
            if normalize:
                offsets = [(o - m) / s for o, m, s in zip(offsets, (0.1, 0, 0.2, 0), (0.1, 0.1, 0.2, 0.2), strict=True)]
            goal[:, 1 if agnostic else int(t[4])] = [offsets, [1] * 4, [1] * 4]
        np.testing.assert_allclose(rows, goal.reshape(3, -1), atol=1e-6)
    assert (np.diff((labels > 0).astype(int)) <= 0).all()  # objects first


def test_sampling_is_seeded_and_resumes() -> None:
    settings = "batch_size: 16 fg_fraction: 0.25 bg_thresh_lo: 0"
    one, other = make(settings), make(settings, seed=99)
    seen = set()
    for _ in range(5):
        rois = one.forward()
        assert len(rois) == 16 == len({tuple(roi) for roi in rois})
        assert (one.top[1].data > 0).sum() == 4
        seen.add(rois.tobytes())
    assert len(seen) > 1
    goes_on_as(one, other)


def test_fewer_regions_than_asked_for() -> None:
    one = make("batch_size: 64", ROIS[:4], TRUE)
    assert 3 <= len(one.forward()) <= 7  # the true boxes are regions too


def test_an_image_without_boxes_is_background() -> None:
    one = make("batch_size: 16", true=np.zeros((0, 5)))
    assert len(one.forward()) == 16
    assert not any(blob.data.any() for blob in one.top[1:])


def test_errors() -> None:
    for settings, message in (
        ("batch_size: 0", "batch_size must be at least 1, or -1"),
        ("fg_fraction: -1", "fg_fraction must lie in"),
        ("bbox_std: 0 bbox_std: 1 bbox_std: 1 bbox_std: 1", "bbox_std must be positive"),
        ("bbox_mean: 0", "bbox_mean must have 4 values"),
    ):
        with pytest.raises(PrototxtError, match=message):
            make(settings)
    with pytest.raises(PrototxtError, match="num_classes must be at least 2"):
        make("", classes=0)
    with pytest.raises(DataError, match="a true box has class 2, expected 1 to 1"):
        make("batch_size: -1", classes=2).forward()
    for wrong in (math.nan, math.inf, 1e30, 1.5):
        true = np.column_stack([TRUE[:, :4], np.full(len(TRUE), wrong)])
        with pytest.raises(DataError, match=re.escape(f"a true box has class {wrong:g}, expected a whole number")):
            make("batch_size: -1", true=true).forward()
    with pytest.raises(DataError, match="regions of further ones"):
        make("", ROIS + np.array([1, 0, 0, 0, 0])).forward()
    with pytest.raises(DataError, match="no regions and no true boxes"):
        make("", ROIS[:0], TRUE[:0]).forward()
