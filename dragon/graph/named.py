"""Dictionaries by name of a net's parts, whose KeyError names the nearest key."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NoReturn, TypeVar

from dragon.errors import UnknownBlobError, UnknownNameError, nearest
from dragon.memory.blob import Blob, BlobList

__all__ = ["AUTOMATIC", "BlobValues", "Blobs", "Layers", "Outputs", "Params"]

_V = TypeVar("_V")

AUTOMATIC = "(automatic)"  # begins the names of tops that a net adds, and is all of the name in Caffe


def _unknown(what: str, name: object, known: OrderedDict[str, Any] | dict[str, Any]) -> str:
    return f'no {what} "{name}"{nearest(str(name), known)}'


class BlobValues(OrderedDict[str, _V]):
    """What belongs to blobs, by the blobs' names. Raises UnknownBlobError, a KeyError, for a name that is not there.

    Caffe's name of tops that a net adds gives the last of them, as in pycaffe.
    """

    def __missing__(self, name: object) -> _V:
        added = [key for key in self if key.startswith(AUTOMATIC)] if name == AUTOMATIC else []
        if not added:
            raise UnknownBlobError(_unknown("blob", name, self))
        return self[added[-1]]


class Blobs(BlobValues[Blob]):
    """The blobs of a net by name."""


class Params(OrderedDict[str, BlobList]):
    """The parameter blobs of layers by the layers' names. Raises UnknownNameError, a KeyError."""

    def __missing__(self, name: object) -> NoReturn:
        raise UnknownNameError(_unknown("layer with parameters", name, self))


class Layers(OrderedDict[str, _V]):
    """Layers, or what belongs to them, by the layers' names. Raises UnknownNameError, a KeyError."""

    def __missing__(self, name: object) -> NoReturn:
        raise UnknownNameError(_unknown("layer", name, self))


class Outputs(dict[str, _V]):
    """Values that a run returns, by the blobs' names. Raises UnknownBlobError, a KeyError, for one that it has not."""

    def __missing__(self, name: object) -> NoReturn:
        raise UnknownBlobError(_unknown("output", name, self))
