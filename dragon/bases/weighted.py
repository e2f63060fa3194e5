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
    """y = W x + b. The first of `settings` has num_output, axis and bias_term. Blobs: weight, [bias (num_output)].

    Base of Convolution, Deconvolution and InnerProduct.
    """

    @property
    def output_axis(self) -> int:
        """The axis of the weight that the outputs are, where it is one."""
        return 0

    @classmethod
    def product_param(cls, param: pb.LayerParameter) -> Any:
        """The message of a definition that has num_output, axis and bias_term."""
        return getattr(param, cls.settings[0])

    @classmethod
    def scale_outputs(cls, param: pb.LayerParameter, weight: NDArray[Any], factors: NDArray[Any]) -> NDArray[Any]:
        """The weight of a layer with this definition, in the same shape, each output multiplied by its factor.

        factors: (num_output). Here the outputs are the first axis of the weight; subclasses may override that.
        """
        scaled: NDArray[Any] = weight.reshape(len(factors), -1) * factors[:, None]
        return scaled.reshape(weight.shape)

    @property
    def num_output(self) -> int:
        """Number of output channels."""
        n: int = self.product_param(self.param).num_output
        return n

    @property
    def weight(self) -> Blob:
        """The blob that the bottom is multiplied by."""
        return self.blobs[0]

    @property
    def bias(self) -> Blob | None:
        """The blob (num_output) that is added; None without bias_term."""
        return self.blobs[1] if self.product_param(self.param).bias_term else None

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Multiply-adds of one forward pass: for each element of the top, the elements of one row of the weight."""
        return sum(blob.count for blob in top) * (self.weight.count // self.num_output)
