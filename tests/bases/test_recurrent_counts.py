"""Multiply-adds of recurrent layers, by hand from the shapes."""

from __future__ import annotations

import pytest

from dragon import TEST, Net
from dragon.graph.node import multiply_adds
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

T, N, X, S, D = 3, 2, 5, 7, 4


@pytest.mark.parametrize(
    ("kind", "bottoms", "settings", "expected"),
    [
        ("LSTM", ["x", "cont"], f"recurrent_param {{ num_output: {D} }}", T * N * 4 * D * (X + D)),
        (
            "LSTM",
            ["x", "cont", "fixed"],
            f"recurrent_param {{ num_output: {D} }}",
            T * N * 4 * D * (X + D) + N * 4 * D * S,
        ),
        ("RNN", ["x", "cont"], f"recurrent_param {{ num_output: {D} }}", T * N * D * (X + D + D)),
        ("Lstm", ["rows"], f"lstm_param {{ num_output: {D} batch_size: {N} }}", T * N * 4 * D * (X + D)),
    ],
)
def test_multiply_adds(kind: str, bottoms: list[str], settings: str, expected: int) -> None:
    shapes = {"x": (T, N, X), "cont": (T, N), "fixed": (N, S), "rows": (T * N, X)}
    text = "".join(
        f'layer {{ name: "{b}" type: "Input" top: "{b}" input_param {{ shape {{ '
        + " ".join(f"dim: {size}" for size in shapes[b])
        + " } } }\n"
        for b in bottoms
    )
    text += (
        f'layer {{ name: "y" type: "{kind}" top: "y" {settings} ' + " ".join(f'bottom: "{b}"' for b in bottoms) + " }"
    )
    net = Net(parse_text(text, pb.NetParameter()), TEST, engine="numpy", seed=1)
    assert multiply_adds(net.nodes[-1]) == expected
