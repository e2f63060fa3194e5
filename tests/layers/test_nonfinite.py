"""NaN on the reference: what depends on it is NaN too, or an error; marks that are none are numbers or an error."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.bases.layer import find_class
from dragon.errors import DragonError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.catalogue import CASES, Case

# what comes out are counts, choices or found boxes, or NaN is a mark: where FlowNet's loss knows no truth
_CHOOSE = {
    "Accuracy", "ArgMax", "Threshold", "CTCBeamSearchDecoder", "CTCGreedyDecoder", "L1Loss", "LabelsequenceAccuracy",
    "Proposal", "YoloDetectionOutput", "Yolov3DetectionOutput",
}  # fmt: skip
PLACES = [
    (name, i)
    for name, case in CASES.items()
    for i, given in enumerate(case.inputs)
    if isinstance(given, tuple) and _CHOOSE.isdisjoint({case.kind, getattr(find_class(case.kind), "type", "")})
]
MARKS = [(name, i) for name, case in CASES.items() for i, given in enumerate(case.inputs) if isinstance(given, str)]


LARGE = 50.0
Tops = dict[str, np.ndarray[Any, Any]]


@lru_cache(maxsize=1)
def _definition(case: Case) -> pb.NetParameter:
    return parse_text(case.text(), pb.NetParameter())


@lru_cache(maxsize=1)
def _values(case: Case) -> dict[str, np.ndarray[Any, Any]]:
    return case.values()


@lru_cache
def _unchanged(case: Case) -> Tops:
    return _tops(case, "", 0, None)


def _tops(case: Case, changed: str, places: Any, value: float | None) -> Tops:
    net = dragon.Net(_definition(case), dragon.TRAIN, engine="numpy", seed=1)
    try:
        for name, given in _values(case).items():
            array = given.copy()
            if name == changed and value is not None:
                array.reshape(-1)[places] = value
            net.blobs[name].data[...] = array
        with np.errstate(all="ignore"):
            net.run_forward()
            tops = {name: blob.peek().copy() for name, blob in net.blobs.items() if name.startswith("y")}
            if value not in (None, LARGE):  # forward alone says what depends on an element
                net.clear_param_diffs()
                net.run_backward()
        return tops
    finally:
        net.close()


@pytest.mark.parametrize(("name", "bottom"), PLACES)
def test_what_depends_on_an_element_is_nan_where_that_is(name: str, bottom: int) -> None:
    case, changed = CASES[name], f"x{bottom}"
    size = case.values()[changed].size
    before = _unchanged(case)
    if name == "MultiBoxLoss 2" and bottom == 0:
        size = 0  # offsets of a box without a match only choose the hard examples
    for place in np.random.default_rng(1).choice(size, min(5, size), replace=False):
        large = _tops(case, changed, place, LARGE)
        if all(large[top].shape == was.shape and np.allclose(large[top], was) for top, was in before.items()):
            continue
        with suppress(DragonError):  # which says that it is NaN
            assert any(np.isnan(values).any() for values in _tops(case, changed, place, np.nan).values()), place


@pytest.mark.parametrize(("name", "bottom"), PLACES)
def test_a_bottom_of_nan_alone(name: str, bottom: int) -> None:
    case, changed = CASES[name], f"x{bottom}"
    before, large = _unchanged(case), _tops(case, changed, slice(None), LARGE)
    if any(large[top].shape != was.shape or not np.allclose(large[top], was) for top, was in before.items()):
        with suppress(DragonError):
            assert any(np.isnan(values).any() for values in _tops(case, changed, slice(None), np.nan).values())


@pytest.mark.parametrize(("name", "bottom"), MARKS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -5.0, 1e9, -1e30])
def test_odd_marks_are_numbers_or_an_error(name: str, bottom: int, value: float) -> None:
    case, changed = CASES[name], f"x{bottom}"
    for places in (0, case.values()[changed].size // 2, slice(None)):
        with suppress(DragonError):
            _tops(case, changed, places, value)
