"""Inner product over all dimensions but the first; weights take the layout of a blocked source."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from dragon.engines.onednn.kernels.weighted import backward_data, backward_weights, forward, forward_int8
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape

__all__ = ["InnerProductSpec", "backward_data", "backward_weights", "forward", "forward_int8"]


@dataclass(frozen=True)
class InnerProductSpec:
    """``src`` is (N, K) or (N, C, spatial...); the blob is (inputs, outputs) if ``transposed``."""

    src: Shape
    outputs: int
    bias: bool = True
    transposed: bool = False
    dtype: DataType = DataType.f32

    family: ClassVar[str] = "inner_product"
    algorithm: ClassVar[list[Any]] = []
    window: ClassVar[list[Any]] = []

    @property
    def dst(self) -> Shape:
        """(N, outputs)."""
        return (self.src[0], self.outputs)

    @property
    def weights(self) -> Shape:
        """(outputs, inputs...), oneDNN's logical order."""
        return (self.outputs, *self.src[1:])

    def host_weights(self, dtype: DataType = DataType.f32) -> MemoryDesc:
        """The Caffe blob's row-major bytes in oneDNN's logical order (outputs, inputs...)."""
        if not self.transposed:
            return MemoryDesc.plain(self.weights, dtype)
        inner = tuple(prod(self.src[i + 1 :]) * self.outputs for i in range(1, len(self.src)))
        return MemoryDesc.plain(self.weights, dtype, (1, *inner))
