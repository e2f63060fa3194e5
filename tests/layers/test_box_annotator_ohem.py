"""BoxAnnotatorOHEM against a loop over the regions of each image."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from tests.layers.helpers import One

CATALOGUE = {
    "BoxAnnotatorOHEM": [("box_annotator_ohem_param { roi_per_img: 1 ignore_label: -1 }",
                          ("rois", (2, 1, 1, 1), (2,), (2, 8)), 2)]
}  # fmt: skip
RNG = np.random.default_rng(4)
ROIS = np.concatenate([RNG.integers(0, 3, (20, 1)), RNG.uniform(size=(20, 4))], axis=1)
LOSS, LABELS, WEIGHTS = RNG.integers(0, 6, 20) / 4, RNG.integers(0, 4, 20), RNG.uniform(size=(20, 8))


@pytest.mark.parametrize("most", [1, 4, 50])
@pytest.mark.parametrize("tail", [(), (1, 1)])
def test_values(most: int, tail: tuple[int, ...]) -> None:
    one = One(
        f'type: "BoxAnnotatorOHEM" box_annotator_ohem_param {{ roi_per_img: {most} ignore_label: -7 }}',
        ROIS.reshape(20, 5, *tail), LOSS.reshape(20, 1, *tail), LABELS.reshape(20, *tail),
        WEIGHTS.reshape(20, 8, *tail), n_top=2, dtype=np.float64,
    )  # fmt: skip
    labels = one.forward()
    assert labels.shape == (20, *tail)
    left = dict.fromkeys(ROIS[:, 0], most)
    expected, weights = np.full(20, -7.0), np.zeros((20, 8))
    for r in sorted(range(20), key=lambda r: (-LOSS[r], r)):
        if left[ROIS[r, 0]]:
            left[ROIS[r, 0]] -= 1
            expected[r], weights[r] = LABELS[r], WEIGHTS[r]
    np.testing.assert_array_equal(labels.ravel(), expected)
    np.testing.assert_array_equal(one.top[1].data.reshape(20, 8), weights)


def test_errors() -> None:
    text = 'type: "BoxAnnotatorOHEM" box_annotator_ohem_param { roi_per_img: 2 }'
    with pytest.raises(PrototxtError, match="roi_per_img must be at least 1"):
        One(text.replace("2 }", "0 }"), ROIS, LOSS, LABELS, WEIGHTS, n_top=2)
    with pytest.raises(ShapeError, match="bottom 1: expected a value for each of 20 regions"):
        One(text, ROIS, LOSS[:3], LABELS, WEIGHTS, n_top=2)
    with pytest.raises(ShapeError, match="bottom 3: expected weights of 20 regions"):
        One(text, ROIS, LOSS, LABELS, WEIGHTS[:3], n_top=2)
    with pytest.raises(DataError, match="the loss of region 2 is NaN"):
        One(text, ROIS, np.where(np.arange(20) == 2, np.nan, LOSS), LABELS, WEIGHTS, n_top=2).forward()
