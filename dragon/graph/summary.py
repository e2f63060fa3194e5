"""What a net consists of, layer by layer: shapes, learned numbers, multiply-adds and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dragon.graph.facts import added_splits, parameter_count, shapes_text, summary, window_columns
from dragon.graph.node import Node, multiply_adds, value_counts
from dragon.graph.outputs import batch_size
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["HEAD", "TEXT", "LayerRow", "NetTable", "cells", "net_table", "net_text", "size_text"]

HEAD = ("layer", "type", "tops", "parameters", "multiply-adds", "MiB", "kernel", "stride", "pad")
TEXT = (0, 1, 2, 6, 7, 8)  # the columns that are not figures
_MIB = 2**20


@dataclass(frozen=True)
class LayerRow:
    """A layer: the shapes of its tops, how many values it learns and keeps as statistics, its work and memory.

    multiply_adds: of one forward pass. memory: bytes of its tops' data; what tops share, as in place or
    behind a Split or a Reshape, counts where it is made.
    added: it is a Split that the net has put in.
    """

    name: str
    type: str
    shapes: tuple[tuple[int, ...], ...]
    window: tuple[str, str, str]  # kernel, stride and padding as text, empty for a layer without
    learned: int
    statistics: int
    multiply_adds: int
    memory: int
    added: bool


@dataclass(frozen=True)
class NetTable:
    """The layers of a net, and what they sum up to. Sizes are in bytes; shared parameters count once."""

    title: str
    rows: Sequence[LayerRow]
    batch: int
    parameters: int
    parameter_bytes: int
    statistics_bytes: int

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a forward pass."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def memory(self) -> int:
        """Bytes of the data of all tops."""
        return sum(row.memory for row in self.rows)

    @property
    def totals(self) -> list[tuple[str, str]]:
        """The sums as text, each with its name."""
        extra = f"; running statistics another {size_text(self.statistics_bytes)}" if self.statistics_bytes else ""
        macs = self.multiply_adds
        each = f", {macs // self.batch:,} for one of {self.batch}" if self.batch > 1 else ""
        return [
            ("parameters", f"{self.parameters:,} learned, {size_text(self.parameter_bytes)}{extra}"),
            ("multiply-adds", f"{macs:,} forward" + each),
            ("memory of tops", size_text(self.memory)),
        ]

    @property
    def notes(self) -> list[str]:
        """What the columns mean, a line each."""
        lines = ["parameters: learned + running statistics; MiB: data of the tops, the gradients take as much again"]
        if any(row.added for row in self.rows):
            lines.append(
                "added: a Split that the net puts in where several layers read a blob; it copies nothing forward"
            )
        return lines


def net_table(net: Net) -> NetTable:
    """The table of a net in its present shapes."""
    added = set(added_splits(net))
    seen: set[int] = set()
    rows = []
    for node in net.nodes:
        own = {id(blob.data_storage): blob for blob in node.tops}  # in place, or of a Split or a view: counted once
        rows.append(_row(node, sum(_bytes(blob) for key, blob in own.items() if key not in seen), node.index in added))
        seen |= own.keys()
    weights = sum(_bytes(param.blob) for param in net.learnable)
    return NetTable(
        f"{summary(net)}, phase {pb.Phase.Name(net.phase)}",
        rows,
        max(1, batch_size(net)),
        parameter_count(net),
        weights,
        sum(_bytes(blob) for blob, _ in net.owned) - weights,
    )


def _row(node: Node, memory: int, added: bool) -> LayerRow:
    layer = node.layer
    learned, statistics = value_counts(node)
    shapes = tuple(blob.shape for blob in node.tops)
    return LayerRow(
        node.name, layer.type, shapes, window_columns(layer), learned, statistics, multiply_adds(node), memory, added
    )


def cells(row: LayerRow) -> list[str]:
    """The cells of a layer, below HEAD."""
    return [
        row.name,
        row.type + " (added)" * row.added,
        shapes_text(row.shapes),
        f"{row.learned:,}" + (f" + {row.statistics:,}" if row.statistics else ""),
        f"{row.multiply_adds:,}",
        f"{row.memory / _MIB:.2f}",
        *row.window,
    ]


def net_text(net: Net, width: int | None = None) -> str:
    """The table as text with its sums. width: the most characters of a line; None for lines of any length."""
    from dragon.columns import columns

    found = net_table(net)
    parts = [found.title, "", columns(HEAD, map(cells, found.rows), TEXT, width), "", *found.notes]
    return "\n".join(parts + [f"{name:<15}  {text}" for name, text in found.totals])


def size_text(number: int) -> str:
    """A number of bytes in MiB, or in KiB where it is small."""
    return f"{number / _MIB:.2f} MiB" if number >= 0.1 * _MIB else f"{number / 2**10:.2f} KiB"


def _bytes(blob: Blob) -> int:
    return blob.count * blob.dtype.itemsize
