"""A limit of infinity has the effect of one that no value reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dragon
from dragon.bases.layer import find_class
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.catalogue import CASES, Case

_BEYOND = 1e6  # overlaps and probabilities are at most 1
_LIMITS = ("nms_threshold", "nms_thresh", "overlap_threshold", "positive_overlap", "thresh", "iou_thresh",
           "fg_thresh", "bg_thresh_hi", "confidence_threshold")  # fmt: skip


def _limits(case: Case) -> list[str]:
    cls = find_class(case.kind)
    return [] if cls is None else [name for name in _LIMITS if name in cls.unlimited]


def _set(message: Any, name: str, value: float) -> bool:
    """Set the field of that name, in a message that is given or in one in it."""
    if name in message.DESCRIPTOR.fields_by_name:
        setattr(message, name, value)
        return True
    given = [part for field, part in message.ListFields() if field.message_type and not field.is_repeated]
    return any(_set(part, name, value) for part in given)


def _outputs(case: Case, limit: str, value: float) -> dict[str, np.ndarray[Any, Any]]:
    message = parse_text(case.text(), pb.NetParameter())
    layer = next(layer for layer in message.layer if layer.type == case.kind)
    if limit == "nms_threshold" and case.kind in ("DetectionOutput", "MultiBoxLoss"):
        settings = layer.detection_output_param if case.kind == "DetectionOutput" else layer.multibox_loss_param
        settings.nms_param.SetInParent()
    cls = find_class(case.kind)
    assert cls is not None
    for name in cls.settings:
        getattr(layer, name).SetInParent()
    assert _set(layer, limit, value)
    with dragon.Net(message, dragon.TRAIN, engine="numpy", seed=1) as net:
        for name, given in case.values().items():
            net.blobs[name].data[...] = given
        net.run_forward()
        return {name: blob.peek().copy() for name, blob in net.blobs.items() if name.startswith("y")}


@pytest.mark.parametrize(("name", "limit"), [(name, limit) for name, case in CASES.items() for limit in _limits(case)])
def test_infinity_is_beyond_all_values(name: str, limit: str) -> None:
    got, expected = _outputs(CASES[name], limit, np.inf), _outputs(CASES[name], limit, _BEYOND)
    assert got.keys() == expected.keys() != set()
    for top, values in expected.items():
        np.testing.assert_array_equal(got[top], values)
