"""Names that Dragon reads of a layer and that a user's class may have for things of its own (see layers/python.py)."""

from __future__ import annotations

import inspect
from typing import Any

from dragon.bases.layer import Layer
from dragon.errors import PrototxtError

__all__ = ["KEPT_APART", "attributes_for"]

# Pycaffe's base class has none of them. Those that a class has are the user's while its code runs.
KEPT_APART = frozenset(
    {"_phase", "bottoms", "close", "context", "dtype", "guess_score", "identity", "load_state", "loss_weights"}
    | {"multiply_adds", "name", "param", "reads_signs", "reads_top", "reads_top_in_place", "rng", "settings", "state"}
    | {"top_range", "tops", "where"}
)
_SET_BY_LAYER = ("blobs", "param_str")  # of pycaffe's base class, which sets them too
_DEFAULTS = {"bottoms": (0, None), "tops": (0, None), "settings": ("python_param",)}


class _Replaceable:
    """A property of Layer that an attribute of an instance may replace."""

    def __init__(self, value: property) -> None:
        self.value = value

    def __get__(self, layer: Layer | None, owner: type[Layer]) -> Any:
        return self.value.__get__(layer, owner)


class _Apart:
    """What the user's class has under a name, while the user's code runs; what Dragon has under it otherwise."""

    def __init__(self, name: str, users: Any, own: Any) -> None:
        self.name, self.users, self.own = name, users, own

    def __get__(self, layer: Any, owner: type[Layer]) -> Any:
        if layer is None:
            return self.own
        inside = layer._inside
        if not (inside and _has(self.users, "__set__")) and self.name in vars(layer):
            return vars(layer)[self.name]
        found = self.users if inside else self.own
        return type(found).__get__(found, layer, owner) if _has(found, "__get__") else found

    def __set__(self, layer: Any, value: Any) -> None:
        if layer._inside and _has(self.users, "__set__"):
            type(self.users).__set__(self.users, layer, value)
        else:
            vars(layer)[self.name] = value

    def __delete__(self, layer: Any) -> None:
        if layer._inside and _has(self.users, "__delete__"):
            type(self.users).__delete__(self.users, layer)
        elif vars(layer).pop(self.name, self) is self:
            raise AttributeError(self.name)


def _has(value: Any, method: str) -> bool:
    return hasattr(type(value), method)


def attributes_for(user: type[Layer]) -> dict[str, Any]:
    """Attributes of the class that is made of a user's, by which Dragon and the user each have their own.

    Raises PrototxtError for a property under a name of pycaffe's base class that cannot be set.
    """
    made: dict[str, Any] = {} if user.type != Layer.type else {"type": "Python"}
    of_class = set()
    for name in KEPT_APART:
        users, own = inspect.getattr_static(user, name, None), inspect.getattr_static(Layer, name, None)
        default = _DEFAULTS.get(name, own)
        if users is own:
            if isinstance(own, property):
                made[name] = _Replaceable(own)
            elif name in _DEFAULTS:
                made[name] = default
        elif name in _DEFAULTS:
            if not _is_range(name, users):
                made[name] = _Apart(name, users, default)
        elif own is None and not _has(users, "__set__"):
            of_class.add(name)
        elif not isinstance(own, property) and not callable(users):
            made[name] = _Apart(name, users, own)
    for name in _SET_BY_LAYER:
        users = inspect.getattr_static(user, name, None)
        if isinstance(users, property) and users.fset is None:
            raise PrototxtError(
                f"class {user.__name__} has a property {name} that cannot be set: {name} is Caffe's own"
            )
    return {**made, "_of_class": frozenset(of_class)}


def _is_range(name: str, value: Any) -> bool:
    """Whether a class says something to Dragon by a name of _DEFAULTS: how many bottoms or tops it takes."""
    if name == "settings" or not isinstance(value, tuple) or len(value) != 2:
        return False
    return isinstance(value[0], int) and isinstance(value[1], (int, type(None)))
