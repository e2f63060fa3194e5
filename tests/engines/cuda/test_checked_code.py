"""Layers with labels that run array code: a label or a number out of range is the error that the reference raises."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError
from dragon.graph.net import Net
from tests.engines.cuda.running import fill, inputs, make

pytestmark = pytest.mark.usefixtures("cuda")

SETTINGS = {
    "CenterLoss": "center_loss_param { num_output: 4 }",
    "FocalLoss": "loss_param { ignore_label: -1 }",
    "LabelSpecificAdd": "label_specific_add_param { bias: -0.5 }",
    "LargeMarginInnerProduct": "largemargin_inner_product_param { num_output: 4 type: DOUBLE }",
    "MarginInnerProduct": "margin_inner_product_param { num_output: 4 }",
}


def message_of(net: Net) -> str:
    with pytest.raises(DataError) as caught:
        net.run_forward()
    return str(caught.value)


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_label_out_of_range(kind: str) -> None:
    text = inputs({"x": (3, 4), "t": (3, 1)})
    text += f'layer {{ name: "one" type: "{kind}" bottom: "x" bottom: "t" top: "y" {SETTINGS[kind]} }}'
    values = {"x": np.ones((3, 4)), "t": np.array([[1.0], [0.0], [3.0]])}
    nets = [make(text, engine, dtype=np.float64) for engine in ("numpy", "cuda")]
    for wrong in ([1, 4, 7], [1, 0, np.nan]):
        for net in nets:
            fill(net, values)
            net.run_forward()
            fill(net, {"t": np.array(wrong, float).reshape(3, 1)})
        expected, found = (message_of(net) for net in nets)
        assert "is out of range: expected 0 to 3 for 4 classes" in expected
        assert found == expected


def test_a_label_of_a_sequence_out_of_range() -> None:
    """Labels stand in the last bottom; -1 is none."""
    text = inputs({"x": (3, 2, 4), "cont": (3, 2), "t": (2, 2)})
    text += 'layer { name: "one" type: "CTCLoss" bottom: "x" bottom: "cont" bottom: "t" top: "y" }'
    values = {"x": np.ones((3, 2, 4)), "cont": np.array([[0, 0], [1, 1], [1, 1]]), "t": np.array([[1, 2], [-1, 0]])}
    nets = [make(text, engine, dtype=np.float64) for engine in ("numpy", "cuda")]
    for net in nets:
        fill(net, values)
        net.run_forward()
        fill(net, {"t": np.array([[1, 2], [0, 4]])})
    expected, found = (message_of(net) for net in nets)
    assert "label 4 at position (1, 1) is out of range: expected 0 to 3 for 4 classes" in expected
    assert found == expected


@pytest.mark.parametrize("wrong", [{"steps": [3, 4]}, {"count": [-1, 1]}, {"count": [1, 3], "steps": [np.nan, 3]}])
def test_numbers_of_steps_and_labels_out_of_range(wrong: dict[str, list[float]]) -> None:
    text = inputs({"x": (3, 2, 4), "steps": (2,), "count": (2,), "t": (2, 2)})
    text += 'layer { name: "one" type: "WarpCTCLoss" bottom: "x" bottom: "steps" bottom: "count" bottom: "t" top: "y" }'
    values = {"x": np.ones((3, 2, 4)), "steps": [3, 2], "count": [2, 1], "t": np.array([[1, 2], [-1, 0]])}
    nets = [make(text, engine, dtype=np.float64) for engine in ("numpy", "cuda")]
    for net in nets:
        fill(net, {name: np.array(value, float) for name, value in values.items()})
        net.run_forward()
        fill(net, {name: np.array(value) for name, value in wrong.items()})
    expected, found = (message_of(net) for net in nets)
    assert f"numbers of {'labels' if 'count' in wrong else 'steps'} must be 0 to" in expected
    assert found == expected
