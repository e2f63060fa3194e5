"""Inputs for nets whose layers read indices, labels and marks: each proof can run them."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.model import Model
from dragon.surgery.prove import check_runs
from dragon.surgery.samples import feed, sample_inputs


def source(name: str, *dims: int) -> str:
    shape = " ".join(f"dim: {dim}" for dim in dims)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }} }}\n'


def reader(type_: str, bottoms: str, more: str = "") -> str:
    names = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    return f'layer {{ name: "{type_}" type: "{type_}" {names} top: "{type_}" {more} }}\n'


SCORES = source("x", 2, 3, 4, 4) + source("labels", 2, 1, 4, 4)
NETS = {
    "Embed": source("words", 3, 4) + reader("Embed", "words", "embed_param { num_output: 2 input_dim: 7 }"),
    "BatchReindex": source("x", 3, 2) + source("items", 5) + reader("BatchReindex", "x items"),
    "ROIPooling": source("x", 2, 3, 8, 8)
    + source("regions", 4, 5)
    + reader("ROIPooling", "x regions", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }"),
    "SoftmaxWithLoss": SCORES + reader("SoftmaxWithLoss", "x labels") + reader("Accuracy", "x labels"),
    "Accuracy": SCORES + reader("Accuracy", "x labels"),
    "HingeLoss": source("x", 4, 3) + source("labels", 4, 1) + reader("HingeLoss", "x labels"),
}


@pytest.mark.parametrize("name", NETS)
def test_a_proof_runs_what_reads_indices_or_labels(name: str) -> None:
    net = parse_text(NETS[name], pb.NetParameter())
    assert check_runs(Model(net), 3) == ["TRAIN", "TEST"]
    with Net(net, phase=TEST, engine="numpy") as built:
        for key, value in sample_inputs(built).items():
            built.blobs[key].data[...] = value
        built.run_forward()


def test_a_proof_goes_through_the_rows_of_a_table_and_begins_sequences() -> None:
    """Else weights that differ elsewhere, or what follows a mark, would not be compared."""
    lstm = source("x", 6, 2, 3) + source("marks", 6, 2) + reader("LSTM", "x marks", "recurrent_param { num_output: 2 }")
    with Net(parse_text(NETS["Embed"] + lstm, pb.NetParameter()), phase=TEST, engine="numpy") as net:
        feed(net, np.random.default_rng(1))
        assert len(set(net.blobs["words"].peek().ravel())) > 3
        assert set(net.blobs["marks"].peek().ravel()) == {0.0, 1.0}
