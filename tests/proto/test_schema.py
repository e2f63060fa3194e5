"""The schema against the facts: every name, number, type, default and packed flag of BVLC Caffe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from dragon.proto import caffe_pb2, dragon_pb2

FACTS = Path(__file__).parent / "data" / "caffe_fields.txt"
FIELD = re.compile(r"\s*(\d+) (optional|required|repeated) (\S+)\s+(\S+)(?:\s+\[(.*)\])?$")
ENUM = re.compile(r"(\s*)enum (\w+) \{ (.*) \}$")
SCALARS = {
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
}


def _facts() -> Iterator[tuple[str, str]]:
    """(message, line) for every enum and field line; message is empty at the top level."""
    message = ""
    for line in FACTS.read_text().splitlines():
        if line.startswith("message "):
            message = line.split()[1]
        elif ENUM.match(line) or FIELD.match(line):
            yield ("" if line.startswith("enum") else message, line)


def _type_name(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        return str(field.message_type.name)
    if field.enum_type is not None:
        return str(field.enum_type.name)
    return SCALARS[field.type]


def _label(field: FieldDescriptor) -> str:
    if field.is_repeated:
        return "repeated"
    return "required" if field.is_required else "optional"


def _check_default(field: FieldDescriptor, text: str) -> None:
    if field.enum_type is not None:
        assert field.enum_type.values_by_number[field.default_value].name == text
    elif _type_name(field) == "string":
        assert field.default_value == text
    elif _type_name(field) == "bool":
        assert field.default_value is (text == "true")
    else:
        assert field.default_value == pytest.approx(float(text), rel=1e-6)


@pytest.mark.parametrize(("message", "line"), list(_facts()))
def test_caffe_line(message: str, line: str) -> None:
    descriptor: Descriptor | None = dragon_pb2.DESCRIPTOR.message_types_by_name[message] if message else None
    if match := ENUM.match(line):
        enums = descriptor.enum_types_by_name if descriptor else dragon_pb2.DESCRIPTOR.enum_types_by_name
        enum: EnumDescriptor = enums[match[2]]
        own = 1001  # numbers from here on are Dragon's
        assert ", ".join(f"{v.name}={v.number}" for v in enum.values if v.number < own) == match[3]
        return
    match = FIELD.match(line)
    assert match
    assert descriptor
    number, label, kind, name, option = match.groups()
    field = descriptor.fields_by_name[name]
    assert (field.number, _label(field), _type_name(field)) == (int(number), label, kind)
    assert field.is_packed == (option == "packed")
    assert field.has_default_value == (option is not None and option.startswith("default"))
    if field.has_default_value:
        _check_default(field, option.removeprefix("default").strip())


def test_own_numbers_keep_clear_of_caffe() -> None:
    """What we add to LayerParameter is either in the detection forks' range or from 2001 on."""
    caffe = {m[4] for msg, line in _facts() if msg == "LayerParameter" and (m := FIELD.match(line))}
    own = [f for f in dragon_pb2.LayerParameter.DESCRIPTOR.fields if f.name not in caffe]
    assert own
    assert all(200 <= f.number <= 206 or f.number > 2000 for f in own)


def test_average_has_no_set_default() -> None:
    param = dragon_pb2.BatchNormParameter()
    assert not param.HasField("average")
    assert param.decay == pytest.approx(0.95)


def test_caffe_pb2_is_the_same_module_content() -> None:
    assert caffe_pb2.NetParameter is dragon_pb2.NetParameter
    assert caffe_pb2.TRAIN == dragon_pb2.TRAIN
    assert caffe_pb2.DESCRIPTOR is dragon_pb2.DESCRIPTOR
