"""AllExamples: runs of a net over more examples than its batch holds, as pycaffe's Net has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from dragon.errors import ArgumentTypeError, ArrayShapeError, UsageError, nearest
from dragon.graph.named import Outputs
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.graph.named import Blobs

__all__ = ["AllExamples"]

_NONE: dict[str, Array] = {}


class AllExamples:
    """Forward and backward over whole data sets, batch by batch."""

    inputs: list[str]
    outputs: list[str]
    blobs: Blobs
    forward: Callable[..., dict[str, Array]]
    backward: Callable[..., dict[str, Array]]

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Array) -> dict[str, Array]:
        """Run all of the given examples, in batches of the net's size (the last one padded); outputs by name.

        blobs: names to return besides the outputs. inputs: as for `forward`, of any number of examples, also of none.
        Raises UsageError for names that are no inputs, ArrayShapeError for inputs of different lengths, and
        ArgumentTypeError for a blob that has no axis for the examples, such as a loss.
        """
        total = self._count(inputs, self.inputs)
        rows = _Rows(self.blobs, [*self.outputs, *(blobs or [])], total)
        for batch in self._batch(inputs):
            rows.add(self.forward(blobs, None, None, **batch))
        return rows.values()

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **arrays: Array
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Forward and backward over all examples in batches; outputs and input diffs by name.

        arrays: inputs, and diffs of outputs, as for `forward` and `backward`. Raises what `forward_all` does.
        """
        total = self._count(arrays, [*self.inputs, *self.outputs])
        inputs = {name: array for name, array in arrays.items() if name in self.inputs}
        out_diffs = {name: array for name, array in arrays.items() if name in self.outputs}
        outs = _Rows(self.blobs, [*self.outputs, *(blobs or [])], total)
        in_diffs = _Rows(self.blobs, [*self.inputs, *(diffs or [])], total)
        given = zip_longest(self._batch(inputs), self._batch(out_diffs), fillvalue=_NONE)
        for batch, out_diff in given:
            outs.add(self.forward(blobs, None, None, **batch))
            in_diffs.add(self.backward(diffs, None, None, **out_diff))
        return outs.values(), in_diffs.values()

    @staticmethod
    def _count(arrays: Mapping[str, Array], known: Sequence[str]) -> int:
        """The number of examples in the arrays, each of one of the known blobs."""
        unknown = next((name for name in arrays if name not in known), None)
        if unknown is not None or not arrays:
            got = "none" if unknown is None else f'"{unknown}"{nearest(unknown, known)}'
            raise UsageError(f"expected arrays of all examples for {', '.join(known) or 'no blob'}, got {got}")
        lengths = {name: np.shape(array)[:1] for name, array in arrays.items()}
        first, *others = lengths
        for name in others:
            if lengths[name] != lengths[first]:
                raise ArrayShapeError(
                    f'as many examples are needed of each blob: "{first}" has shape {np.shape(arrays[first])}, '
                    f'"{name}" {np.shape(arrays[name])}'
                )
        if not lengths[first]:
            raise ArrayShapeError(f'"{first}" has no axis for the examples: got one number')
        return int(lengths[first][0])

    def _batch(self, arrays: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        """The arrays cut into batches of the net's size, the last one padded with zeros."""
        if not arrays:
            return
        first, array = next(iter(arrays.items()))
        total, size = len(array), next(iter(self.blobs[first].shape), 0)
        if not size:
            raise ArrayShapeError(f'input "{first}" of shape {self.blobs[first].shape} takes no examples')
        for begin in range(0, total, size):
            batch = {name: np.asarray(array[begin : begin + size]) for name, array in arrays.items()}
            short = size - min(size, total - begin)
            if short:
                batch = {n: np.concatenate([a, np.zeros((short, *a.shape[1:]), a.dtype)]) for n, a in batch.items()}
            yield batch


class _Rows:
    """The rows of some blobs, of all batches but for the padding of the last one."""

    def __init__(self, blobs: Blobs, names: Iterable[str], total: int) -> None:
        self._blobs, self._total = blobs, total
        self._found: dict[str, list[Array]] = {name: [] for name in names}
        for name in self._found:
            if not blobs[name].shape:
                raise ArgumentTypeError(f'"{name}" is one number for a batch: it has no rows to collect')

    def add(self, values: Mapping[str, Array]) -> None:
        """Note the rows of one batch."""
        for name, value in values.items():
            self._found[name].extend(value.copy())

    def values(self) -> dict[str, Array]:
        """The rows by the blobs' names: (examples, ...)."""
        return Outputs(
            (name, np.asarray(rows)[: self._total] if rows else np.empty((0, *blob.shape[1:]), blob.dtype))
            for name, rows in self._found.items()
            for blob in [self._blobs[name]]
        )
