"""Classifier: class scores of images, by a net with one input and one output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST
from dragon.errors import UsageError
from dragon.graph.net import Net, NetSettings
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.pycaffe.io import Transformer, oversample, resize_image
from dragon.pycaffe.old_net import engine_settings

__all__ = ["Classifier", "image_transformer"]


def image_transformer(
    net: Net,
    mean: NDArray[Any] | None = None,
    input_scale: float | None = None,
    raw_scale: float | None = None,
    channel_swap: Sequence[int] | None = None,
) -> Transformer:
    """The Transformer from (H, W, K) images to the net's first input, (N, K, H, W); settings of None are left out.

    Raises UsageError for a net without such an input.
    """
    if not net.inputs:
        raise UsageError(f'net "{net.name}" has no input for images: it is no deploy net')
    name = net.inputs[0]
    if net.blobs[name].ndim != 4:
        raise UsageError(f'input "{name}" has shape {net.blobs[name].shape}, images need (N, K, H, W)')
    transformer = Transformer({name: net.blobs[name].shape})
    transformer.set_transpose(name, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)
    return transformer


class Classifier(Net):
    """A net in the TEST phase that classifies images.

    image_dims: size (H, W) that images are resized to before cropping, at least the input's; None: the input's. mean,
    input_scale, raw_scale, channel_swap: as for dragon.pycaffe.io.Transformer.
    """

    def __init__(
        self,
        model_file: str | Path | pb.NetParameter | Definition[pb.NetParameter],
        pretrained_file: str | Path | None = None,
        image_dims: Sequence[int] | None = None,
        mean: NDArray[Any] | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        mean_file: str | Path | None = None,
        gpu: bool | None = None,
        **settings: Unpack[NetSettings],
    ) -> None:
        super().__init__(model_file, phase=TEST, weights=pretrained_file, **engine_settings(gpu, settings))
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self._show_settings(self.transformer)
        if mean_file is not None:
            self.set_mean(self.inputs[0], mean_file)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.image_dims = np.array(image_dims) if image_dims is not None else self.crop_dims

    def predict(self, inputs: Iterable[NDArray[Any]], oversample: bool = True) -> NDArray[Any]:
        """Scores (N, classes) of N images (H, W, K): of the centre, or with `oversample` the mean over ten crops.

        Raises UsageError where image_dims are smaller than the net's input.
        """
        resized = [resize_image(np.asarray(image), list(self.image_dims)) for image in inputs]
        name = self.inputs[0]
        if not resized:
            return self.forward_all(None, **{name: np.empty((0, *self.blobs[name].shape[1:]))})[self.outputs[0]]
        crops = _ten_crops(resized, list(self.crop_dims)) if oversample else [self._centre(image) for image in resized]
        batch = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        scores: NDArray[Any] = self.forward_all(None, **{name: batch})[self.outputs[0]]
        if oversample:
            scores = scores.reshape(len(scores) // 10, 10, -1).mean(1)
        return scores

    def _centre(self, image: NDArray[Any]) -> NDArray[Any]:
        crop: NDArray[Any] = _ten_crops([image], list(self.crop_dims))[_CENTRE]
        return crop


_ten_crops = oversample  # predict has an argument of that name
_CENTRE = 4  # the position of the centre among them
