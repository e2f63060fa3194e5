"""What each layer type becomes in ONNX, by prototxt type. One file for each family.

A form is called with the graph and the node of its layer. It returns the values of the tops, as many as the node has:
those of `graph.op`, or a bottom's where the layer does nothing. It raises NoFormError for settings without a form.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from dragon.bases.loading import load_files
from dragon.bases.registry import canonical
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node

__all__ = ["Form", "NoFormError", "find", "formed", "lacks", "reason", "reasons", "writes"]

Form = Callable[[Graph, Node], str | Sequence[str]]

_TABLE: dict[str, Form] = {}
_REASONS: dict[str, str] = {}
_loaded = False


class NoFormError(Exception):
    """A layer with these settings cannot be said in ONNX; the message says why and what to do."""


def writes(*types: str) -> Callable[[Form], Form]:
    """Decorator: this function is the form of layers of these types (main names, not aliases)."""

    def add(function: Form) -> Form:
        for name in types:
            _TABLE[name] = function
        return function

    return add


def lacks(reason: str, *types: str) -> None:
    """State why layers of these types have no form, and what to do: the end of a sentence about such a layer."""
    _REASONS.update(dict.fromkeys(types, reason))


def find(type_name: str) -> Form | None:
    """The form of a layer type or alias, or None."""
    _load_all()
    return _TABLE.get(canonical(type_name))


def reason(type_name: str) -> str:
    """Why a layer type has no form."""
    _load_all()
    return _REASONS.get(canonical(type_name), "has no form in ONNX yet")


def formed() -> dict[str, Form]:
    """The forms by layer type."""
    _load_all()
    return dict(_TABLE)


def reasons() -> dict[str, str]:
    """The layer types without a form, with the reason of each."""
    _load_all()
    return dict(_REASONS)


def _load_all() -> None:
    global _loaded
    if not _loaded:
        load_files(sys.modules[__name__])
        _loaded = True
