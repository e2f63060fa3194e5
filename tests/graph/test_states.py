"""The states that the rules of a net tell apart, and whether the layers of one can be wired."""

from __future__ import annotations

import pytest

from dragon.graph.states import MOST_STATES, is_wired, present, states
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text


def net(*rules: str) -> pb.NetParameter:
    text = "".join(f'layer {{ name: "{k}" type: "Input" top: "{k}" {rule} }}' for k, rule in enumerate(rules))
    return parse_text(text, pb.NetParameter())


def test_every_combination_once() -> None:
    one = net(
        "", 'include { stage: "a" }', 'exclude { stage: "b" phase: TEST }', "include { min_level: 2 max_level: 4 }"
    )
    found = {phase: {tuple(present(one, state)) for state in states(one, phase)} for phase in (pb.TRAIN, pb.TEST)}
    assert found[pb.TRAIN] == {(0, 2), (0, 1, 2), (0, 2, 3), (0, 1, 2, 3)}
    assert found[pb.TEST] == found[pb.TRAIN] | {(0,), (0, 1), (0, 3), (0, 1, 3)}
    assert len(states(one, pb.TRAIN)) == 4
    assert len(states(net("", ""), pb.TRAIN)) == 1


def test_their_number_is_bounded() -> None:
    many = net(*(f'include {{ stage: "s{k}" }}' for k in range(30)))
    assert len(states(many, pb.TEST)) == MOST_STATES
    assert len(states(many, pb.TEST)[0].stage) == 0


@pytest.mark.parametrize(
    ("layers", "wired"),
    [
        ('top: "a" | bottom: "a" top: "a" | bottom: "a" top: "b"', True),
        ('top: "a" | bottom: "c" top: "b"', False),
        ('top: "a" | top: "a"', False),
        ('top: "a" | bottom: "a" top: "b" | bottom: "a" top: "a"', False),
        ('top: "a" top: "b" | bottom: "a" bottom: "b" top: "b"', False),
    ],
)
def test_wired(layers: str, wired: bool) -> None:
    assert is_wired(parse_text(one, pb.LayerParameter()) for one in layers.split("|")) == wired
