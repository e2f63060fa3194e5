"""Flags that say how images become a net's input, shared by classify and detect."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from dragon.data import read_mean
from dragon.errors import DataError, UsageError, one_line
from dragon.files.reading import read_bytes, read_text
from dragon.pycaffe.classifier import Classifier
from dragon.pycaffe.detector import Detector

__all__ = ["ImageChoice", "image_options", "read_labels"]


@dataclass
class ImageChoice:
    """What the flags say; `apply` makes it the net's transformer."""

    mean: NDArray[Any] | None
    raw_scale: float
    input_scale: float | None
    channel_swap: tuple[int, ...] | None

    def apply(self, net: Classifier | Detector, model: str) -> bool:
        """Set up the net's transformer; whether it takes colour images.

        A single mean value counts for every channel; channels are swapped to blue first unless told otherwise.
        UsageError unless the net has one input (N, 1 or 3, H, W).
        """
        if len(net.inputs) != 1:
            given = ", ".join(net.inputs) or "none, as a training net"
            raise UsageError(f"{model}: classifying needs a net with one input, for images; this one has {given}")
        name = net.inputs[0]
        shape = net.blobs[name].shape
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise UsageError(f'{model}: input "{name}" has shape {shape}, images need (N, 1 or 3, H, W)')
        transformer, channels = net.transformer, shape[1]
        if self.mean is not None:
            mean = self.mean
            transformer.set_mean(name, np.repeat(mean, channels) if mean.ndim == 1 and mean.size == 1 else mean)
        transformer.set_raw_scale(name, self.raw_scale)
        if self.input_scale is not None:
            transformer.set_input_scale(name, self.input_scale)
        swap = self.channel_swap or ((2, 1, 0) if channels == 3 else None)
        if swap is not None:
            transformer.set_channel_swap(name, swap)
        return channels != 1


def image_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: add the flags and hand them to the command as `images`, an ImageChoice."""

    @click.option("--mean", metavar="FILE|B,G,R", help="Mean image (.binaryproto, .npy) or a value for each channel.")
    @click.option("--raw-scale", type=float, default=255.0, show_default=True, help="Images come as 0 to 1 times this.")
    @click.option("--input-scale", type=float, help="Multiplies after the mean is subtracted.")
    @click.option("--channel-swap", metavar="2,1,0", help="Order of channels; blue first by default.")
    @functools.wraps(function)
    def wrapper(
        *args: Any, mean: str | None, raw_scale: float, input_scale: float | None, channel_swap: str | None, **more: Any
    ) -> Any:
        swap = tuple(int(v) for v in _numbers("--channel-swap", channel_swap)) if channel_swap else None
        images = ImageChoice(_mean(mean) if mean else None, raw_scale, input_scale, swap)
        return function(*args, images=images, **more)

    return wrapper


def _numbers(flag: str, text: str) -> list[float]:
    try:
        return [float(v) for v in text.split(",")]
    except ValueError:
        raise UsageError(f'{flag} takes numbers separated by commas, got "{text}"') from None


def _mean(text: str) -> NDArray[Any]:
    if not os.path.exists(text):
        if text.replace(",", "").replace(".", "").replace("-", "").strip().isdigit():
            return np.array(_numbers("--mean", text))
        raise DataError(f"mean file {text} does not exist")
    if text.endswith(".npy"):
        return _array(text)
    return read_mean(text)


def _array(path: str) -> NDArray[Any]:
    """The array of a .npy file. DataError for other files."""
    try:
        array = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
            return np.asarray(array, np.float32)
    except (OSError, EOFError, ValueError, MemoryError, SyntaxError, TypeError, OverflowError) as error:
        raise DataError(f"mean file {path}: {one_line(str(error))}") from None
    raise DataError(f"mean file {path}: holds no array of real numbers")


def read_labels(path: str | None) -> list[str]:
    """Names of the classes, one a line. DataError when the file cannot be read."""
    if path is None:
        return []
    try:
        return read_text(path, errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
