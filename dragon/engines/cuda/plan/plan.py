"""Plan: how each layer runs (by a lowering, by array code on the GPU, on the host), and which run as one group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.device.precision import HalfPrecision
from dragon.engines.cuda.kernels.sums import MOST_TERMS
from dragon.engines.cuda.lowerings.convolution import ConvolutionReLULowering, ConvolutionReLUPoolingLowering
from dragon.engines.cuda.lowerings.eltwise import EltwiseLowering, FusedSumLowering
from dragon.engines.cuda.lowerings.lowering import Lowering, find, runs_on_host
from dragon.engines.cuda.lowerings.normalization import BatchNormLowering
from dragon.engines.cuda.lowerings.residual import ResidualLowering
from dragon.engines.cuda.plan.graphs import Graphs
from dragon.engines.cuda.plan.layouts import Layouts
from dragon.engines.cuda.plan.pooled import pooled, pooling_behind
from dragon.engines.cuda.plan.reuse import Reuse
from dragon.engines.cuda.plan.types import Types
from dragon.graph.chains import Graph, Link
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.bases.layer import Layer
    from dragon.graph.net import Net
    from dragon.graph.node import Node
    from dragon.memory.blob import Blob

__all__ = ["Group", "Plan"]


@dataclass
class Group:
    """Layers that run together. lowering: None for array code, which runs on the GPU, or on the host if `on_host`.

    bottoms: the blobs that it reads, those of its first layer, and what later ones read beside its own tops.
    propagate_down: for each of them whether it gets a gradient.
    """

    nodes: Sequence[Node]
    lowering: Lowering | None
    on_host: bool = False
    note: str = ""
    first: int = field(init=False)  # index of its first layer
    last: int = field(init=False)
    need_backward: bool = field(init=False)  # whether any of its layers runs backward
    bottoms: Sequence[Blob] = field(init=False, repr=False, compare=False)
    propagate_down: Sequence[bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.first, self.last = self.nodes[0].index, self.nodes[-1].index
        self.need_backward = any(node.need_backward for node in self.nodes)
        made = {id(top) for node in self.nodes for top in node.tops}
        read = [
            (blob, flag)
            for node in self.nodes
            for blob, flag in zip(node.bottoms, node.propagate_down, strict=True)
            if node is self.nodes[0] or id(blob) not in made
        ]
        self.bottoms, self.propagate_down = [blob for blob, _ in read], [flag for _, flag in read]

    @property
    def layer(self) -> Layer:
        """The first layer, which the group is named after."""
        return self.nodes[0].layer

    @property
    def tops(self) -> Sequence[Blob]:
        """The blobs that the group writes."""
        return self.nodes[-1].tops

    @property
    def in_float(self) -> bool:
        """Whether it takes its blobs in the type of the masters."""
        return self.lowering is None or self.lowering.stored == self.lowering.dtype

    @property
    def channels_last(self) -> bool:
        """Whether it takes blobs with their channels last as they lie."""
        return self.lowering is not None and self.lowering.channels_last

    @property
    def runs_array_code(self) -> bool:
        """Whether the layer's own code runs, on arrays of the GPU unless `on_host`."""
        return self.lowering is None or self.lowering.array_code

    @property
    def kind(self) -> str:
        """How the group runs: "kernels", "array code" or "host", with a note."""
        if self.on_host:
            return "host" + (f" ({self.note})" if self.note else "")
        return "array code" if self.runs_array_code else "kernels"


class Plan:
    """The groups of a net in its present shapes. A layer's own lowering is made when it is first needed.

    previous: the plan before it. channels_last: whether channels may lie last. weight_last: see Lowering. reuse: the
    lowerings that other plans have; None: all are made anew.
    """

    def __init__(
        self,
        net: Net,
        device: Device,
        fuse: bool,
        previous: Plan | None = None,
        half_precision: HalfPrecision | None = None,
        channels_last: bool = False,
        weight_last: Callable[[Storage, Layout], Any] | None = None,
        reuse: Reuse | None = None,
    ) -> None:
        self._previous = previous
        self._reuse = reuse
        self.graphs = Graphs()
        self._half_precision = half_precision
        self._weight_last = weight_last
        self.types = Types(net, None if half_precision is None else half_precision.dtype)
        self.layouts = Layouts(net, self.types, channels_last)
        self.net = net
        self.device = device
        self._singles: list[Group | None] = [None] * len(net.nodes)
        self.graph = Graph(net.nodes)
        self.groups = list(self._group(fuse))
        self.whole = {group.first: group for group in self.groups}
        self._previous = None

    def single(self, index: int) -> Group:
        """Layer `index` by itself."""
        group = self._singles[index]
        if group is None:
            group = self._singles[index] = self._make(index)
        return group

    def _make(self, index: int) -> Group:
        nodes = self.net.nodes[index : index + 1]
        layer = nodes[0].layer
        if runs_on_host(layer):
            return Group(nodes, None, on_host=True)
        old = self._previous._singles[index] if self._previous is not None else None
        if old is not None and old.on_host:
            return old
        cls = find(nodes[0])
        if cls is None:
            return Group(nodes, None, on_host=layer.is_source)
        return self.ready(nodes, cls, self.device, nodes[0])

    def form_of(self, node: Node) -> tuple[bool, bool]:
        """Whether a layer computes on channels last, and on 16 bits."""
        return self.layouts.takes_channels_last(node.index), self.types.runs_in_16_bits(node.index)

    def ready(self, nodes: Sequence[Node], cls: type[Lowering], *arguments: Any) -> Group:
        """The group of layers with their lowering of this class, which is made with these arguments if it is new."""
        channels_last = all(self.layouts.takes_channels_last(node.index) for node in nodes)
        half = self._half_precision if all(self.types.runs_in_16_bits(node.index) for node in nodes) else None
        if self._reuse is None:
            lowering = cls(*arguments)
        else:
            form = (channels_last, half is not None, *arguments[2:])
            lowering = self._reuse.lowering(nodes, cls, form, lambda: cls(*arguments))
        group = Group(nodes, lowering)
        lowering.learns = group.need_backward
        lowering.channels_last = channels_last
        lowering.weight_last = self._weight_last
        lowering.use(half)
        return group

    def _group(self, fuse: bool) -> Iterator[Group]:
        index = 0
        while index < len(self.net.nodes):
            group = self._fused(index) if fuse else None
            yield group or self.single(index)
            index = (group.last if group else index) + 1

    def _fused(self, index: int) -> Group | None:
        """The fused group that begins at a layer, if any.

        BatchNorm or BN with the Scale and the ReLU in place on its top, or with the sum behind; a convolution with its
        ReLU where one of cuDNN's interfaces may compute both, and with the pooling behind; a sum with its ReLU and the
        Split behind; a pooling with its ReLU.
        """
        nodes = self.net.nodes
        node = nodes[index]
        layer: Any = node.layer
        single = self.single(index)
        if self._is_plain_sum(index):
            return self._fused_sum(index)
        both = pooled(self, index)
        if both is not None:
            return both
        with_relu = ConvolutionReLULowering.fits_before_relu(single.lowering, self.device)
        if not isinstance(single.lowering, BatchNormLowering) and not with_relu:
            return None
        top = node.tops[0]

        def takes(link: Link, i: int) -> bool:
            other, its = nodes[i], cast("Any", nodes[i].layer)
            if i == index:
                return True
            if other.bottoms[0] is not top or other.tops[0] is not top or its.phase != layer.phase or other.makes_loss:
                return False
            if link is Link.SCALE:
                channels = top.shape[1] if top.ndim > 1 else 1
                return layer.affine is None and bool(its.spans[:2] == (top.shape[0], channels))
            return its.maximum is None and bool(its.slope == 0 if with_relu else its.slope >= 0)

        links = (Link.WEIGHTED, Link.RELU) if with_relu else (Link.NORM, Link.SCALE, Link.RELU)
        chain = self.graph.chain(index, links, takes, adjacent=True)
        last = max(chain.values(), default=index)
        scale: Any = nodes[chain[Link.SCALE]].layer if Link.SCALE in chain else None
        slope = float(cast("Any", nodes[last].layer).slope) if Link.RELU in chain else None
        residual = None if with_relu or slope is not None else self._residual(index, last, scale)
        if residual is not None:
            return residual
        together = nodes[index : last + 1]
        if last == index or len({each.need_backward for each in together}) > 1:
            return None
        if with_relu:
            longer = nodes[index : last + 2]
            pooling = pooling_behind(self, longer) if len(longer) > len(together) else None
            if pooling is not None:
                return self.ready(longer, ConvolutionReLUPoolingLowering, self.device, node, pooling)
            return self.ready(together, ConvolutionReLULowering, self.device, node)
        return self.ready(together, BatchNormLowering, self.device, node, scale, slope)

    def _residual(self, index: int, last: int, scale: Any) -> Group | None:
        """The normalisation in index..last with the sum of its top and one other blob, and what follows that."""
        nodes, top = self.net.nodes, self.net.nodes[index].tops[0]
        if self.graph.reader(last) != last + 1 or not self._is_plain_sum(last + 1):
            return None
        added = nodes[last + 1]
        if len(added.bottoms) != 2 or sum(blob is top for blob in added.bottoms) != 1 or added.makes_loss:
            return None
        others = [blob for blob in (*added.bottoms, *added.tops) if blob is not top]
        if len(others) != 2 or any(b.data_storage is nodes[index].bottoms[0].data_storage for b in others):
            return None
        end, slope, split = self._behind_sum(last + 1)
        together = nodes[index : end + 1]
        learns = {node.need_backward for node in together}
        forms = {self.form_of(node) for node in together}
        gives = added.propagate_down[int(added.bottoms[1] is top)]
        if len(learns) > 1 or len(forms) > 1 or (learns == {True} and not (gives and nodes[index].propagate_down[0])):
            return None
        arguments = self.device, nodes[index], scale, added, slope, split
        return self.ready(together, ResidualLowering, *arguments)

    def _is_plain_sum(self, index: int) -> bool:
        lowering = self.single(index).lowering
        return isinstance(lowering, EltwiseLowering) and lowering.is_plain_sum

    def _fused_sum(self, index: int) -> Group | None:
        """A plain sum with the ReLU in place on its top, or the Split behind it, or both."""
        nodes = self.net.nodes
        first = nodes[index]
        if first.tops[0] in first.bottoms or first.makes_loss:
            return None
        last, slope, split = self._behind_sum(index)
        if last == index:
            return None
        return self.ready(nodes[index : last + 1], FusedSumLowering, self.device, first, slope, split)

    def _behind_sum(self, index: int) -> tuple[int, float | None, bool]:
        """The last layer that can join a sum, the slope of the ReLU in between, and whether the last one is a Split."""
        nodes = self.net.nodes
        first, last = nodes[index], index
        own, slope = first.tops[0], None

        def follows(kind: str) -> bool:
            return (
                self.graph.reader(last) == last + 1
                and nodes[last + 1].layer.type == kind
                and nodes[last + 1].bottoms[0] is own
                and nodes[last + 1].need_backward == first.need_backward
            )

        if follows("ReLU") and nodes[last + 1].tops[0] is own:
            relu: Any = nodes[last + 1].layer
            if relu.maximum is None and relu.slope >= 0 and relu.phase == first.layer.phase:
                last, slope = last + 1, float(relu.slope)
        split = follows("Split") and len(nodes[last + 1].tops) <= MOST_TERMS
        return last + split, slope, split
