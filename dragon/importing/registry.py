"""The operators that have a form in Caffe, each with the function that writes its layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from dragon.bases.loading import load_files

if TYPE_CHECKING:
    from dragon.importing.context import Context

__all__ = ["Converter", "converters", "operator"]

Converter = Callable[["Context"], None]
_known: dict[str, Converter] = {}


def operator(*names: str) -> Callable[[Converter], Converter]:
    """Decorator: the function that writes the layers of an ONNX operator, for each of its `names`.

    Its docstring says which layers these are; docs/import.md shows its first line.
    """

    def enter(function: Converter) -> Converter:
        for name in names:
            if name in _known:
                raise ValueError(f"two functions for operator {name}")
            _known[name] = function
        return function

    return enter


@cache
def _load() -> None:
    import dragon.importing.operators as package

    load_files(package)


def converters() -> dict[str, Converter]:
    """The functions by operator, in alphabetical order."""
    _load()
    return dict(sorted(_known.items()))
