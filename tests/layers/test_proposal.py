"""Proposal against a loop over anchors."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from tests.bases.test_anchors import overlap
from tests.layers.helpers import One
from tests.layers.test_anchor_target import anchors_of

ANCHORS = "feat_stride: 4 base_size: 4 scale: 1 scale: 2"
CATALOGUE = {
    "Proposal": [
        (f"proposal_param {{ {ANCHORS} min_size: 2 }}", ((1, 12, 5, 5), (1, 24, 5, 5), "image info")),
        (
            f"proposal_param {{ {ANCHORS} min_size: 2 pre_nms_topn: 40 post_nms_topn: 7 nms_thresh: 0.5 }}",
            ((1, 12, 5, 5), (1, 24, 5, 5), "image info"),
            2,
        ),
    ]
}
RNG = np.random.default_rng(3)
SCORES, OFFSETS = RNG.uniform(size=(1, 12, 5, 6)), RNG.standard_normal((1, 24, 5, 6)) / 3
INFO = np.array([[20.0, 24.0, 0.5]])


def make(settings: str = "", n_top: int = 2) -> One:
    return One(f'type: "Proposal" proposal_param {{ {ANCHORS} {settings} }}', SCORES, OFFSETS, INFO, n_top=n_top,
               dtype=np.float64)  # fmt: skip


def brute(
    anchors: np.ndarray, threshold: float, smallest: float, before: int, after: int
) -> list[tuple[float, np.ndarray]]:
    found = []
    for y, x, a in np.ndindex(5, 6, 6):
        box = anchors[a] + np.array([x, y, x, y]) * 4
        size = box[2:] - box[:2] + 1
        d = OFFSETS[0, a * 4 : a * 4 + 4, y, x]
        centre, size = box[:2] + size / 2 + d[:2] * size, size * np.exp(d[2:])
        box = np.concatenate([centre - size / 2, centre + size / 2])
        box = np.array([min(max(v, 0), m) for v, m in zip(box, (23, 19, 23, 19), strict=True)])
        if min(box[2] - box[0], box[3] - box[1]) + 1 >= smallest:
            found.append((SCORES[0, 6 + a, y, x], box))
    found.sort(key=lambda pair: -pair[0])
    kept: list[tuple[float, np.ndarray]] = []
    for score, box in found[:before]:
        if all(overlap(box, other) <= threshold for _, other in kept):
            kept.append((score, box))
    return kept[:after]


@pytest.mark.parametrize(("threshold", "smallest", "before", "after"), [(0.7, 3, 6000, 300), (0.3, 4, 50, 6)])
def test_values(threshold: float, smallest: int, before: int, after: int) -> None:
    one = make(f"nms_thresh: {threshold} min_size: {2 * smallest} pre_nms_topn: {before} post_nms_topn: {after}")
    rois = one.forward()
    expected = brute(anchors_of(one), threshold, smallest, before, after)
    assert len(expected) > 3
    np.testing.assert_allclose(rois, [[0, *box] for _, box in expected])
    np.testing.assert_allclose(one.top[1].data[:, 0], [score for score, _ in expected])


def test_0_takes_all() -> None:
    few, every = make("min_size: 1 post_nms_topn: 2"), make("min_size: 1 pre_nms_topn: 0 post_nms_topn: 0")
    assert len(few.forward()) == 2
    assert len(every.forward()) == len(brute(anchors_of(every), 0.7, 0.5, 10**6, 10**6))


def test_the_whole_image_where_nothing_is_left() -> None:
    one = make("min_size: 1000")
    np.testing.assert_array_equal(one.forward(), [[0, 0, 0, 23, 19]])
    np.testing.assert_array_equal(one.top[1].data, [[0]])


def test_the_shape_stays_from_run_to_run() -> None:
    """The engines make a plan for each shape: reshape gives what the last run found."""
    one = make("min_size: 1")
    shape = one.forward().shape
    one.layer.reshape(one.bottom, one.top)
    assert one.top[0].shape == shape


def test_no_gradient() -> None:
    one = make()
    one.forward()
    for blob in one.bottom:
        blob.diff[...] = 5
    one.layer.backward(one.top, [True, True, False], one.bottom)
    assert not one.bottom[0].diff.any()
    assert not one.bottom[1].diff.any()


def test_errors() -> None:
    with pytest.raises(PrototxtError, match="nms_thresh must not be negative"):
        make("nms_thresh: -1")
    text = f'type: "Proposal" proposal_param {{ {ANCHORS} }}'
    with pytest.raises(ShapeError, match=r"bottom 0: expected one image with 2 channels for each of 6 anchors"):
        One(text, OFFSETS, OFFSETS, INFO)
    with pytest.raises(ShapeError, match=r"one height and width"):
        One(text, SCORES[:, :, 1:], OFFSETS, INFO)
