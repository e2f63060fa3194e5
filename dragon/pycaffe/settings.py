"""Settings of layers from Python values: which message of a layer a name belongs to, and what may be assigned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from google.protobuf.message import Message

from dragon.bases.registry import find_class, unknown_type
from dragon.errors import PrototxtError, SettingNameError, SettingValueError, nearest
from dragon.proto import dragon_pb2 as pb

__all__ = ["assign", "assign_settings"]


def assign_settings(layer: pb.LayerParameter, params: Mapping[str, Any]) -> None:
    """Set fields of a layer's settings, or of the layer itself, by their names. Raises PrototxtError."""
    fields = pb.LayerParameter.DESCRIPTOR.fields_by_name
    own = {k: v for k, v in params.items() if not (k.endswith("param") and k in fields)}
    messages = _settings_of(layer.type)
    cls = find_class(layer.type)
    if len(messages) > 1 and cls is not None and cls.one_of_settings:
        messages = (max(messages, key=lambda message: sum(key in _known(message) for key in own)),)
    place = {key: message for message in reversed(messages) for key in _known(message)}
    for key, value in params.items():
        if key in own and key in place:
            assign(getattr(layer, place[key]), key, value)
        elif key in fields:
            assign(layer, key, value)
        elif cls is None and not messages:
            raise PrototxtError(unknown_type(layer.type))
        else:
            raise SettingNameError(f'unknown setting "{key}"{nearest(key, [*place, *fields])}')


@cache
def _settings_of(type_name: str) -> tuple[str, ...]:
    """Names of the LayerParameter fields that may hold the settings of a layer type.

    For a type that Dragon does not have: the field whose message is TYPEParameter.
    """
    cls = find_class(type_name)
    if cls is not None:
        return cls.settings
    return tuple(
        field.name
        for field in pb.LayerParameter.DESCRIPTOR.fields
        if field.name.endswith("_param")
        and field.message_type is not None
        and field.message_type.name == f"{type_name}Parameter"
    )


def _known(field: str) -> Mapping[str, Any]:
    """Fields of the message that a field of LayerParameter holds, by name."""
    inner = pb.LayerParameter.DESCRIPTOR.fields_by_name[field].message_type
    return inner.fields_by_name if inner is not None else {}


def assign(message: Message, name: str, value: Any) -> None:
    """Set a field from Python values: a dict for a message, a list (or one value) for a repeated field.

    Raises PrototxtError for an unknown field or a value of the wrong type.
    """
    fields = message.DESCRIPTOR.fields_by_name
    if name not in fields:
        raise SettingNameError(f'{message.DESCRIPTOR.name} has no field "{name}"{nearest(name, fields)}')
    field = fields[name]
    try:
        if field.is_repeated:
            items = (
                list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict)) else [value]
            )
            target = getattr(message, name)
            for item in items:
                if isinstance(item, dict):
                    element = target.add()
                    for key, inner in item.items():
                        assign(element, key, inner)
                else:
                    target.append(_plain(item))
        elif isinstance(value, dict):
            target = getattr(message, name)
            for key, inner in value.items():
                assign(target, key, inner)
        elif isinstance(value, Message):
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, _plain(value))
    except PrototxtError:  # of a message inside, which is named there
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingValueError(f"{name}: {value!r} does not fit ({error})") from None


def _plain(value: Any) -> Any:
    """A NumPy scalar as a Python number, which messages accept; other values unchanged."""
    return value.item() if hasattr(value, "item") and not isinstance(value, Message) else value
