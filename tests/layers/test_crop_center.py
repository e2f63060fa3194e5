"""CropCenter: what is left between the ends of each axis."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.layers.crop_center import CropCenter
from dragon.proto import dragon_pb2 as pb
from tests.layers.helpers import One

CATALOGUE = {
    "CropCenter": [
        ("crop_center_param { crop_size: 0 crop_size: 0 crop_size: 1 crop_size: 1 }",),
        ("crop_center_param { crop_size: 0 crop_size: 2 }", ((3, 5),)),
    ]
}
X = np.random.default_rng(1).standard_normal((2, 5, 6, 7))


def test_values() -> None:
    text = 'type: "CropCenter" crop_center_param { crop_size: 0 crop_size: 1 crop_size: 2 crop_size: 3 }'
    y = One(text, X, dtype=np.float64).forward()
    assert y.shape == (2, 3, 2, 1)
    for n, c, i, j in np.ndindex(*y.shape):
        assert y[n, c, i, j] == X[n, c + 1, i + 2, j + 3]
    check_gradient(text, [X], most=60)


def test_coordinates_move_by_what_is_cut_off() -> None:
    param = pb.LayerParameter(crop_center_param={"crop_size": [0, 0, 2, 3]})
    axis, scale, shift = CropCenter.coordinates(param)
    assert (axis, scale, shift.tolist()) == (1, 1, [-2, -3])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 1), r"expected 4 crop_size, one for each axis of shape \(2, 5, 6, 7\), got 2"),
        ((1, 1, 1, 1), r"crop_size \[1, 1, 1, 1\] leaves nothing of a bottom of shape \(2, 5, 6, 7\)"),
        ((0, 0, 4, 0), "leaves nothing"),
    ],
)
def test_messages(sizes: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        One(f'type: "CropCenter" crop_center_param {{ {" ".join(f"crop_size: {s}" for s in sizes)} }}', X)


def test_in_place_is_refused() -> None:
    with pytest.raises(PrototxtError, match="cannot work in place"):
        One('type: "CropCenter" crop_center_param { crop_size: 0 crop_size: 0 crop_size: 0 crop_size: 0 }', X,
            in_place=True)  # fmt: skip
