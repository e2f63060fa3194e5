"""Which layers run together: the chains that this engine takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard, cast

from dragon.bases.batch_statistics import BatchStatistics
from dragon.engines.onednn.lowerings.activated import activated
from dragon.engines.onednn.lowerings.folding import WeightChain, fold_weights
from dragon.engines.onednn.lowerings.int8_norm import rounded_chain
from dragon.engines.onednn.lowerings.neurons import POST_OPS
from dragon.engines.onednn.lowerings.normalization import Chain
from dragon.engines.onednn.lowerings.relu_pool import relu_pool
from dragon.engines.onednn.lowerings.shuffled import ShuffleChain, shuffle
from dragon.engines.onednn.plan.rearranging import rearranged
from dragon.engines.onednn.plan.together import Together
from dragon.graph.chains import Graph, Link, is_link
from dragon.layers.convolution import Convolution
from dragon.layers.inner_product import InnerProduct

if TYPE_CHECKING:
    from dragon.bases.layer import Layer
    from dragon.graph.net import Net
    from dragon.graph.node import Node
    from dragon.layers.concat import Concat
    from dragon.layers.slice import Slice

__all__ = ["find_groups"]


def find_groups(net: Net, training: bool, rearrange: bool) -> list[Together]:
    """The groups of a net in order. rearrange: whether some of a TEST plan may be computed at fewer pixels."""
    finder = _Finder(net, training)
    groups: list[Together] = []
    while (i := groups[-1].last + 1 if groups else 0) < len(net.nodes):
        found = finder.relu_pool(i) or finder.normalization(i) or finder.weighted(i) or finder.shuffled(i)
        groups.append(found or Together(i, i))
    return rearranged(net, finder.graph, groups) if rearrange and not training else groups


class _Finder:
    """Finds the chains of neighbouring layers that one primitive computes (`dragon.graph.chains`)."""

    def __init__(self, net: Net, training: bool) -> None:
        self.net = net
        self.training = training
        self.graph = Graph(net.nodes)
        # by storage, the last layer with a top there that may change signs
        self._last_change = {
            top.data_storage: node.index
            for node in net.nodes
            if not (node.layer.keeps_signs or node.layer.passes_memory)
            for top in node.tops
        }

    def relu_pool(self, i: int) -> Together | None:
        """A ReLU in place before a maximum pooling."""
        nodes = self.net.nodes
        in_place = bool(nodes[i].tops and nodes[i].bottoms) and nodes[i].tops[0] is nodes[i].bottoms[0]
        alone = i > 0 and self.graph.reader(i - 1) == i and in_place

        def takes(link: Link, j: int) -> bool:
            return link is Link.POOL or (alone and self._is_relu(j))

        chain = self.graph.chain(i, (Link.RELU, Link.POOL), takes, adjacent=True)
        if Link.POOL not in chain:
            return None
        return Together(i, i + 1, lambda b, node: relu_pool(b, node, nodes[i + 1]))

    def normalization(self, i: int) -> Together | None:
        """A normalisation with the Scale and the ReLU behind it."""
        layer = self.net.nodes[i].layer
        if not _is_normalization(layer):
            return None

        def takes(link: Link, j: int) -> bool:
            if link is Link.SCALE:
                return layer.affine is None and self._is_scale(j)
            if not layer.normalization.gradient_through_statistics:  # the mask of a fused ReLU goes with its statistics
                return link is Link.NORM
            return link is Link.NORM or (self._is_relu(j) and self.relu_pool(j) is None)

        found = self.graph.chain(i, (Link.NORM, Link.SCALE, Link.RELU), takes, adjacent=True)
        if len(found) < 2:
            return None
        nodes = self.net.nodes
        scale, relu = (nodes[found[link]] if link in found else None for link in (Link.SCALE, Link.RELU))
        chain = Chain(nodes[i], scale, relu)
        return Together(i, chain.nodes[-1].index, lambda b, node: rounded_chain(b, chain))

    def weighted(self, i: int) -> Together | None:
        """A convolution or inner product: in training with a neuron in place, in TEST with all that follows it."""
        nodes = self.net.nodes
        if not isinstance(nodes[i].layer, (Convolution, InnerProduct)):
            return None
        if self.training:
            return self._with_neuron(i)

        def takes(link: Link, j: int) -> bool:
            match link:
                case Link.NORM:
                    norm = nodes[j].layer
                    return _is_normalization(norm) and norm.use_global
                case Link.SCALE:
                    return self._is_scale(j)
                case Link.FUNCTION:
                    if is_link(Link.RELU, nodes[j].definition):
                        return self._is_relu(j, leaky=True)
                    return nodes[j].layer.type in POST_OPS
            return True

        links = (Link.WEIGHTED, Link.NORM, Link.SCALE, Link.SUM, Link.FUNCTION)
        found = self.graph.chain(i, links, takes, adjacent=True)
        return _folded([nodes[found[link]] if link in found else None for link in links]) if found else None

    def shuffled(self, i: int) -> Together | None:
        """In TEST a ShuffleChannel with the Concat before it and the Slice behind it."""
        nodes = self.net.nodes

        def next_is(j: int, kind: str) -> bool:
            return self.graph.reader(j) == j + 1 and nodes[j + 1].layer.type == kind and along_channels(nodes[j + 1])

        def along_channels(node: Node) -> bool:
            copies = node.tops[0].data_storage is not node.bottoms[0].data_storage  # not of one bottom, or of one top
            return node.layer.type == "ShuffleChannel" or (copies and cast("Concat | Slice", node.layer).along == 1)

        concat = i if nodes[i].layer.type == "Concat" and along_channels(nodes[i]) else None
        k = i if concat is None else i + 1
        if self.training or (concat is not None and not next_is(i, "ShuffleChannel")):
            return None
        behind = k + 1 if nodes[k].layer.type == "ShuffleChannel" and next_is(k, "Slice") else None
        if nodes[k].layer.type != "ShuffleChannel" or concat is behind is None:
            return None
        before, after = (None if j is None else nodes[j] for j in (concat, behind))
        chain = ShuffleChain(before, nodes[k], after)
        return Together(i, chain.nodes[-1].index, lambda b, node: shuffle(b, chain))

    def _with_neuron(self, i: int) -> Together | None:
        nodes = self.net.nodes

        def takes(link: Link, j: int) -> bool:
            return link is Link.WEIGHTED or (nodes[j].tops[0] is nodes[i].tops[0] and self.relu_pool(j) is None)

        neuron = self.graph.chain(i, (Link.WEIGHTED, Link.NEURON), takes, adjacent=True).get(Link.NEURON)
        return None if neuron is None else Together(i, neuron, lambda b, node: activated(b, node, nodes[neuron]))

    def _is_scale(self, index: int) -> bool:
        """A learned scale of each channel."""
        node = self.net.nodes[index]
        bottom, axis = node.bottoms[0], node.layer.param.scale_param.axis
        return node.layer.blobs[0].shape == bottom.shape[1:2] and axis in (1, 1 - bottom.ndim)

    def _is_relu(self, index: int, leaky: bool = False) -> bool:
        """A ReLU whose sign nobody changes later, with a slope only if `leaky`."""
        slope = self.net.nodes[index].layer.param.relu_param.negative_slope
        return (slope == 0 or leaky) and not self._overwritten(index)

    def _overwritten(self, index: int) -> bool:
        """Whether later layers work in place on a ReLU's top and change signs, which its own backward would see."""
        return self._last_change.get(self.net.nodes[index].tops[0].data_storage, index) > index


def _folded(links: Sequence[Node | None]) -> Together:
    """A convolution or inner product with what is folded into it; in parts, without the function behind it.

    links: of a WeightChain.
    """
    first, *others = links
    assert first is not None
    chain = WeightChain(first, *others)
    *before, last = chain.nodes
    if not before:
        return Together(first.index, first.index, chain=chain)
    parts: tuple[Together, ...] = ()
    if chain.function is not None and len(before) > 1:
        parts = (_folded([*links[:-1], None]), Together(last.index, last.index))
    return Together(first.index, last.index, lambda b, node: fold_weights(b, chain), chain, parts)


def _is_normalization(layer: Layer) -> TypeGuard[BatchStatistics]:
    """A layer that a normalisation primitive computes."""
    return isinstance(layer, BatchStatistics) and layer.by_kernels
