"""Lowerings: how layers become oneDNN primitives, by prototxt type. One file for each family.

A lowering is called with the builder and the node of its layer when forward is built. It returns the function that
builds the layer's backward (called in reverse order when training), or None where there is none. It raises
NotLoweredError, before or after it has begun, when the layer with its settings shall run its reference code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from dragon.bases.loading import Files
from dragon.bases.registry import canonical
from dragon.engines.onednn.plan.builder import Backward, Builder
from dragon.graph.node import Node

__all__ = ["Lowering", "find", "lowered", "lowers"]

Lowering = Callable[[Builder, Node], Backward | None]

_TABLE: dict[str, Lowering] = {}
_FILES = Files(lambda: sys.modules[__name__], _TABLE)


def lowers(*types: str) -> Callable[[Lowering], Lowering]:
    """Decorator: this function lowers layers of these types (main names, not aliases)."""

    def add(function: Lowering) -> Lowering:
        for name in types:
            _TABLE[name] = function
        return function

    return add


def lowered() -> dict[str, str]:
    """The layer types with a lowering, and the module of each."""
    _FILES.load()
    return {name: function.__module__ for name, function in _TABLE.items()}


def find(type_name: str) -> Lowering | None:
    """The lowering of a layer type or alias, or None. A type whose file has its name is loaded alone, if at all."""
    name = canonical(type_name)
    _FILES.load_for(name)
    return _TABLE.get(name)
