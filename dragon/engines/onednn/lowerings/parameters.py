"""Where a convolution or an inner product gets its weights and bias from, and where their gradients go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.memory import Memory, MemoryDesc
from dragon.engines.onednn.library.primitive import PostOp, Primitive

if TYPE_CHECKING:
    from dragon.bases.convolution import ConvolutionBase
    from dragon.engines.onednn.plan.builder import Builder
    from dragon.layers.inner_product import InnerProduct
    from dragon.memory.blob import Blob

__all__ = ["Behind", "Learned", "Parameters", "add_gradients", "forward_arguments"]


class Parameters(Protocol):
    """The layer's own blobs, or others that were made of them."""

    @property
    def has_bias(self) -> bool: ...

    @property
    def blobs(self) -> Sequence[Blob]:
        """Those that the weights are made of."""
        ...

    def weights(self, desc: MemoryDesc, host: MemoryDesc) -> Memory:
        """The weights in the layout `desc`; `host` describes the row-major blob."""
        ...

    def bias(self) -> Memory: ...


class Learned:
    """The layer's blobs as they are."""

    def __init__(self, b: Builder, weight: Blob, bias: Blob | None) -> None:
        self._b = b
        self._weight = weight
        self._bias = bias

    @property
    def has_bias(self) -> bool:
        return self._bias is not None

    @property
    def blobs(self) -> Sequence[Blob]:
        return [self._weight]

    def weights(self, desc: MemoryDesc, host: MemoryDesc) -> Memory:
        return self._b.weights(self._weight, desc, host)

    def bias(self) -> Memory:
        assert self._bias is not None
        return self._b.host_vector(self._bias)


@dataclass(frozen=True)
class Behind:
    """Where a convolution or inner product leads, and what its primitive does on the way.

    top: of the layer, or of one whose work `post_ops` do. operands: the blobs that binary post-ops, which come first,
    combine with. parameters: None for the layer's own.
    """

    top: Blob
    post_ops: Sequence[PostOp] = ()
    operands: Sequence[Blob] = ()
    parameters: Parameters | None = None

    def parameters_of(self, b: Builder, layer: ConvolutionBase | InnerProduct) -> Parameters:
        return self.parameters or Learned(b, layer.weight, layer.bias)


def forward_arguments(
    b: Builder, primitive: Primitive, source: Memory, parameters: Parameters, host: MemoryDesc, behind: Behind
) -> dict[int, Memory]:
    """All that the primitive reads; `host` describes the row-major weights."""
    arguments = {Arg.SRC: source, Arg.WEIGHTS: parameters.weights(primitive[Arg.WEIGHTS], host)}
    if parameters.has_bias:
        arguments[Arg.BIAS] = parameters.bias()
    for i, operand in enumerate(behind.operands):
        arguments[Arg.post_op(i)] = b.data(operand, primitive[Arg.post_op(i)])
    return arguments


def add_gradients(
    b: Builder,
    layer: ConvolutionBase | InnerProduct,
    primitive: Primitive,
    host: MemoryDesc,
    source: Callable[[MemoryDesc], Memory],
    diff_of_top: Callable[[MemoryDesc], Memory],
) -> None:
    """Run the primitive of the gradients of weights and bias, and add those that are learned to the blobs' diffs."""
    learns = layer.param_propagate_down
    weights, add_weights = b.weight_diff(layer.weight, primitive[Arg.DIFF_WEIGHTS], host)
    made = {Arg.DIFF_WEIGHTS: weights}
    adds = [add_weights] if learns[0] else []
    if layer.bias is not None:
        desc = primitive[Arg.DIFF_BIAS]
        made[Arg.DIFF_BIAS], add_bias = b.weight_diff(layer.bias, desc, desc)
        adds += [add_bias] if learns[1] else []
    taken = {Arg.SRC: source(primitive[Arg.SRC]), Arg.DIFF_DST: diff_of_top(primitive[Arg.DIFF_DST])}
    b.call(primitive, taken | made)
    for add in adds:
        add()
