"""Names for layers and blobs: those of the ONNX file, as far as prototxt, HDF5 and vendors' tools can take them."""

from __future__ import annotations

import re

from dragon.surgery.values import free_name

__all__ = ["Names", "valid_name"]

_TROUBLE = re.compile(r"[^\w./:+-]+", re.ASCII)  # anything but letters, digits and marks that Caffe's nets use


def valid_name(name: str) -> str:
    """The name without marks at its ends and with "_" in place of spaces, quotes and the like; "value" for nothing."""
    return _TROUBLE.sub("_", name).strip("/") or "value"


class Names:
    """Gives out names, each once; a name that is taken gets a number behind it."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str, others: Names | None = None) -> str:
        """A valid name like `wanted` that nobody has yet, neither here nor among `others`; taken in both."""
        taken = self._taken | others._taken if others is not None else self._taken
        name = free_name(valid_name(wanted), taken)
        for names in (self, others or self):
            names._taken.add(name)
        return name
