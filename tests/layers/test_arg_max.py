from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import Layer
from dragon.errors import PrototxtError, ShapeError
from tests.layers.helpers import One

X = np.random.default_rng(8).integers(0, 5, (3, 4, 2)).astype(float)  # with many ties


def best(values: list[float], k: int) -> list[int]:
    return sorted(range(len(values)), key=lambda i: (-values[i], -i))[:k]


@pytest.mark.parametrize("top_k", [1, 3])
def test_of_whole_items(top_k: int) -> None:
    index = One(f'type: "ArgMax" argmax_param {{ top_k: {top_k} }}', X).forward()
    both = One(f'type: "ArgMax" argmax_param {{ top_k: {top_k} out_max_val: true }}', X).forward()
    assert index.shape == (3, 1, top_k)
    assert both.shape == (3, 2, top_k)
    for n in range(3):
        values = X[n].ravel().tolist()
        assert index[n, 0].tolist() == both[n, 0].tolist() == best(values, top_k)
        assert both[n, 1].tolist() == [values[i] for i in best(values, top_k)]


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_along_an_axis(axis: int, top_k: int) -> None:
    if top_k > X.shape[axis]:
        return
    setting = f"axis: {axis} top_k: {top_k}"
    index = np.moveaxis(One(f'type: "ArgMax" argmax_param {{ {setting} }}', X).forward(), axis, -1)
    value = np.moveaxis(One(f'type: "ArgMax" argmax_param {{ {setting} out_max_val: true }}', X).forward(), axis, -1)
    moved = np.moveaxis(X, axis, -1)
    for at in np.ndindex(*moved.shape[:-1]):
        expected = best(moved[at].tolist(), top_k)
        assert index[at].tolist() == expected
        assert value[at].tolist() == moved[at][expected].tolist()


def test_messages() -> None:
    with pytest.raises(ShapeError, match="top_k is 9 of 8 values"):
        One('type: "ArgMax" argmax_param { top_k: 9 }', X)
    with pytest.raises(PrototxtError, match="top_k must be at least 1"):
        One('type: "ArgMax" argmax_param { top_k: 0 }', X)


@pytest.mark.parametrize("text", ['type: "ArgMax"', 'type: "Threshold"'])
def test_no_gradient_passes(text: str) -> None:
    one = One(text, X)
    layer: Layer = one.layer
    layer.backward(one.top, [False], one.bottom)
    with pytest.raises(PrototxtError, match="has no gradient for bottom 0"):
        layer.backward(one.top, [True], one.bottom)


@pytest.mark.parametrize("in_place", [False, True])
def test_threshold(in_place: bool) -> None:
    one = One('type: "Threshold" threshold_param { threshold: 2 }', X, in_place=in_place)
    assert one.forward().tolist() == (X > 2).astype(float).tolist()
