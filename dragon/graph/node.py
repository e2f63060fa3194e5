"""Node: one layer of a net with the blobs it reads and makes, and what the net decided about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dragon.bases.layer import Layer
from dragon.errors import Position
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Node", "multiply_adds", "value_counts"]


@dataclass(eq=False, slots=True)
class Node:
    """A layer of a net. Lists with an entry for each bottom or top are in the order of the definition."""

    index: int  # among the net's nodes
    definition: pb.LayerParameter  # after splits were inserted
    layer: Layer
    bottoms: list[Blob]
    bottom_names: list[str]
    tops: list[Blob]
    top_names: list[str]  # with the names of tops that the net added
    position: Position | None = None  # of the definition; None: not from a file, or a Split that the net added
    propagate_down: list[bool] = field(default_factory=list)  # for each bottom: whether backward computes its gradient
    need_backward: bool = False  # whether backward runs here at all
    _filled: list[tuple[int, ...] | None] = field(default_factory=list)  # shapes that got their loss weight

    @classmethod
    def outside(cls, layer: Layer) -> Node:
        """A node for a layer that is not in a net but a part of another layer."""
        return cls(0, layer.param, layer, [], [], [], [])

    @property
    def name(self) -> str:
        """The layer's name in the definition."""
        return self.layer.name

    @property
    def loss_weights(self) -> list[float]:
        """The weight of each top in the loss; 0 for a top that does not count in it."""
        return self.layer.loss_weights

    @property
    def is_empty(self) -> bool:
        """Whether no bottom and no top has an element, as in an empty batch: then there is nothing to compute."""
        blobs = (*self.bottoms, *self.tops)
        return bool(self.bottoms) and not self.layer.runs_user_code and not any(blob.count for blob in blobs)

    @property
    def makes_loss(self) -> bool:
        """Whether a top counts in the loss."""
        return any(self.layer.loss_weights)

    def fill_loss_weights(self) -> None:
        """Put the loss weights into the diffs of the tops that do not hold them yet in their present shape.

        Only then: a script may have put another value there.
        """
        self._filled = self._filled or [None] * len(self.tops)
        for j, (top, weight) in enumerate(zip(self.tops, self.layer.loss_weights, strict=True)):
            if weight and self._filled[j] != top.shape:
                top.diff_storage.overwrite()[: top.count] = weight
                self._filled[j] = top.shape


def multiply_adds(node: Node) -> int:
    """Multiply-adds of one forward pass in layers that multiply by a weight; 0 in others."""
    return node.layer.multiply_adds(node.bottoms, node.tops)


def value_counts(node: Node) -> tuple[int, int]:
    """How many values a layer learns, and how many it keeps as running statistics and the like."""
    layer = node.layer
    statistics = sum(blob.count for k, blob in enumerate(layer.blobs) if k in layer.buffers)
    return sum(blob.count for blob in layer.blobs) - statistics, statistics
