"""Which groups of a TEST plan are computed at fewer pixels, with the same results: `subsample` and `pool_first`.

A blob that the layers of such a group do not compute is computed when somebody reads it, as within a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from dragon.engines.onednn.lowerings.pooled_first import pool_first
from dragon.engines.onednn.lowerings.subsampled import Subsampled, subsample
from dragon.engines.onednn.plan.together import Together
from dragon.layers.convolution import Convolution
from dragon.layers.pooling import Pooling
from dragon.layers.split import Split
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.bases.geometry import Window
    from dragon.engines.onednn.lowerings.folding import WeightChain
    from dragon.graph.chains import Graph
    from dragon.graph.net import Net

__all__ = ["rearranged"]


def rearranged(net: Net, graph: Graph, groups: Sequence[Together]) -> list[Together]:
    """The groups, some of them joined."""
    finder = _Finder(net, graph, groups)
    joined: dict[int, Span] = {}  # by its first group
    begin = len(groups)  # of those that are joined so far
    for k in reversed(range(len(groups))):  # from the last one on, since strides that move up multiply
        span = finder.subsampled(k) or finder.pooled(k)
        if span is not None and span[1] < begin:
            begin = span[0]
            joined[begin] = span
    found: list[Together] = []
    k = 0
    while k < len(groups):
        _, last, layers = joined.get(k, (k, k, groups[k]))
        found.append(layers)
        k = last + 1
    return found


Span = tuple[int, int, Together]  # the first and the last of the groups that are joined


class _Finder:
    def __init__(self, net: Net, graph: Graph, groups: Sequence[Together]) -> None:
        self.nodes = net.nodes
        self.outputs = set(net.outputs)
        self.graph = graph
        self.groups = groups
        self.group_of = {group.first: k for k, group in enumerate(groups)}

    # -- strides ----------------------------------------------------------------------------------------------
    def subsampled(self, k: int) -> Span | None:
        """The groups up to the readers of group k's top, if all of these read only every n-th pixel of it."""
        chain = self.groups[k].chain
        readers = self._readers(self.groups[k].last) if _window(chain) is not None else None
        if chain is None or not readers or not self.group_of.keys() >= set(readers):
            return None
        behind = [self.group_of[reader] for reader in readers]
        steps, *others = {_stride(self.groups[j].chain) for j in behind}
        if others or max(steps, default=1) == 1:
            return None
        last = max(behind)
        if not all(j in behind or self._is_split(j) for j in range(k + 1, last + 1)):
            return None
        ones = (1,) * len(steps)
        found = [Subsampled(reader, steps, ones) for j in behind if (reader := self.groups[j].chain) is not None]
        first = k
        while (stride := _stride(chain)) and first:
            before = self.groups[first - 1].chain
            alone = self._readers(self.groups[first - 1].last) == [chain.first.index]
            if before is None or _window(before) is None or not alone:
                break
            inner = tuple(n * s for n, s in zip(steps, stride, strict=True))
            found.insert(0, Subsampled(chain, inner, steps))
            first, chain, steps = first - 1, before, inner
        found.insert(0, Subsampled(chain, ones, steps))
        parts = tuple(self.groups[first : last + 1])
        return first, last, Together(parts[0].first, parts[-1].last, lambda b, node: subsample(b, found), parts=parts)

    def _readers(self, i: int) -> list[int] | None:
        """The layers that read the top of layer i, behind Splits. None where somebody else needs it."""
        node = self.nodes[i]
        if node.makes_loss or not self.outputs.isdisjoint(node.top_names):
            return None
        found: list[int] = []
        for reader in self.graph.readers(i):
            further = self._readers(reader) if isinstance(self.nodes[reader].layer, Split) else [reader]
            if further is None:
                return None
            found += further
        return found

    def _is_split(self, k: int) -> bool:
        return isinstance(self.nodes[self.groups[k].first].layer, Split)

    # -- pooling ----------------------------------------------------------------------------------------------
    def pooled(self, k: int) -> Span | None:
        """A 1 x 1 convolution and the average pooling of its top that leaves at most half of the pixels."""
        chain = self.groups[k].chain
        if chain is None or chain.sum or chain.function or max(_stride(chain), default=2) > 1:
            return None
        last = self.groups[k].last
        reader = self.graph.reader(last)
        if reader is None or reader != last + 1:
            return None
        node = self.nodes[reader]
        layer = node.layer
        if not isinstance(layer, Pooling) or layer.method != pb.PoolingParameter.AVE:
            return None
        padded = any(layer.window.before) or any(layer.pad_after)
        if (padded and layer.counts_padding) or 2 * prod(node.tops[0].shape[2:]) > prod(node.bottoms[0].shape[2:]):
            return None
        parts = tuple(self.groups[k : k + 2])
        return k, k + 1, Together(parts[0].first, reader, lambda b, _: pool_first(b, chain, node), parts=parts)


def _window(chain: WeightChain | None) -> Window | None:
    """The window of a chain's convolution over images (N, C, spatial...); None without one."""
    layer = chain.first.layer if chain is not None else None
    if chain is None or not isinstance(layer, Convolution) or layer.bottom_view != chain.bottom.shape:
        return None
    return layer.window


def _stride(chain: WeightChain | None) -> tuple[int, ...]:
    """The stride of a convolution that reads one pixel for each of its own; () for anything else."""
    window = _window(chain)
    if window is None or max(window.kernel, default=0) != 1 or any(window.before) or any(window.after):
        return ()
    return window.stride
