"""ContinuationIndicator: its marks, where its sizes come from, and what it says of wrong ones."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from tests.layers.helpers import One

CATALOGUE = {
    "ContinuationIndicator": [
        ("continuation_indicator_param { time_step: 3 batch_size: 2 }", ()),
        ("continuation_indicator_param { time_step: 3 batch_size: 2 flag: true }", ()),
        ("continuation_indicator_param { time_step: 3 batch_size: 2 }", ("steps",)),
        ("", ((3, 2, 5),)),
    ]
}
ARRAY_CODE = {"ContinuationIndicator": "writes constants"}
ANEW = [[0, 0], [1, 1], [1, 1]]


def text(settings: str) -> str:
    return f'type: "ContinuationIndicator" continuation_indicator_param {{ {settings} }}'


def test_each_sequence_begins_at_step_0() -> None:
    one = One(text("time_step: 3 batch_size: 2"))
    assert one.forward().tolist() == ANEW
    assert One(text("time_step: 1 batch_size: 2")).forward().tolist() == [[0, 0]]


def test_sequences_that_go_on() -> None:
    assert One(text("time_step: 2 batch_size: 2 flag: true")).forward().tolist() == [[1, 1], [1, 1]]
    one = One(text("time_step: 2 batch_size: 3"), [0, 1, 0.5])
    assert one.forward().tolist() == [[0, 1, 0], [1, 1, 1]]


def test_sizes_of_the_bottom() -> None:
    """They follow it when its shape changes; only the shape counts."""
    one = One('type: "ContinuationIndicator"', np.ones((3, 2, 7)))
    assert one.forward().tolist() == ANEW
    assert one.forward(np.ones((2, 1, 7))).tolist() == [[0], [1]]
    assert One(text("time_step: 3"), np.ones((3, 2))).forward().tolist() == ANEW


def test_no_gradient_reaches_the_bottom() -> None:
    one = One('type: "ContinuationIndicator"', np.ones((3, 2, 7)))
    one.bottom[0].diff[...] = 1
    one.forward()
    assert not one.backward(np.ones((3, 2))).any()


def test_wrong_sizes() -> None:
    with pytest.raises(PrototxtError, match=r"needs time_step and batch_size, or a bottom of shape \(T, N, \.\.\.\)"):
        One(text("time_step: 3"))
    for settings, shape, message in (
        ("time_step: 3", (2, 2), r"needs a bottom of shape \(3, N, \.\.\.\), got \(2, 2\)"),
        ("batch_size: 3", (2,), r"needs a bottom of shape \(T, 3, \.\.\.\), got \(2,\)"),
        ("time_step: 3 batch_size: 2", (3,), r"it must hold 2 values, got shape \(3,\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            One(text(settings), np.zeros(shape))
