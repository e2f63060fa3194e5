"""Layers say whether they compute something else in TRAIN than in TEST: each case of the catalogue is run in both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.bases.layer import TEST, TRAIN
from dragon.bases.registry import class_of
from dragon.graph.net import Net
from dragon.graph.own_phase import own_phase
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.catalogue import CASES, Case


def tops(case: Case, phase: int) -> list[NDArray[Any]]:
    with Net(parse_text(case.text(), pb.NetParameter()), phase=phase, engine="numpy", seed=3) as net:
        rng = np.random.default_rng(1)
        for node in net.nodes:
            for i in node.layer.buffers:
                node.layer.blobs[i].data[...] = rng.uniform(0.5, 1.5, node.layer.blobs[i].shape)
        for name, value in case.values().items():
            net.blobs[name].data[...] = value
        net.run_forward()
        return [np.array(top.peek()) for node in net.nodes if node.name == "one" for top in node.tops]


# A margin follows the count of iterations, which TRAIN moves: that is no difference of the phases. LabelSpecificAdd has
# its margin in TRAIN alone, but not for the scores of the catalogue.
MARGINS = ("LabelSpecificAdd", "LargeMarginInnerProduct", "MarginInnerProduct")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.kind not in MARGINS])
def test_a_layer_says_whether_the_phase_matters(name: str) -> None:
    param = parse_text(CASES[name].text(), pb.NetParameter()).layer[-1]
    pairs = zip(tops(CASES[name], TRAIN), tops(CASES[name], TEST), strict=True)
    differs = not all(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True) for a, b in pairs)
    assert class_of(param).differs_by_phase(param) == differs


def test_a_phase_that_matters() -> None:
    dropout = pb.LayerParameter(type="Dropout")
    assert own_phase(dropout) is None
    dropout.phase = pb.TEST
    assert own_phase(dropout) == TEST
    dropout.type = "ReLU"
    assert own_phase(dropout) is None
