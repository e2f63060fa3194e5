"""PrivateNames: names with an underscore that pycaffe takes from its C++ module, and that scripts use."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections import OrderedDict
from typing import SupportsIndex

from dragon.counting import how_many
from dragon.errors import ArgumentTypeError, UnknownNumberError
from dragon.graph.wiring import Wiring
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["PrivateNames", "layer_position"]


class PrivateNames(Wiring):
    """Names, positions and runs of a net as lists and numbers."""

    @property
    @abstractmethod
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """The weight of every blob in the loss, by name."""

    @abstractmethod
    def run_forward(self, start: int = 0, end: int | None = None) -> float:
        """Run layers start..end (inclusive) and return the weighted sum of their losses."""

    @abstractmethod
    def run_backward(self, start: int | None = None, end: int = 0) -> None:
        """Run backward from layer `start` (the last) down to `end` (inclusive)."""

    @abstractmethod
    def set_input_arrays(self, data: Array, labels: Array, layer: int | str = 0) -> None:
        """Set the data and labels of a MemoryData layer of the net."""

    @property
    def _layer_names(self) -> list[str]:
        return [node.name for node in self.nodes]

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def _blob_names_index(self) -> dict[str, int]:
        """Positions of the blobs by name, as in the fork of DeePSiM."""
        return {name: i for i, name in enumerate(self.blobs)}

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.blobs.values())

    @property
    def _inputs(self) -> list[int]:
        """Positions of the inputs among the blobs."""
        return [self._blob_names_index[name] for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        """Positions of the outputs among the blobs."""
        return [self._blob_names_index[name] for name in self.outputs]

    def _forward(self, start: int, end: int) -> float:
        count = len(self.nodes)
        return self.run_forward(layer_position(start, count), layer_position(end, count))

    def _backward(self, start: int, end: int) -> None:
        count = len(self.nodes)
        self.run_backward(layer_position(start, count), layer_position(end, count))

    def _bottom_ids(self, layer: int) -> list[int]:
        return [self._blob_names_index[name] for name in self.nodes[layer].bottom_names]

    def _top_ids(self, layer: int) -> list[int]:
        return [self._blob_names_index[name] for name in self.nodes[layer].top_names]

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    def _set_input_arrays(self, data: Array, labels: Array) -> None:
        self.set_input_arrays(data, labels)


def layer_position(which: SupportsIndex, count: int) -> int:
    """The position of a layer among `count`, from 0. Raises UnknownNumberError, and ArgumentTypeError for no number."""
    try:
        found = operator.index(which)
    except TypeError:
        raise ArgumentTypeError(f"a layer is named, or numbered from 0, got {which!r:.80}") from None
    if not 0 <= found < count:
        raise UnknownNumberError(f"no layer {found}: the net has {how_many(count, 'layer')}, numbered from 0")
    return found
