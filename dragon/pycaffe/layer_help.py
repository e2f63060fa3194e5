"""Signatures and documentation of the functions of `dragon.layers`, from the schema and the layers' docstrings."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from keyword import iskeyword
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from dragon.bases.registry import find_class
from dragon.bases.settings import Setting, documentation, message_of, parameter_fields, settings
from dragon.proto import dragon_pb2 as pb
from dragon.proto.comments import message_comments

__all__ = ["COMMON", "documentation_of", "python_type", "settings_of", "signature_of"]

COMMON = {
    "name": ("str", "the layer's name; without it, that of its first named top"),
    "in_place": ("bool", "write the top over the bottom"),
}
# the fields of every layer that are not settings of its type
_FIELDS = ("phase", "loss_weight", "param", "propagate_down", "include", "exclude")
_RESERVED = {"ntop", *COMMON, *_FIELDS}
_PYTHON = {
    FieldDescriptor.CPPTYPE_BOOL: "bool",
    FieldDescriptor.CPPTYPE_FLOAT: "float",
    FieldDescriptor.CPPTYPE_DOUBLE: "float",
}
_WIDTH = 116


def python_type(field: Any) -> str:
    """What may be assigned to a field, as an annotation: a message is written _NAME."""
    if field.enum_type is not None:
        text = f"int | Literal[{', '.join(repr(value.name) for value in field.enum_type.values)}]"
    elif field.message_type is not None:
        text = f"_{field.message_type.name}"
    elif field.type == FieldDescriptor.TYPE_BYTES:
        text = "bytes"
    elif field.type == FieldDescriptor.TYPE_STRING:
        text = "str"
    else:
        text = _PYTHON.get(field.cpp_type, "int")
    return f"{text} | Sequence[{text}]" if field.is_repeated else text


@cache
def settings_of(name: str) -> dict[str, Setting]:
    """The settings of a layer type by name: of its own messages, then what every layer has."""
    cls = find_class(name)
    found: dict[str, Setting] = {}
    for field in parameter_fields(cls) if cls is not None else ():
        for setting in settings(name, field):
            if setting.field.name not in _RESERVED:
                found.setdefault(setting.field.name, setting)
    fields = pb.LayerParameter.DESCRIPTOR.fields_by_name
    for field in parameter_fields(cls) if cls is not None else ():
        text = f"settings as a dict, or a {message_of(field).name}"
        found.setdefault(field, Setting(fields[field], "", text))
    for field in _FIELDS:
        found[field] = Setting(fields[field], "", message_comments("LayerParameter").fields.get(field, ""))
    return found


def signature_of(name: str) -> inspect.Signature:
    """The signature of `layers.NAME`: settings with their defaults; `...` where there is none."""
    kind = inspect.Parameter
    parameters = [kind("bottoms", kind.VAR_POSITIONAL, annotation="Top")]
    parameters += [kind(key, kind.KEYWORD_ONLY, default=..., annotation=of) for key, (of, _) in COMMON.items()]
    parameters.append(kind("ntop", kind.KEYWORD_ONLY, default=1, annotation="int"))
    for key, setting in settings_of(name).items():
        if not iskeyword(key):  # given as **{key: value}
            annotation = re.sub(r"\b_(?=[A-Z])", "", python_type(setting.field))
            parameters.append(kind(key, kind.KEYWORD_ONLY, default=_value(setting), annotation=annotation))
    return inspect.Signature(parameters)


def _value(setting: Setting) -> Any:
    """The default of the schema as Python shows it; `...` where there is none, or the type's own is a sentence."""
    field = setting.field
    if field.enum_type is not None:
        return setting.default or ...
    if not field.has_default_value or field.is_repeated:
        return ...
    return field.default_value


def documentation_of(name: str) -> str:
    """The docstring of `layers.NAME`: what the layer does, and each setting with its default and meaning."""
    cls = find_class(name)
    text = documentation(cls) if cls is not None else ""
    lines = [text, "", "Settings:"] if text else ["Settings:"]
    return "\n".join([*lines, *_lines(name)])


def _lines(name: str) -> Iterator[str]:
    for key, (_, meaning) in COMMON.items():
        yield f"    {key}: {meaning}"
    yield "    ntop: number of tops; 0 returns the layer, more than 1 a tuple"
    for key, setting in settings_of(name).items():
        usual = f" (default {setting.default})" if setting.default else ""
        line = f"{key}: {setting.meaning}{usual}" if setting.meaning else f"{key}{usual}"
        yield textwrap.fill(line, _WIDTH, initial_indent="    ", subsequent_indent="        ")
