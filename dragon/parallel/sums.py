"""Sums over ranks in an order that is always the same: of the parts that a rank has received, and between ranks.

Ranks are in groups: all of them in one, or those of each machine in one. The ranks of a group are added up first, in
their order, then the groups.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.parallel.wire import Wire

__all__ = ["Groups", "Messages", "add_groups", "add_up", "sum_flat", "sum_in_groups"]

Groups = Sequence[Sequence[int]]
Message = tuple[int, NDArray[Any]]  # a rank, and what is sent to it or received from it

_BLOCK = 1 << 14  # elements that are added up at a time, so that they stay in the cache
_PARTS, _SUMS, _TO_OWNERS, _TO_ALL = 1, 2, 3, 4  # tags of messages
_LOOK, _PAUSE = 3e-4, 2e-5  # seconds that a rank looks for messages without a pause, and for which it then pauses


class Messages:
    """Sends vectors between ranks over MPI, and has memory to receive them. waited: seconds that it has waited."""

    def __init__(self, comm: Any, rank: int) -> None:
        self._comm = comm
        self.rank = rank
        self.waited = 0.0
        self._memory: dict[str, NDArray[np.uint8]] = {}

    def buffer(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array of arbitrary content. The next call for the name hands out the same memory.

        To get new memory from the system takes about as long as to send what fits in.
        """
        size = math.prod(shape) * dtype.itemsize
        if name not in self._memory or self._memory[name].size < size:
            self._memory[name] = np.empty(size, np.uint8)
        return self._memory[name][:size].view(dtype).reshape(shape)

    def trade(self, sent: Sequence[Message], got: Sequence[Message], tag: int) -> None:
        """Send to and receive from other ranks, which do so at the same time.

        By single messages: MPI's own exchange of parts that differ in length takes several times as long. MPI moves a
        large vector in pieces, each when both ranks look, so they look for a while without a pause: that takes at least
        50 us, and with one behind each piece the vector took three times as long.
        """
        began = time.perf_counter()
        requests = [self._comm.Irecv(values, rank, tag) for rank, values in got if rank != self.rank]
        requests += [self._comm.Isend(values, rank, tag) for rank, values in sent if rank != self.rank]
        looked = began
        for request in requests:
            while not request.Test():
                if time.perf_counter() - looked > _LOOK:
                    time.sleep(_PAUSE)
                    looked = time.perf_counter()
        self.waited += time.perf_counter() - began


def add_up(rows: Sequence[NDArray[Any]], out: NDArray[Any], divisor: int = 1, wire: Wire | None = None) -> None:
    """Put into `out` the sum of rows, one after another, divided by `divisor`; `out` may be one of the rows.

    wire: the form that rows and `out` have.
    """
    sums = np.empty(min(_BLOCK, out.size), out.dtype if wire is None else np.float32)
    other = sums if wire is None else np.empty_like(sums)
    for start in range(0, out.size, _BLOCK):
        at = slice(start, min(start + _BLOCK, out.size))
        part, more = sums[: at.stop - start], other[: at.stop - start]
        if wire is None:
            part[...] = rows[0][at]
        else:
            wire.unpack(rows[0][at], part)
        for row in rows[1:]:
            part += row[at] if wire is None else wire.unpack(row[at], more)
        if divisor != 1:
            part /= divisor
        if wire is None:
            out[at] = part
        else:
            wire.pack(part, out[at])


def add_groups(rows: NDArray[Any], groups: Groups, out: NDArray[Any], divisor: int) -> None:
    """As add_up, of the rows of all ranks: those of each group, then the groups."""
    if len(groups) == 1:
        add_up(list(rows), out, divisor)
        return
    sums = np.empty((len(groups), out.size), out.dtype)
    for total, group in zip(sums, groups, strict=True):
        add_up([rows[rank] for rank in group], total)
    add_up(list(sums), out, divisor)


def sum_flat(messages: Messages, values: NDArray[Any], members: Sequence[int], divisor: int, wire: Wire | None) -> None:
    """Put into `values` its sum over the members, in their order, divided by `divisor`.

    Each member adds up one part and sends it to the others: 2 (N - 1) / N of the bytes go out of each, as in a ring.
    wire: the form in which float32 values are sent.
    """
    own, n = members.index(messages.rank), len(members)
    sent = values
    if wire is not None:
        sent = wire.pack(values, messages.buffer("sent", values.shape, wire.dtype))
    ends = [values.size * k // n for k in range(n + 1)]
    parts = [sent[a:b] for a, b in pairwise(ends)]
    rows: list[NDArray[Any]] = list(messages.buffer("rows", (n, parts[own].size), sent.dtype))
    rows[own] = parts[own]
    messages.trade(list(zip(members, parts, strict=True)), list(zip(members, rows, strict=True)), _PARTS)
    add_up(rows, parts[own], divisor, wire)
    messages.trade([(rank, parts[own]) for rank in members], list(zip(members, parts, strict=True)), _SUMS)
    if wire is not None:
        wire.unpack(sent, values)


def sum_in_groups(messages: Messages, values: NDArray[Any], groups: Groups, divisor: int, wire: Wire | None) -> None:
    """As sum_flat over all ranks, but first within each group, then between the groups.

    Of S equal slices, as many as the smallest group has ranks, rank k of each group adds up slice k within the group,
    exchanges it with the ranks k of the other groups, and sends it to its group. So S / N of the bytes go from a group
    to another at a time, by all its ranks at once, and the messages count groups in place of ranks. Only what goes
    between groups is sent in the form of `wire`.
    """
    group = next(group for group in groups if messages.rank in group)
    k, count = list(group).index(messages.rank), min(map(len, groups))
    ends = [values.size * j // count for j in range(count + 1)]
    slices = [values[a:b] for a, b in pairwise(ends)]
    owners = list(zip(group, slices, strict=False))  # the first `count` ranks of the group
    rows: list[NDArray[Any]] = []
    if k < count:
        rows = list(messages.buffer("rows", (len(group), slices[k].size), values.dtype))
        rows[k] = slices[k]
    messages.trade(owners, list(zip(group, rows, strict=False)), _TO_OWNERS)
    if k < count:
        add_up(rows, slices[k])
        sum_flat(messages, slices[k], [other[k] for other in groups], divisor, wire)
    messages.trade([(rank, slices[k]) for rank in group] if k < count else [], owners, _TO_ALL)
