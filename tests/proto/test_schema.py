"""The schema against the facts: every name, number, type, default and packed flag of BVLC Caffe."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from dragon.proto import caffe_pb2, dragon_pb2

SCHEMA = Path(dragon_pb2.__file__).with_name("dragon.proto")
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


def text_fields(text: str) -> set[tuple[str, str, int]]:
    """(message or enum, field or value, number) of a .proto file. Inner ones are named `Outer.Inner`."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    # strings, which may hold anything; openings with their names; ends; and NAME = NUMBER before an option or ";"
    token = r'"[^"\n]*"|\b(?:message|enum)\s+(\w+)\s*\{|(\{)|(\})|(\w+)\s*=\s*(-?\d+)\s*(?=;|\[)'
    scopes: list[str] = []
    found: set[tuple[str, str, int]] = set()
    for match in re.finditer(token, text):
        name, other, end, field, number = match.groups()
        if name or other:
            scopes.append(name or "?")
        elif end:
            scopes.pop()
        elif field and scopes:
            found.add((".".join(scopes), field, int(number)))
    assert not scopes
    return found


def descriptor_fields() -> set[tuple[str, str, int]]:
    """The same of the generated module."""
    prefix = f"{dragon_pb2.DESCRIPTOR.package}."
    found: set[tuple[str, str, int]] = set()

    def add(message: Descriptor) -> None:
        found.update((message.full_name.removeprefix(prefix), f.name, f.number) for f in message.fields)
        for enum in message.enum_types:
            found.update((enum.full_name.removeprefix(prefix), v.name, v.number) for v in enum.values)
        for inner in message.nested_types:
            add(inner)

    for message in dragon_pb2.DESCRIPTOR.message_types_by_name.values():
        add(message)
    for enum in dragon_pb2.DESCRIPTOR.enum_types_by_name.values():
        found.update((enum.full_name.removeprefix(prefix), v.name, v.number) for v in enum.values)
    return found


def test_the_generated_module_has_the_fields_of_the_text() -> None:
    text, generated = text_fields(SCHEMA.read_text(encoding="utf-8")), descriptor_fields()
    assert len(text) > 500
    assert sorted(text ^ generated) == [], "run `make proto`"


def test_a_field_that_only_the_text_has_is_seen() -> None:
    text = (
        "message A { enum E { X = 0; } optional E e = 1 [default = X];  // y = 7;\n"
        'optional string s = 2 [default = "}"]; }'
    )
    assert text_fields(text) == {("A.E", "X", 0), ("A", "e", 1), ("A", "s", 2)}


def test_the_head_names_the_next_free_number() -> None:
    stated = re.search(r"Next free: LayerParameter (\d+)\.", SCHEMA.read_text(encoding="utf-8"))
    assert stated is not None
    assert int(stated[1]) == max(f.number for f in dragon_pb2.LayerParameter.DESCRIPTOR.fields) + 1


def test_average_has_no_set_default() -> None:
    param = dragon_pb2.BatchNormParameter()
    assert not param.HasField("average")
    assert param.decay == pytest.approx(0.95)


def test_caffe_pb2_is_the_same_module_content() -> None:
    assert caffe_pb2.NetParameter is dragon_pb2.NetParameter
    assert caffe_pb2.TRAIN == dragon_pb2.TRAIN
    assert caffe_pb2.DESCRIPTOR is dragon_pb2.DESCRIPTOR


def test_messages_can_be_pickled() -> None:
    net = dragon_pb2.NetParameter(name="n")
    net.layer.add(name="a", type="ReLU").include.add(phase=dragon_pb2.TEST)
    assert pickle.loads(pickle.dumps(net)) == net
    assert pickle.loads(pickle.dumps(net.layer[0].include[0])) == net.layer[0].include[0]
