"""Base of layers that multiply by a weight and add a bias: convolutions, inner products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from dragon.bases.layer import Layer
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Weighted"]


class Weighted(Layer):
    """y = W x + b. The first of `settings` has num_output, axis and bias_term. Blobs: weight, [bias (num_output)]."""

    @classmethod
    def product_param(cls, param: pb.LayerParameter) -> Any:
        """The message with num_output, axis and bias_term in a definition."""
        return getattr(param, cls.settings[0])

    @classmethod
    def scale_outputs(cls, param: pb.LayerParameter, weight: NDArray[Any], factors: NDArray[Any]) -> NDArray[Any]:
        """The weight of a layer with this definition, each output times its factor (num_output), in the same shape.

        As it stands here the outputs are the weight's first axis.
        """
        scaled: NDArray[Any] = weight.reshape(len(factors), -1) * factors[:, None]
        return scaled.reshape(weight.shape)

    @property
    def num_output(self) -> int:
        n: int = self.product_param(self.param).num_output
        return n

    @property
    def weight(self) -> Blob:
        return self.blobs[0]

    @property
    def bias(self) -> Blob | None:
        return self.blobs[1] if self.product_param(self.param).bias_term else None

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Those of one forward pass: every output takes as many as its row of the weight has entries."""
        return sum(blob.count for blob in top) * (self.weight.count // self.num_output)
