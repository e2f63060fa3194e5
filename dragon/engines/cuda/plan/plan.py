"""Who computes which layer: lowerings, array code on the GPU, or the host; and which layers run as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.device.precision import Narrowing
from dragon.engines.cuda.lowerings.convolution import CutConvolutionLowering
from dragon.engines.cuda.lowerings.lowering import Lowering, find
from dragon.engines.cuda.lowerings.normalization import BatchNormLowering
from dragon.engines.cuda.plan.types import Types

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Group", "Plan"]


@dataclass
class Group:
    """Layers first..last, run together. lowering None: array code, or the host's if `on_host`."""

    first: int
    last: int
    lowering: Lowering | None
    on_host: bool = False
    note: str = ""

    @property
    def in_float(self) -> bool:
        """Whether it takes its blobs in the type of the masters."""
        return self.lowering is None or self.lowering.stored == self.lowering.dtype

    @property
    def kind(self) -> str:
        if self.on_host:
            return "host" + (f" ({self.note})" if self.note else "")
        return "array code" if self.lowering is None else "kernels"


class Plan:
    """The groups of a net in its present shapes. A layer's own lowering is made when it is first needed."""

    def __init__(
        self, net: Net, device: Device, fuse: bool, previous: Plan | None = None, narrowing: Narrowing | None = None
    ) -> None:
        self._previous = previous  # its lowerings hold what backward needs
        self._narrowing = narrowing
        self.types = Types(net, None if narrowing is None else narrowing.dtype)
        self.net = net
        self.device = device
        self._singles: list[Group | None] = [None] * len(net.layers)
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
        net = self.net
        layer = net.layers[index]
        if layer.host_only or (layer.is_source and not layer.gives_bytes):
            return Group(index, index, None, on_host=True)
        old = self._previous._singles[index] if self._previous is not None else None
        if old is not None and old.on_host:
            return old
        cls = find(layer, net.bottoms[index], net.tops[index])
        if cls is None:
            return Group(index, index, None, on_host=layer.is_source)
        kept = old is not None and type(old.lowering) is cls
        return Group(index, index, self._ready(old.lowering if kept else cls(self.device, layer), index, index))  # type: ignore[union-attr, arg-type]

    def _ready(self, lowering: Lowering, first: int, last: int) -> Lowering:
        lowering.learns = any(self.net.layer_need_backward[first : last + 1])
        lowering.use(self._narrowing if all(map(self.types.runs_narrow, range(first, last + 1))) else None)
        return lowering

    def _group(self, fuse: bool) -> Iterator[Group]:
        index = 0
        while index < len(self.net.layers):
            group = self._fused(index) if fuse else None
            yield group or self.single(index)
            index = (group.last if group else index) + 1

    def _fused(self, index: int) -> Group | None:
        """BatchNorm or BN with the Scale and the ReLU that work in place on its top; a convolution with its ReLU where
        one of cuDNN's interfaces may compute both."""
        net = self.net
        layer: Any = net.layers[index]
        single = self.single(index)
        cut = CutConvolutionLowering.fits_before_relu(single.lowering, self.device) and len(net.tops[index]) == 1
        if type(single.lowering) is not BatchNormLowering and not cut:
            return None
        top = net.tops[index][0]

        def follows(i: int, kind: str) -> bool:
            return (
                i < len(net.layers)
                and net.layers[i].type == kind
                and len(net.bottoms[i]) == 1
                and net.bottoms[i][0] is top
                and net.tops[i][0] is top
                and net.layers[i].phase == layer.phase
                and not any(net.layers[i].loss_weights)
            )

        last, scale, slope = index, None, None
        if not cut and layer.affine is None and follows(last + 1, "Scale"):
            candidate: Any = net.layers[last + 1]
            shape = top.shape
            if candidate.spans[:2] == (shape[0], shape[1] if len(shape) > 1 else 1):
                last, scale = last + 1, candidate
        if follows(last + 1, "ReLU"):
            relu: Any = net.layers[last + 1]
            if relu.cut is None and (relu.slope == 0 if cut else relu.slope >= 0):
                last, slope = last + 1, float(relu.slope)
        needs = net.layer_need_backward[index : last + 1]
        if last == index or len(set(needs)) > 1:
            return None
        old = self._previous.whole.get(index) if self._previous is not None else None
        if old is not None and old.last == last and old.lowering is not None:
            return Group(index, last, self._ready(old.lowering, index, last))
        made = (
            CutConvolutionLowering(self.device, layer) if cut else BatchNormLowering(self.device, layer, scale, slope)
        )
        return Group(index, last, self._ready(made, index, last))
