"""Graph: which layers run, and where splits stand."""

from __future__ import annotations

import pytest

import dragon
from dragon.errors import PrototxtError
from dragon.graph.definition import filter_net, insert_splits, rule_matches, run_state
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text


def net(text: str) -> pb.NetParameter:
    return parse_text(text, pb.NetParameter())


@pytest.mark.parametrize(
    ("rule", "state", "matches"),
    [
        ("", "phase: TEST level: 3", True),
        ("phase: TRAIN", "phase: TEST", False),
        ("min_level: 2", "level: 1", False),
        ("min_level: 2", "level: 2", True),
        ("max_level: 2", "level: 3", False),
        ('stage: "a" stage: "b"', 'stage: "b"', False),
        ('stage: "a" stage: "b"', 'stage: "b" stage: "a" stage: "c"', True),
        ('not_stage: "a"', 'stage: "a"', False),
        ('not_stage: "a"', 'stage: "b"', True),
    ],
)
def test_rules(rule: str, state: str, matches: bool) -> None:
    parsed = parse_text(rule, pb.NetStateRule()), parse_text(state, pb.NetState())
    assert rule_matches(*parsed) is matches


def test_filter_takes_any_include_and_no_exclude() -> None:
    definition = net(
        """
        layer { name: "always" type: "X" }
        layer { name: "train" type: "X" include { phase: TRAIN } }
        layer { name: "either" type: "X" include { phase: TRAIN } include { stage: "s" } }
        layer { name: "not_test" type: "X" exclude { phase: TEST } }
        """
    )
    names = [n.name for n in filter_net(definition, pb.NetState(phase=pb.TEST, stage=["s"])).layer]
    assert names == ["always", "either"]


def test_include_and_exclude_together_are_refused() -> None:
    with pytest.raises(PrototxtError, match='layer "x"'):
        filter_net(net('layer { name: "x" include { } exclude { } }'), pb.NetState())


def test_run_state_adds_stages_and_overrides_the_phase() -> None:
    base = pb.NetState(phase=pb.TRAIN, level=2, stage=["a"])
    state = run_state(base, pb.TEST, 0, "a,b")
    assert (state.phase, state.level, list(state.stage)) == (pb.TEST, 2, ["a", "b"])


def layers(definition: pb.NetParameter) -> list[tuple[str, list[str], list[str]]]:
    return [(n.name, list(n.bottom), list(n.top)) for n in insert_splits(definition).layer]


def test_split_is_inserted_for_two_readers_with_caffes_names() -> None:
    result = layers(
        net(
            """
            layer { name: "data" top: "d" top: "label" }
            layer { name: "a" bottom: "d" top: "a" }
            layer { name: "b" bottom: "d" bottom: "label" top: "b" }
            """
        )
    )
    assert result[1] == ("d_data_0_split", ["d"], ["d_data_0_split_0", "d_data_0_split_1"])
    assert result[2] == ("a", ["d_data_0_split_0"], ["a"])
    assert result[3] == ("b", ["d_data_0_split_1", "label"], ["b"])


def test_in_place_makes_a_new_value() -> None:
    result = layers(
        net(
            """
            layer { name: "data" top: "x" }
            layer { name: "relu" bottom: "x" top: "x" }
            layer { name: "a" bottom: "x" top: "a" }
            layer { name: "b" bottom: "x" top: "b" }
            """
        )
    )
    assert [r[0] for r in result] == ["data", "relu", "x_relu_0_split", "a", "b"]


def test_a_loss_weight_counts_as_a_reader_and_moves_to_output_0() -> None:
    split = insert_splits(
        net(
            """
            layer { name: "l" type: "EuclideanLoss" top: "loss" loss_weight: 3 }
            layer { name: "reader" bottom: "loss" top: "y" }
            """
        )
    )
    assert list(split.layer[0].loss_weight) == [0]
    assert list(split.layer[1].loss_weight) == [3, 0]
    assert list(split.layer[2].bottom) == ["loss_l_0_split_1"]


def test_unknown_bottom_names_the_layer_and_the_nearest() -> None:
    with pytest.raises(PrototxtError, match=r'layer "a" \(ReLU\): unknown bottom "dta".*"data"'):
        insert_splits(net('layer { name: "i" top: "data" } layer { name: "a" type: "ReLU" bottom: "dta" top: "a" }'))


@pytest.mark.parametrize(
    ("rules", "phase", "said"),
    [
        ("include { phase: TRAIN }", pb.TEST, "include { phase: TRAIN }"),
        ("exclude { phase: TRAIN }", pb.TRAIN, "exclude { phase: TRAIN }"),
        ('include { stage: "a" } include { min_level: 2 }', pb.TEST, 'include { stage: "a" } include { min_level: 2 }'),
    ],
)
def test_unknown_bottom_names_the_layer_that_is_left_out(rules: str, phase: int, said: str) -> None:
    """A net for training alone, read for the test, or the other way round: `dragon summarize` of train.prototxt."""
    text = f"""
        layer {{ name: "images" type: "Input" top: "data" input_param {{ shape {{ dim: 2 }} }} {rules} }}
        layer {{ name: "a" type: "ReLU" bottom: "data" top: "a" }}
    """
    with pytest.raises(PrototxtError) as raised:
        dragon.Net(net(text), phase=phase)
    expected = f'unknown bottom "data": layer "images", which makes it, is left out by {said}'
    assert expected in str(raised.value)
