"""Weights, bias and their gradients of a convolution or an inner product, and the post-ops that follow it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost, PostOp, Primitive
from dragon.engines.onednn.plan.bound import SMALLEST_SQUARE, Bound, Gains
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.bases.convolution import ConvolutionBase
    from dragon.bases.weighted import Weighted
    from dragon.engines.onednn.plan.builder import Builder
    from dragon.layers.inner_product import InnerProduct
    from dragon.memory.blob import Blob

__all__ = ["Epilogue", "Learned", "Parameters", "add_gradients", "forward_arguments", "operand_arguments", "set_gains"]


class Parameters(Protocol):
    """Weights and bias: the layer's own blobs, or others that were computed from them."""

    @property
    def has_bias(self) -> bool:
        """Whether there is a bias."""
        ...

    @property
    def blobs(self) -> Sequence[Blob]:
        """The blobs that the weights are computed from."""
        ...

    def weights(self, desc: MemoryDesc, host: MemoryDesc) -> Memory:
        """The weights in the layout `desc`; `host` describes the row-major blob."""
        ...

    def bias(self) -> Memory:
        """The bias, float32 (outputs,)."""
        ...

    def row_major(self, out: Array | None = None) -> Array:
        """The present weights, in the order and shape of the layer's blob; brings `bias` up to date.

        out: where to write them, row-major.
        """
        ...

    @property
    def size(self) -> int:
        """The number of weights."""
        ...

    @property
    def fan_in(self) -> int:
        """The number of products that are summed for one output."""
        ...

    @property
    def all_blobs(self) -> Sequence[Blob]:
        """The blobs that weights and bias are computed from."""
        ...

    def measure(self, gains: Gains) -> Callable[[], None]:
        """A function that brings `gains` up to date."""
        ...


def set_gains(gains: Gains, weight: Array, axis: int, scale: Array | None = None, bias: Array | None = None) -> None:
    """Set the gains of weights, whose outputs are along `axis` (0 or 1 of a matrix). scale: of each output.

    The magnitudes of n weights add up to sqrt(n) norms at most, those of one sign to half of that and of |the sum|.
    """
    rows = weight.reshape(weight.shape[0], -1) if axis == 0 else weight
    with np.errstate(over="ignore", invalid="ignore"):
        count = rows.shape[1 - axis]
        squares: Array = np.einsum("ij,ij->i" if axis == 0 else "ij,ij->j", rows, rows)
        norms, sums = np.sqrt(squares + count * SMALLEST_SQUARE), rows.sum(1 - axis)
        positive = (math.sqrt(count) * norms + np.abs(sums)) / 2
        factors = 1.0 if scale is None else np.abs(scale)
        # infinite where a weight would be, which is multiplied by its factor in float32
        gains.norm, gains.positive = (float(np.float32((gain * factors).max())) for gain in (norms, positive))
        gains.bias = 0.0 if bias is None else float(np.float32(np.abs(bias).max()))


class Learned(Parameters):
    """The layer's own weights and bias."""

    def __init__(self, b: Builder, weight: Blob, bias: Blob | None, axis: int = 0, inputs_first: bool = False) -> None:
        """axis: of the outputs. inputs_first: as a Deconvolution has them, (inputs, outputs of a group, *kernel)."""
        self._b = b
        self._weight = weight
        self._bias = bias
        self._axis = axis
        self._inputs_first = inputs_first

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

    def row_major(self, out: Array | None = None) -> Array:
        if out is None:
            return self._weight.peek()
        out = out.reshape(self._weight.shape)
        out[...] = self._weight.peek()
        return out

    @property
    def size(self) -> int:
        return self._weight.count

    @property
    def fan_in(self) -> int:
        return self._weight.count // self._weight.shape[1 if self._inputs_first else self._axis]

    @property
    def all_blobs(self) -> Sequence[Blob]:
        return [self._weight] if self._bias is None else [self._weight, self._bias]

    def measure(self, gains: Gains) -> Callable[[], None]:
        desc = MemoryDesc.plain(self._matrix)
        weights = self._b.weights(self._weight, desc, desc).numpy()
        bias = None if self._bias is None else self._b.host_vector(self._bias).numpy()
        if self._inputs_first:  # those of all groups, which are no fewer than an output's own
            return lambda: set_gains(gains, weights.swapaxes(0, 1).reshape(weights.shape[1], -1), 0, bias=bias)
        return lambda: set_gains(gains, weights, self._axis, bias=bias)

    @property
    def _matrix(self) -> tuple[int, ...]:
        shape = self._weight.shape
        if self._inputs_first:
            return (*shape[:2], math.prod(shape[2:]))
        return shape if self._axis else (shape[0], self.fan_in)


@dataclass(frozen=True)
class Epilogue:
    """The layers after a convolution or inner product that its primitive computes as well.

    top: of the last of them, or of the layer itself. post_ops: their operations. operands: the second operands of the
    binary post-ops, which come first. parameters: the weights and bias to use; None for the layer's own. bound: of the
    top; a ReLU among `post_ops` needs one. into: the memory of the only operand where the top is to overwrite it; the
    first post-op adds to it then.
    """

    top: Blob
    post_ops: Sequence[PostOp] = ()
    operands: Sequence[Blob] = ()
    parameters: Parameters | None = None
    bound: Bound | None = None
    into: Memory | None = None

    def beside(self, desc: MemoryDesc) -> Epilogue:
        """The same with the operand in the layout `desc`, and the top in memory of its own."""
        return replace(self, post_ops=[BinaryPost(Alg.binary_add, desc), *self.post_ops[1:]], into=None)

    def parameters_of(self, b: Builder, layer: Weighted) -> Parameters:
        """The parameters to use: those given, else the layer's own."""
        inputs_first = layer.type == "Deconvolution"
        return self.parameters or Learned(b, layer.weight, layer.bias, layer.output_axis, inputs_first)


def forward_arguments(
    b: Builder, primitive: Primitive, source: Memory, parameters: Parameters, host: MemoryDesc, epilogue: Epilogue
) -> dict[int, Memory]:
    """The memories that the primitive reads, by argument. host: describes the row-major weights."""
    arguments = {Arg.SRC: source, Arg.WEIGHTS: parameters.weights(primitive[Arg.WEIGHTS], host)}
    if parameters.has_bias:
        arguments[Arg.BIAS] = parameters.bias()
    return arguments | operand_arguments(b, primitive, epilogue)


def operand_arguments(b: Builder, primitive: Primitive, epilogue: Epilogue) -> dict[int, Memory]:
    """The memories of the epilogue's operands, by argument."""
    operands = epilogue.operands if epilogue.into is None else ()
    return {Arg.post_op(i): b.data(blob, primitive[Arg.post_op(i)]) for i, blob in enumerate(operands)}


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
