"""Fields and values of forks that change what is computed: errors that say whose they are and what they do."""

from __future__ import annotations

import logging

import pytest

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.hints import hint
from dragon.proto.refused import _FIELDS, _VALUES
from dragon.proto.text import parse_text

FIELDS = [(message, name) for message, names in _FIELDS.items() for name in names]
VALUES = [(message, field, value) for (message, field), names in _VALUES.items() for value in names]


@pytest.mark.parametrize(("message", "name"), FIELDS)
def test_a_field_is_named_with_its_fork(message: str, name: str) -> None:
    fork, what, instead = _FIELDS[message][name]
    empty = getattr(pb, message)()
    with pytest.raises(PrototxtError) as raised:
        parse_text(f"{name}: 1", empty, "net.prototxt")
    said = str(raised.value)
    assert said == f'net.prototxt:1:1: {message} has no field "{name}": in {fork} it {what}; {instead}'


@pytest.mark.parametrize(("message", "name"), FIELDS)
def test_a_field_is_neither_ours_nor_a_hint(message: str, name: str) -> None:
    assert name not in pb.DESCRIPTOR.message_types_by_name[message].fields_by_name
    assert hint(message, name) is None


@pytest.mark.parametrize(("message", "field", "value"), VALUES)
def test_a_value_is_named_with_its_fork(message: str, field: str, value: str) -> None:
    enum = pb.DESCRIPTOR.message_types_by_name[message].fields_by_name[field].enum_type
    assert enum is not None
    assert value not in enum.values_by_name
    fork, what, instead = _VALUES[message, field][value]
    with pytest.raises(PrototxtError) as raised:
        parse_text(f"{field}: {value}", getattr(pb, message)(), "net.prototxt")
    assert str(raised.value).endswith(f'got "{value}": in {fork} it {what}; {instead}')


def test_in_a_net_the_layer_is_named_too() -> None:
    text = """layer { name: "c" type: "Convolution"
      convolution_param { num_output: 1 kernel_size: 1 shape_offset: 1 } }"""
    with pytest.raises(PrototxtError) as raised:
        parse_text(text, pb.NetParameter(), "net.prototxt")
    assert str(raised.value) == (
        'net.prototxt:2:56: ConvolutionParameter has no field "shape_offset": in caffe-windows it changes the size of '
        'the top; not offered, in layer "c"'
    )


def test_unknown_fields_may_pass(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dragon"):
        parsed = parse_text("num_output: 3 normalize: true", pb.InnerProductParameter(), allow_unknown=True)
    assert parsed.num_output == 3
    assert "in caffe-windows it scales each output's weights to length 1; not offered; skipped" in caplog.text


def test_other_unknown_fields_have_their_nearest_name() -> None:
    with pytest.raises(PrototxtError, match=r'has no field "num_outpt" \(did you mean "num_output"\?\)'):
        parse_text("num_outpt: 3", pb.InnerProductParameter())
