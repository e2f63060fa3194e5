"""LabelSpecificAdd: which scores change, by how much over the iterations, and what TEST does."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "LabelSpecificAdd": [
        ("label_specific_add_param { bias: -0.35 }", ((3, 5), "labels")),
        ("label_specific_add_param { bias: -0.25 transform_test: true }", ((3, 5), "labels"), 2),
        (
            "label_specific_add_param { bias_base: -0.2 bias_gamma: 0.01 bias_min: -1 bias_max: 1 iteration: 2 }",
            ((3, 5), "labels"),
            2,
        ),
    ]
}
ARRAY_CODE = {"LabelSpecificAdd": "its picked scores have no kernels"}
X = np.array([[0.9, 0.1, 0.2], [0.5, 0.3, 0.1], [0.2, 0.1, -0.4]])
LABELS = [0, 1, 2]


@pytest.mark.parametrize("in_place", [False, True])
def test_the_own_score_is_lowered_where_it_is_above_the_margin(in_place: bool) -> None:
    text = 'type: "LabelSpecificAdd" label_specific_add_param { bias: -0.35 }'
    expected = X.copy()
    expected[0, 0] -= np.float32(0.35)  # the others are below 0.35
    np.testing.assert_array_equal(One(text, X, LABELS, in_place=in_place, dtype=np.float64).forward(), expected)
    check_gradient(text, [X, LABELS], in_place=in_place)


@pytest.mark.parametrize("transform", [False, True])
def test_phase_test(transform: bool) -> None:
    text = (
        f'type: "LabelSpecificAdd" label_specific_add_param {{ bias: -0.35 transform_test: {str(transform).lower()} }}'
    )
    changed = One(text, X, LABELS, phase=TEST, dtype=np.float64).forward() != X
    assert changed.sum() == transform


def test_the_bias_over_the_iterations() -> None:
    settings = "bias_base: -0.2 bias_gamma: 0.5 bias_power: 0.25 bias_min: -0.15 bias_max: 0.3 iteration: 1"
    one = One(f'type: "LabelSpecificAdd" label_specific_add_param {{ {settings} }}', X, LABELS, n_top=2)
    for n in range(1, 8):
        one.forward()
        expected = min(max(-0.2 + (1 + 0.5 * n) ** 0.25 - 1, -0.15), 0.3)
        assert one.top[1].data[0] == pytest.approx(expected, rel=1e-5)


def test_a_bias_that_grows_beyond_all_numbers_is_limited() -> None:
    settings = "bias_base: 0 bias_gamma: 9 bias_power: 400 bias_max: 0.5 iteration: 1"
    one = One(f'type: "LabelSpecificAdd" label_specific_add_param {{ {settings} }}', X, LABELS, n_top=2)
    one.forward()
    assert one.top[1].data.tolist() == [0.5]


def test_messages() -> None:
    text = 'type: "LabelSpecificAdd" '
    with pytest.raises(ShapeError, match=r"needs scores \(N, classes\), got shape \(3, 3, 2\)"):
        One(text, np.zeros((3, 3, 2)), LABELS)
    with pytest.raises(ShapeError, match=r"expected 3 labels, got shape \(2,\)"):
        One(text, X, [0, 1])
    with pytest.raises(PrototxtError, match="bias_gamma must not be negative, got -1"):
        One(text + "label_specific_add_param { bias_gamma: -1 }", X, LABELS)
    with pytest.raises(PrototxtError, match="bias_min must not exceed bias_max, got 1 and 0"):
        One(text + "label_specific_add_param { bias_base: 0 bias_min: 1 }", X, LABELS)
    with pytest.raises(DataError, match="is out of range: expected 0 to 2 for 3 classes"):
        One(text, X, [0, 1, 3]).forward()
