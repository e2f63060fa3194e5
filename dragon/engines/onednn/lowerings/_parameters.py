"""Where a convolution or an inner product gets its weights and bias from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dragon.engines.onednn.memory import Memory, MemoryDesc

if TYPE_CHECKING:
    from dragon.blob import Blob
    from dragon.engines.onednn.builder import Builder

__all__ = ["Learned", "Parameters"]


class Parameters(Protocol):
    """The layer's own blobs, or others that were made of them."""

    @property
    def has_bias(self) -> bool: ...

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

    def weights(self, desc: MemoryDesc, host: MemoryDesc) -> Memory:
        return self._b.weights(self._weight, desc, host)

    def bias(self) -> Memory:
        assert self._bias is not None
        return self._b.host_vector(self._bias)
