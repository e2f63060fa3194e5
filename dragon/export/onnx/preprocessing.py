"""Preprocessing of images inside an exported net: y = (raw_scale * x[channels] - mean) * scale, as pycaffe's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST
from dragon.counting import how_many
from dragon.data.transform import Transformer
from dragon.errors import UsageError
from dragon.export.onnx.graph import Graph
from dragon.files import paths
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

__all__ = ["Preprocessing", "of_transform_param"]


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an input (N, C, H, W) before the net reads it.

    channels: the channels of the input in the order of the net's. mean: (C), or an image (C, H, W), or a single value.
    """

    raw_scale: float = 1.0
    mean: NDArray[Any] | None = None
    scale: float = 1.0
    channels: Sequence[int] | None = None

    @property
    def does_nothing(self) -> bool:
        """Whether the net reads the input as it is."""
        return self.mean is None and self.channels is None and self.raw_scale == self.scale == 1

    def fitted(self, shape: Sequence[int]) -> Preprocessing:
        """The same for an input of a shape, its mean in one that broadcasts. Raises UsageError if it does not fit."""
        if len(shape) != 4:
            raise UsageError(f"preprocessing needs an input (N, C, H, W), the net's has shape {tuple(shape)}")
        if self.channels is not None and len(self.channels) != shape[1]:
            raise UsageError(
                f"channel-swap names {how_many(len(self.channels), 'channel')}, the net's input has {shape[1]}"
            )
        mean = self.mean
        if mean is None:
            return self
        if mean.ndim == 1:
            mean = mean.reshape(-1, 1, 1)
        if mean.ndim != 3 or mean.shape[0] not in (1, shape[1]) or mean.shape[1:] not in ((1, 1), tuple(shape[2:])):
            raise UsageError(f"a mean of shape {mean.shape} does not fit an input of shape {tuple(shape)}")
        return Preprocessing(self.raw_scale, mean, self.scale, self.channels)

    def write(self, g: Graph, name: str, value: str) -> str:
        """Add the operations to a graph; the value that the net reads. Only after `fitted`."""
        if self.channels is not None:
            value = g.op("Gather", value, g.ints(self.channels), axis=1)
        value = g.scaled(value, self.raw_scale)
        if self.mean is not None:
            value = g.op("Sub", value, g.constant(np.asarray(self.mean, np.float32), "mean"))
        return g.scaled(value, self.scale)

    def apply(self, images: NDArray[Any]) -> NDArray[Any]:
        """The same on an array (N, C, H, W). Only after `fitted`."""
        images = images if self.channels is None else images[:, list(self.channels)]
        images = images * self.raw_scale
        images = images if self.mean is None else images - self.mean
        return np.asarray(images * self.scale, np.float32)


def of_transform_param(layer: pb.LayerParameter, size: Sequence[int], folder: Path | None) -> Preprocessing:
    """What the transform_param of a data layer does in TEST to images that have been cropped to `size` (H, W).

    folder: that of the layer's prototxt, where the mean file is looked for too. Raises DataError for a mean file that
    cannot be read, UsageError for a mirror, which is random.
    """
    p = pb.TransformationParameter()
    p.CopyFrom(layer.transform_param)
    if p.mirror:
        raise UsageError(f'the transform_param of "{layer.name}" mirrors at random, which no file can hold')
    if p.mean_file:
        p.mean_file = str(paths.find(p.mean_file, folder) or p.mean_file)  # where it is missing, the reader says so
    transformer = Transformer(p, TEST, Stream(1, layer.name))
    mean = transformer.mean
    if mean is not None and mean.shape[1:] not in ((1, 1), tuple(size)):
        top, left = ((have - want) // 2 for have, want in zip(mean.shape[1:], size, strict=True))
        if min(top, left) < 0:
            raise UsageError(f"a mean of shape {mean.shape} is smaller than the input, {tuple(size)}")
        mean = mean[:, top : top + size[0], left : left + size[1]]
    return Preprocessing(mean=mean, scale=transformer.scale)
