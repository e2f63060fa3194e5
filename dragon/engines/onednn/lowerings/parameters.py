"""Weights, bias and their gradients of a convolution or an inner product, and the post-ops that follow it."""

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

__all__ = ["Epilogue", "Learned", "Parameters", "add_gradients", "forward_arguments"]


class Parameters(Protocol):
    """Weights and bias: the layer's own blobs, or others that were computed from them."""

    @property
    def has_bias(self) -> bool: ...

    @property
    def blobs(self) -> Sequence[Blob]:
        """The blobs that the weights are computed from."""
        ...

    def weights(self, desc: MemoryDesc, host: MemoryDesc) -> Memory:
        """The weights in the layout `desc`; `host` describes the row-major blob."""
        ...

    def bias(self) -> Memory: ...


class Learned:
    """The layer's own weights and bias."""

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
class Epilogue:
    """The layers after a convolution or inner product that its primitive computes as well.

    top: of the last of them, or of the layer itself. post_ops: their operations. operands: the second operands of the
    binary post-ops, which come first. parameters: the weights and bias to use; None for the layer's own.
    """

    top: Blob
    post_ops: Sequence[PostOp] = ()
    operands: Sequence[Blob] = ()
    parameters: Parameters | None = None

    def parameters_of(self, b: Builder, layer: ConvolutionBase | InnerProduct) -> Parameters:
        return self.parameters or Learned(b, layer.weight, layer.bias)


def forward_arguments(
    b: Builder, primitive: Primitive, source: Memory, parameters: Parameters, host: MemoryDesc, epilogue: Epilogue
) -> dict[int, Memory]:
    """The memories that the primitive reads. host: describes the row-major weights."""
    arguments = {Arg.SRC: source, Arg.WEIGHTS: parameters.weights(primitive[Arg.WEIGHTS], host)}
    if parameters.has_bias:
        arguments[Arg.BIAS] = parameters.bias()
    for i, operand in enumerate(epilogue.operands):
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
    """Run the primitive for the gradients of weights and bias, and add the learned ones to the blobs' diffs."""
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
