"""The registry of layer types: which class a `type` of a prototxt names. Files of `layers/` register their classes.

What is known about a type is in the class attributes of `dragon.bases.layer.Layer`. Tools that have a definition ask
`class_of(param)`; engines and tools that have a net ask its layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from dragon.bases.finite import check_finite
from dragon.bases.foreign_layers import describe_foreign
from dragon.bases.loading import Files
from dragon.errors import LayerName, PrototxtError, nearest
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.bases.layer import Context, Layer

__all__ = [
    "canonical",
    "class_of",
    "create",
    "find_class",
    "layer_types",
    "register",
    "spelled",
    "unknown_type",
    "unread_by_all",
    "unread_settings",
]

_REGISTRY: dict[str, type[Layer]] = {}

L = TypeVar("L", bound="type[Layer]")


def _package() -> ModuleType:
    import dragon.layers

    return dragon.layers


_FILES = Files(_package, _REGISTRY)


def register(*aliases: str) -> Callable[[L], L]:
    """Class decorator: register a layer under its `type`, and under further names that forks use for it."""

    def add(cls: L) -> L:
        if not cls.__module__.startswith("dragon.layers."):
            _FILES.load()  # first: a file loaded later would take the name back
        cls.aliases = aliases
        for name in (cls.type, *aliases):
            _REGISTRY[name] = cls
        return cls

    return add


def layer_types() -> list[str]:
    """The prototxt names of all known layers, aliases among them, sorted."""
    _FILES.load()
    return sorted(_REGISTRY)


def find_class(type_name: str) -> type[Layer] | None:
    """The layer class of a prototxt type or alias, or None.

    A type whose file has its name is loaded alone, since few nets need more than ten of them: for others all files are.
    """
    _FILES.load_for(type_name)
    return _REGISTRY.get(type_name)


def spelled(word: str) -> str | None:
    """The type that a word means, in any case and with underscores: `inner_product`; None if there is none.

    As in `find_class`, all files are loaded only where the one of its name has no such type.
    """
    plain = word.replace("_", "").lower()
    _FILES.load_file(plain)
    return _spelled(word, plain, sorted(_REGISTRY)) or _spelled(word, plain, layer_types())


def _spelled(word: str, plain: str, names: list[str]) -> str | None:
    return word if word in names else next((name for name in names if name.lower() == plain), None)


def canonical(type_name: str) -> str:
    """The main name of a type: "BN" for "SyncBN". Names that are not registered are returned as they are."""
    cls = find_class(type_name)
    return type_name if cls is None else cls.type


def class_of(param: pb.LayerParameter) -> type[Layer]:
    """The class that `create` would instantiate for a definition; `Layer` itself for an unknown type."""
    from dragon.bases.layer import Layer

    cls = find_class(param.type)
    return Layer if cls is None else cls.form(param)


def unread_settings(param: pb.LayerParameter) -> dict[str, str]:
    """Names of messages of settings that a definition has and its type does not read, with what it reads instead."""
    if (cls := find_class(param.type)) is None:
        return {}
    read = {*cls.settings, *class_of(param).settings}
    given = [field.name for field, _ in param.ListFields() if field.message_type is not None]
    why = f"the type reads {', '.join(cls.settings) or 'none'}"
    return {name: why for name in given if name.endswith("_param") and name not in read}


def unread_by_all(layers: Sequence[pb.LayerParameter], field: str) -> str:
    """What the first of the layers reads in place of a field that was set in all; empty if one of them reads it."""
    whys = [unread_settings(layer).get(field, "") for layer in layers]
    return whys[0] if whys and all(whys) else ""


def create(param: pb.LayerParameter, phase: int = pb.TRAIN, context: Context | None = None) -> Layer:
    """A new layer of type `param.type`.

    Raises PrototxtError, with the nearest known type, for an unknown one, and for settings that are NaN or infinite.
    """
    named = find_class(param.type)
    if named is None:
        raise PrototxtError(unknown_type(param.type), layer=LayerName(param.name))
    cls = class_of(param)
    check_finite(param, named, cls)
    return cls(param, phase, context)


def unknown_type(name: str) -> str:
    """The message for an unknown type: what it is in a fork, or the nearest known type."""
    foreign = describe_foreign(name)
    hint = f": {foreign}" if foreign else nearest(name, layer_types())
    return f'unknown layer type "{name}"{hint}'
