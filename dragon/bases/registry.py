"""The registry: which class a prototxt type names. A file of `layers/` adds its class when it is imported.

What a type is stands in the class attributes of `dragon.bases.layer.Layer`. Tools that have a definition ask
`class_of(param)`; engines and tools that have a net ask its layers.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from dragon.bases.foreign_layers import about
from dragon.errors import LayerName, PrototxtError, nearest
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.bases.layer import Context, Layer

__all__ = ["canonical", "class_of", "create", "find_class", "layer_types", "register", "unknown_type"]

_REGISTRY: dict[str, type[Layer]] = {}
_loaded = False

L = TypeVar("L", bound="type[Layer]")


def register(*aliases: str) -> Callable[[L], L]:
    """Class decorator: make a layer known under its `type`, and under further names that forks use for it."""

    def add(cls: L) -> L:
        cls.aliases = aliases
        for name in (cls.type, *aliases):
            _REGISTRY[name] = cls
        return cls

    return add


def _load_all() -> None:
    global _loaded
    if not _loaded:
        import dragon.layers as package

        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"dragon.layers.{module.name}")
        _loaded = True


def layer_types() -> list[str]:
    """The prototxt names of all known layers, aliases among them, sorted."""
    _load_all()
    return sorted(_REGISTRY)


def find_class(type_name: str) -> type[Layer] | None:
    """The layer class of a prototxt type or alias, or None."""
    _load_all()
    return _REGISTRY.get(type_name)


def canonical(type_name: str) -> str:
    """The main name of a type: `SyncBN` gives `BN`. Names that are not registered stay as they are."""
    cls = find_class(type_name)
    return type_name if cls is None else cls.type


def class_of(param: pb.LayerParameter) -> type[Layer]:
    """The class that `create` would make of a definition; `Layer` itself, with its defaults, for an unknown type."""
    from dragon.bases.layer import Layer

    cls = find_class(param.type)
    return Layer if cls is None else cls.form(param)


def create(param: pb.LayerParameter, phase: int = pb.TRAIN, context: Context | None = None) -> Layer:
    """The layer that `param.type` names. PrototxtError, with the nearest known type, when there is none."""
    if find_class(param.type) is None:
        raise PrototxtError(unknown_type(param.type), layer=LayerName(param.name))
    return class_of(param)(param, phase, context)


def unknown_type(name: str) -> str:
    """The message for a type that is not there: what another fork has under this name, or the nearest known one."""
    foreign = about(name)
    hint = f": {foreign}" if foreign else nearest(name, layer_types())
    return f'unknown layer type "{name}"{hint}'
