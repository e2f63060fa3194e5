"""Settings of layers that are NaN, or infinite where that has no meaning: an error before anything runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from dragon.errors import LayerName, PrototxtError
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.bases.layer import Layer

__all__ = ["check_finite", "numbers"]

_NUMBERS = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)


def check_finite(param: pb.LayerParameter, *classes: type[Layer]) -> None:
    """Raise PrototxtError for a setting of a layer that is NaN, or infinite and not in `unlimited` of its class.

    classes: those that read the definition. What none of them reads is not looked at.
    """
    read = {"loss_weight", "param"}.union(*(cls.settings for cls in classes))
    unlimited = {"FillerParameter.value"}.union(*(cls.unlimited for cls in classes))
    for name, field, value in numbers(param, read):
        if math.isfinite(value):
            continue
        may_be_infinite = field.name in unlimited or f"{field.containing_type.name}.{field.name}" in unlimited
        if math.isnan(value) or not may_be_infinite:
            expected = "a number" if may_be_infinite else "a finite number"
            raise PrototxtError(f"{name} must be {expected}, got {value:g}", layer=LayerName(param.name, param.type))


def numbers(message: Any, read: set[str] | None = None, path: str = "") -> Iterator[tuple[str, Any, float]]:
    """Name, descriptor and value of each float setting that is given in a message or in one in it.

    read: the fields to look at; None: all. path: what names begin with.
    """
    for field, value in message.ListFields():
        if read is not None and field.name not in read:
            continue
        name = path + field.name
        if field.type in _NUMBERS:
            for number in value if field.is_repeated else [value]:
                yield name, field, number
        elif field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                yield from numbers(part, path=f"{name}.")
