"""In TEST: a convolution or inner product with the normalisation, scale, sum and function behind it as one primitive.

s = gamma / sqrt(variance + eps), W' = s W, b' = s (b - mean) + beta; computed again whenever a parameter may have
changed. Blobs between the layers are computed by running these layers by themselves when somebody reads one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.library.constants import Alg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost, PostOp, SumPost
from dragon.engines.onednn.lowerings.activated import with_neuron
from dragon.engines.onednn.lowerings.convolution import convolve
from dragon.engines.onednn.lowerings.inner_product import multiply
from dragon.engines.onednn.lowerings.parameters import Epilogue, set_gains
from dragon.engines.onednn.plan.bound import Gains
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.values import reorder
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.bases.batch_statistics import BatchStatistics
    from dragon.bases.convolution import ConvolutionBase
    from dragon.graph.node import Node
    from dragon.layers.inner_product import InnerProduct
    from dragon.memory.blob import Blob

__all__ = ["WeightChain", "build_chain", "fold_weights", "make_lazy"]


class HasNodes(Protocol):
    """Layers that are computed together."""

    @property
    def nodes(self) -> Sequence[Node]:
        """The layers in order."""


@dataclass(frozen=True)
class WeightChain:
    """A convolution or inner product and the layers after it that are folded into it."""

    first: Node
    norm: Node | None = None
    scale: Node | None = None
    sum: Node | None = None
    function: Node | None = None

    @property
    def nodes(self) -> list[Node]:
        """The layers in order."""
        found = (self.first, self.norm, self.scale, self.sum, self.function)
        return [node for node in found if node is not None]

    @property
    def bottom(self) -> Blob:
        """The bottom of the first layer."""
        return self.first.bottoms[0]

    @property
    def top(self) -> Blob:
        """The top of the last layer."""
        return self.nodes[-1].tops[0]

    @property
    def operands(self) -> list[Blob]:
        """The blob that the sum adds, if there is a sum."""
        if self.sum is None:
            return []
        own = (self.scale or self.norm or self.first).tops[0]
        return [blob for blob in self.sum.bottoms if blob is not own]


def fold_weights(b: Builder, chain: WeightChain) -> Backward | None:
    """Build the primitive that computes all layers of the chain. In TEST there is no backward."""
    build_chain(b, chain, chain.bottom, chain.top, chain.operands, into=_replaced(b, chain))
    make_lazy(b, [chain], {chain.top.data_storage})
    return None


def build_chain(
    b: Builder,
    chain: WeightChain,
    bottom: Blob,
    top: Blob,
    operands: Sequence[Blob],
    spec: ConvSpec | None = None,
    into: Memory | None = None,
) -> None:
    """Build the primitive of a chain from `bottom` and `operands` to `top`.

    spec: the geometry of its convolution, where these are not the blobs of the net. into: the memory of the operand,
    where the top may overwrite it.
    """
    layer, first = chain.first.layer, replace(chain.first, bottoms=[bottom], tops=[top])
    post: list[PostOp] = [BinaryPost(Alg.binary_add, MemoryDesc.any(top.shape, b.dtype)) for _ in operands]
    folds = chain.norm is not None or chain.scale is not None
    parameters = _Fold(b, chain, cast("ConvolutionBase | InnerProduct", layer)) if folds else None
    epilogue = Epilogue(top, post if into is None else [SumPost()], operands, parameters, into=into)
    if chain.function is not None:
        epilogue = with_neuron(b, first, chain.function, epilogue)
    if layer.type == "InnerProduct":
        if top.ndim != 2:
            raise NotLoweredError("rows of several axes")
        multiply(b, first, epilogue)
    else:
        convolve(b, first, 0, epilogue, spec)


def _replaced(b: Builder, chain: WeightChain) -> Memory | None:
    """The memory of the blob that a convolution's sum adds, where the sum may overwrite it: a copy less in the pass."""
    if len(chain.operands) != 1 or chain.first.layer.type == "InnerProduct" or chain.top.data_storage in b.places:
        return None
    operand = chain.operands[0]
    if operand.shape != chain.top.shape or operand.data_storage in (chain.top.data_storage, chain.bottom.data_storage):
        return None
    return b.replaceable(operand)


def make_lazy(b: Builder, chains: Sequence[HasNodes], made: Collection[Storage]) -> None:
    """Make the blobs of these chains lazy but for those `made`: the single plan computes them when they are read.

    To be called when the group that the chains are is built.
    """
    last = {node.tops[0].data_storage: node for chain in chains for node in chain.nodes}
    skipped = last.keys() - set(made)
    end = max(node.index for node in last.values())
    if skipped and any(b.last_write.get(value.storage, 0) > end for value in b.steps.needs.values()):
        raise NotLoweredError("a layer behind overwrites what skipped blobs are computed from")
    for storage, node in last.items():
        if storage in skipped:
            b.make_lazy_by_layers(storage, chains[0].nodes[0].index, node.index)


@dataclass
class _Fold:
    """The folded weights of a chain, in the place of the layer's own."""

    b: Builder
    chain: WeightChain
    layer: ConvolutionBase | InnerProduct
    has_bias: bool = True
    staged: Memory = field(init=False)  # the folded weights, row-major, on their way into the primitive's layout
    shift: Array = field(init=False)

    def __post_init__(self) -> None:
        self.axis = self.layer.output_axis
        self.shift = np.zeros(self.layer.weight.shape[self.axis], np.float32)

    @property
    def blobs(self) -> list[Blob]:
        return [blob for node in self.chain.nodes for blob in node.layer.blobs]

    def weights(self, desc: MemoryDesc, host: MemoryDesc) -> Memory:
        memory = Memory(self.b.device, desc)
        self.staged = self.b.scratch(host)
        convert = reorder(self.b.device, self.staged, memory)

        def refresh() -> None:
            self.row_major(self.staged.buffer.view(np.float32)[: self.size])
            convert()

        self.b.when_changed(self.blobs, refresh)
        return memory

    def bias(self) -> Memory:
        return Memory.wrap(self.b.device, self.shift)

    def row_major(self, out: Array | None = None) -> Array:
        """W' and b' from the present parameters, in float64."""
        scale, self.shift[...] = self._affine()
        weight = self.layer.weight.peek()
        out = np.empty(weight.shape, np.float32) if out is None else out.reshape(weight.shape)
        folded: Array = np.multiply(weight, self._by_output(scale), out=out)
        return folded

    def _by_output(self, factors: Array) -> Array:
        """Factors of the outputs in a shape that the weights are multiplied by."""
        laid = [1] * self.layer.weight.ndim
        laid[self.axis] = -1
        return factors.reshape(laid)

    @property
    def size(self) -> int:
        return self.layer.weight.count

    @property
    def fan_in(self) -> int:
        return self.size // self.shift.size

    @property
    def all_blobs(self) -> list[Blob]:
        return self.blobs

    def measure(self, gains: Gains) -> Callable[[], None]:
        def measure() -> None:
            scale, shift = self._affine()
            set_gains(gains, self.layer.weight.peek(), self.axis, scale, shift)

        return measure

    def _affine(self) -> tuple[Array, Array]:
        """The factor and the shift of each output."""
        scale = np.ones(self.shift.size)
        shift = np.zeros(self.shift.size)
        if self.layer.bias is not None:
            shift += self.layer.bias.peek()
        if self.chain.norm is not None:
            norm = cast("BatchStatistics", self.chain.norm.layer)
            mean, variance = norm.peek_running()
            inverse = 1 / np.sqrt(variance.astype(np.float64) + norm.normalization.eps)
            scale, shift = scale * inverse, (shift - mean) * inverse
            if norm.affine is not None:
                gamma, beta = (blob.peek().reshape(-1) for blob in norm.affine)
                scale, shift = scale * gamma, shift * gamma + beta
        if self.chain.scale is not None:
            blobs = self.chain.scale.layer.blobs
            gamma = blobs[0].peek()
            scale, shift = scale * gamma, shift * gamma
            if len(blobs) > 1:
                shift = shift + blobs[1].peek()
        return scale, shift
