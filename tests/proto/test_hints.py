"""Fields of forks that choose how a net is computed are skipped with a warning; those that change numbers are not."""

from __future__ import annotations

import logging

import pytest

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.hints import _HINTS, ENGINES, hint
from dragon.proto.text import parse_text


def read(text: str, caplog: pytest.LogCaptureFixture) -> tuple[pb.NetParameter, list[str]]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dragon"):
        net = parse_text(text, pb.NetParameter(), "net.prototxt")
    return net, list(caplog.messages)


def test_hints_of_forks_are_warnings(caplog: pytest.LogCaptureFixture) -> None:
    text = """
      name: "n" default_forward_type: FLOAT16 global_grad_scale: 1000. compile_net_state { kept_bn_layers: ["a"] }
      layer { name: "a" forward_type: FLOAT relu_param { engine: MKL2017 fuse: true } type: "ReLU" }
      layer { name: "b" forward_type: FLOAT data_param { source: "x" cache: true threads: 4 } }
      layer { name: "c" split_param { engine: "MKLDNN:CPU" } concat_param { axis: 2 engine: MKL2017 } }
    """
    net, messages = read(text, caplog)
    assert [layer.name for layer in net.layer] == ["a", "b", "c"]
    assert net.layer[0].type == "ReLU"
    assert net.layer[1].data_param.source == "x"
    assert net.layer[2].concat_param.axis == 2
    said = [
        "default_forward_type", "global_grad_scale", "compile_net_state", "forward_type", "MKL2017", "fuse", "cache",
        "threads", "split_param", "engine",
    ]  # fmt: skip
    assert len(messages) == len(said), messages  # the second forward_type is not reported again
    for message, name in zip(messages, said, strict=True):
        assert name in message
        assert message.startswith("net.prototxt:")
        assert "it changes no result and is skipped" in message


def test_each_hint_is_a_field_that_the_schema_lacks() -> None:
    """A hint that the schema has would never be reported. `prefetch` and the like are written for several messages."""
    for message, names in _HINTS.items():
        fields = pb.DESCRIPTOR.message_types_by_name[message].fields_by_name
        known = {name for name in names if name in fields}
        assert known <= {"engine", "prefetch", "shuffle"}, message


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("ConvolutionParameter", "relu"),
        ("InnerProductParameter", "normalize"),
        ("PoolingParameter", "pad_l"),
        ("FillerParameter", "alpha"),
        ("SolverParameter", "larc"),
    ],
)
def test_fields_that_change_numbers_are_no_hints(message: str, name: str) -> None:
    assert hint(message, name) is None


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_engines_of_forks_pass_where_the_schema_has_an_engine(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    net, _ = read(f"layer {{ relu_param {{ engine: {engine} negative_slope: 2 }} }}", caplog)
    assert net.layer[0].relu_param.negative_slope == 2


def test_an_engine_that_no_fork_has_is_an_error() -> None:
    with pytest.raises(PrototxtError, match="CUDNN, got"):
        parse_text("layer { relu_param { engine: MKL2018 } }", pb.NetParameter(), "net.prototxt")


@pytest.mark.parametrize("devices", ["device_id: [0, 1]", "device_id: 0 device_id: 1"])
def test_a_list_of_devices_is_a_hint(devices: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dragon"):
        solver = parse_text(f'net: "n" {devices} max_iter: 3', pb.SolverParameter(), "solver.prototxt")
    assert solver.max_iter == 3
    assert len(caplog.messages) == 1
    assert "device_id" in caplog.messages[0]
