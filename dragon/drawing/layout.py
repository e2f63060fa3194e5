"""Places of boxes in ranks, after Sugiyama, Tagawa and Toda 1981.

Each box has a rank below those that it reads from; an arrow over several ranks gets a point in each. Sweeps by the
mean of the neighbours order the ranks (barycentre method). Then each rank is placed as near to its neighbours as its
order and sizes allow: a least-squares problem that pooling adjacent violators solves exactly (Ayer et al. 1955).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layout", "arrange"]

_GAP = 26.0  # between neighbours in a rank
_POINT = 10.0  # breadth that an arrow takes in a rank that it passes
_SWEEPS = 12
_LONG = 8.0  # weight of the pull between two points of one arrow, so that long arrows are straight


@dataclass(frozen=True)
class Layout:
    """ranks: of the boxes. centres: places of their middles along a rank. breadth: of the whole, from 0.

    routes: for each arrow its places (rank, where) from box to box, one in each rank.
    """

    ranks: tuple[int, ...]
    centres: tuple[float, ...]
    routes: tuple[tuple[tuple[int, float], ...], ...]
    breadth: float


def arrange(breadths: Sequence[float], arrows: Sequence[tuple[int, int]]) -> Layout:
    """Places for boxes of these breadths. arrows: (from, to), each to a later box."""
    ranks = _ranks(len(breadths), arrows)
    sizes = list(breadths)
    rank_of = list(ranks)
    chains, links = _points(arrows, ranks, sizes, rank_of)
    order = _ordered(rank_of, links)
    places = _placed(order, sizes, links, len(breadths))
    left = min((places[i] - sizes[i] / 2 for i in range(len(sizes))), default=0.0)
    places = [x - left for x in places]
    breadth = max((places[i] + sizes[i] / 2 for i in range(len(sizes))), default=0.0)
    routes = _routes(arrows, chains, ranks, places, breadths)
    return Layout(tuple(ranks), tuple(places[: len(breadths)]), routes, breadth)


def _ranks(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """The longest way from a source; a source stands just before its first reader."""
    above, below = _neighbours(count, arrows)
    ranks = [0] * count
    for i in range(count):
        ranks[i] = max((ranks[j] + 1 for j in above[i]), default=0)
    for i in range(count):
        if not above[i] and below[i]:
            ranks[i] = min(ranks[j] for j in below[i]) - 1
    return ranks


def _points(
    arrows: Sequence[tuple[int, int]], ranks: list[int], sizes: list[float], rank_of: list[int]
) -> tuple[list[list[int]], dict[tuple[int, int], float]]:
    """Points of arrows that pass ranks, appended to sizes and rank_of; their indices, and all links with weights.

    Arrows out of one box share their points.
    """
    chains: list[list[int]] = []
    links: dict[tuple[int, int], float] = {}
    shared: dict[tuple[int, int], int] = {}
    for start, end in arrows:
        chain = []
        for rank in range(ranks[start] + 1, ranks[end]):
            if (start, rank) not in shared:
                shared[start, rank] = len(sizes)
                sizes.append(_POINT)
                rank_of.append(rank)
            chain.append(shared[start, rank])
        for a, b in zip([start, *chain], [*chain, end], strict=True):
            inner = a in chain and b in chain
            links[a, b] = _LONG if inner else 1.0
        chains.append(chain)
    return chains, links


def _ordered(rank_of: list[int], links: dict[tuple[int, int], float]) -> list[list[int]]:
    """Nodes of each rank, ordered by the mean place of their neighbours in turn above and below."""
    order: list[list[int]] = [[] for _ in range(max(rank_of, default=-1) + 1)]
    for i, rank in enumerate(rank_of):
        order[rank].append(i)
    above, below = _neighbours(len(rank_of), links)
    place = {i: float(k) for row in order for k, i in enumerate(row)}
    best, fewest = [list(row) for row in order], _crossings(order, below)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in order if down else reversed(order):
            near = above if down else below
            means = {i: sum(place[j] for j in near[i]) / len(near[i]) if near[i] else place[i] for i in row}
            row.sort(key=lambda i: means[i])
            place.update({i: float(k) for k, i in enumerate(row)})
        crossings = _crossings(order, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in order], crossings
    return best


def _neighbours(count: int, links: Iterable[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for a, b in links:
        above[b].append(a)
        below[a].append(b)
    return above, below


def _crossings(order: list[list[int]], below: list[list[int]]) -> int:
    """How many pairs of links between neighbouring ranks cross."""
    total = 0
    for row, next_row in pairwise(order):
        place = {i: k for k, i in enumerate(next_row)}
        seen: list[int] = []
        for i in row:
            ends = [place[j] for j in below[i]]
            total += sum(1 for end in ends for earlier in seen if earlier > end)
            seen += ends
    return total


def _placed(order: list[list[int]], sizes: list[float], links: dict[tuple[int, int], float], boxes: int) -> list[float]:
    """The middle of each node: near to its neighbours, in the order of its rank, with gaps between."""
    place = [0.0] * len(sizes)
    for row in order:
        at = 0.0
        for i in row:
            place[i] = at + sizes[i] / 2
            at += sizes[i] + _GAP
    pulls: list[list[tuple[int, float]]] = [[] for _ in sizes]
    ups: list[list[tuple[int, float]]] = [[] for _ in sizes]
    for (a, b), weight in links.items():
        pulls[a].append((b, weight))
        ups[b].append((a, weight))
    for sweep in range(2 * _SWEEPS):
        down = sweep % 2 == 0
        last = sweep >= 2 * _SWEEPS - 2
        for row in order if down else reversed(order):
            wanted, weights = [], []
            for i in row:
                near = (ups[i] if down else pulls[i]) if not last else [*ups[i], *pulls[i]]
                total = sum(weight for _, weight in near)
                wanted.append(sum(place[j] * weight for j, weight in near) / total if total else place[i])
                weights.append(total or 0.1)
            for i, x in zip(row, _apart(wanted, weights, [sizes[i] for i in row]), strict=True):
                place[i] = x
    return place


def _apart(wanted: Sequence[float], weights: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """The places nearest to `wanted`, weighted, whose order is that of the list and that are a gap apart."""
    offsets, at = [], 0.0
    for k, size in enumerate(sizes):
        at += (sizes[k - 1] + size) / 2 + _GAP if k else 0.0
        offsets.append(at)
    blocks: list[list[float]] = []  # sum of weight times place, weight, count
    for x, weight, offset in zip(wanted, weights, offsets, strict=True):
        blocks.append([(x - offset) * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, weight_sum, number = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + weight_sum, blocks[-1][2] + number]
    means = [total / weight for total, weight, number in blocks for _ in range(int(number))]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _routes(
    arrows: Sequence[tuple[int, int]], chains: list[list[int]], ranks: list[int], places: list[float],
    breadths: Sequence[float],
) -> tuple[tuple[tuple[int, float], ...], ...]:  # fmt: skip
    """The places of each arrow; those that end at one box end beside each other, in the order in which they come."""
    coming: dict[int, list[tuple[float, int]]] = {}
    for k, (start, end) in enumerate(arrows):
        coming.setdefault(end, []).append((places[chains[k][-1] if chains[k] else start], k))
    ends: dict[int, float] = {}
    for end, some in coming.items():
        step = min(16.0, 0.7 * breadths[end] / len(some))
        for n, (_, k) in enumerate(sorted(some)):
            ends[k] = places[end] + (n - (len(some) - 1) / 2) * step
    return tuple(
        (
            (ranks[start], places[start]),
            *((ranks[start] + 1 + n, places[i]) for n, i in enumerate(chains[k])),
            (ranks[end], ends[k]),
        )
        for k, (start, end) in enumerate(arrows)
    )
