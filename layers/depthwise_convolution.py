"""The layer type DepthwiseConvolution, with the alias ConvolutionDepthwise."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.layers.convolution import Convolution
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["DepthwiseConvolution"]


@register("ConvolutionDepthwise")
class DepthwiseConvolution(Convolution):
    """Depthwise convolution: a convolution with a group for each channel, unless `group` is set."""

    type = "DepthwiseConvolution"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.param.convolution_param.HasField("group"):
            param = pb.LayerParameter()
            param.CopyFrom(self.param)
            axis = self.axis(param.convolution_param.axis, bottom[0].ndim)
            param.convolution_param.group = bottom[0].shape[axis]
            self.param = param
        super().setup(bottom, top)
