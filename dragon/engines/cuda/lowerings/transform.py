"""Data and ImageData: 8-bit images are sent to the GPU one batch ahead, and transformed by transform.cu.

The host reads and decodes images, and chooses windows and mirroring. It also transforms batches that are not 8-bit
images of one shape (floats, images of several sizes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.engines.cuda.device.copies import FEED_BYTES
from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.device.staging import Staged
from dragon.engines.cuda.kernels import transform as kernels
from dragon.engines.cuda.kernels.kernel import MOST
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.graph.node import Node
from dragon.memory.blob import Blob

__all__ = ["TransformLowering", "byte_count", "transform"]

NO_MEAN, BY_CHANNEL, BY_PIXEL = 0, 1, 2
ON_HOST = -1  # in the place of the mirror flag: the host has transformed the image


def transform(
    device: Device, images: Any, places: Any, mean: Any, scale: float, out: Any, stored: Any = None,
    channels_last: bool = False,
) -> None:  # fmt: skip
    """Launch out (N, C, h, w) = (images - mean) * scale, from a window of each image.

    images (N, C, H, W) of uint8; places (N, 3) of int32: mirror (0 or 1) or ON_HOST, first row and first column of each
    window. mean: None, (1,) or (C,) for channels, or (C, H, W). All on the device. What a window has outside of its
    image becomes zero. stored: the type of 16-bit activations that `out` holds, None for its own type.
    channels_last: `out` lies as (N, h, w, C).
    """
    _, c, height, width = images.shape
    kind = NO_MEAN if mean is None else BY_CHANNEL if mean.ndim == 1 else BY_PIXEL
    kernels.transform(
        device, stored or out.dtype, x=images, places=places, mean=mean, y=out, count=out.size, channels=c,
        height=height, width=width, out_h=out.shape[2], out_w=out.shape[3], mean_kind=kind,
        mean_channels=mean.size if kind == BY_CHANNEL else 1, scale=float(scale),
        channels_last=channels_last,
    )  # fmt: skip


def byte_count(layer: Any, tops: Sequence[Blob]) -> int:
    """Bytes of a batch that are sent to the GPU, without the labels."""
    batch = tops[0].shape[0]
    return int(batch * (np.prod(layer.maker.byte_shape) + 3 * 4))


@lowers("Data", "ImageData")
class TransformLowering(Lowering):
    """Data and ImageData with 8-bit images."""

    half = True
    float32_tops = (1,)

    @classmethod
    def takes_channels_last(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return True

    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """Whether the kernels can: only float32, in which the host computes too, so that both give the same bits."""
        shape = layer.maker.byte_shape
        images = top[0].shape[0] * int(np.prod(shape)) if shape is not None else MOST + 1
        return layer.dtype == np.float32 and images <= MOST

    def __init__(self, device: Device, node: Node) -> None:
        super().__init__(device, node)
        self._feed: Any = None
        self._fed: Any = None
        self._mean_sent = False

    def _images(self, batch: int) -> Any:
        return self.buffer("images", (batch, *self.layer.maker.byte_shape), np.uint8)

    def _places(self, batch: int) -> Any:
        return self._staged_places(batch).array.reshape(batch, 3)

    def _staged_places(self, batch: int) -> Staged:
        return self.staged("places", 3 * batch, np.int32)

    def _mean(self) -> Any:
        """The mean on the device, or None; `prepare` sends it there."""
        mean = self.layer.maker.transformer.mean
        if mean is None:
            return None
        return self.buffer("mean", mean.shape if mean.shape[1:] != (1, 1) else mean.size, np.float32, True)

    def prepare(self) -> None:
        """Take a batch from the reading thread and send it to the device."""
        layer = self.layer
        layer.hand_out_bytes()
        batch = layer.take()
        if not self._mean_sent and self._mean() is not None:
            mean = self._mean()
            self.device.upload(mean, np.ascontiguousarray(layer.maker.transformer.mean).reshape(mean.shape))
            self._mean_sent = True
        count = len(batch.label)
        if batch.bytes is None:
            layer.deliver(batch, self.node.tops)
            self._staged_places(count).set(np.full(3 * count, ON_HOST, np.int32))
        else:
            layer.deliver_labels(batch, self.node.tops)
            self._send(batch.bytes.images)
            self._staged_places(count).set(batch.bytes.places.reshape(-1))

    def _send(self, images: Any) -> None:
        target = self._images(len(images)).reshape(-1)
        if target.nbytes < FEED_BYTES:
            self.device.upload(target, np.ascontiguousarray(images).reshape(-1))
            return
        if self._feed is None or self._fed != (target.data.ptr, target.nbytes):
            gpu: Any = self.device
            self._feed, self._fed = gpu.feed(target), (target.data.ptr, target.nbytes)
        self._feed.send(images.reshape(-1))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = top[0].data
        images, places = self._images(y.shape[0]), self._places(y.shape[0])
        scale = self.layer.maker.transformer.scale
        transform(self.device, images, places, self._mean(), scale, y, self.stored, self.channels_last)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Data has no gradient."""
