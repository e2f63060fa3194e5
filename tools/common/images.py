"""Flags for the preprocessing of images, shared by classify and detect."""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data import read_mean
from dragon.data.class_folders import class_names
from dragon.errors import DataError, DragonError, UsageError
from dragon.files.kinds import kind_of
from dragon.files.npy import read_npy
from dragon.files.reading import read_marked_text
from dragon.models.preprocessing import labels_of, preprocessing_of
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.pycaffe.classifier import Classifier
from dragon.pycaffe.detector import Detector
from dragon.tools.common.logs import log
from dragon.tools.common.numbers import Real

__all__ = [
    "ImageChoice",
    "channel_order",
    "check_labels",
    "class_text",
    "image_options",
    "mean_of_flag",
    "read_labels",
    "scored_class",
]

_LABEL_MAP = re.compile(r"(\s|#[^\n]*\n)*item\s*:?\s*{")
_NUMBERS = re.compile(r"[\s\d.,eE+-]*\d[\s\d.,eE+-]*")
_MOST_LABELS = 1_000_000


@dataclass
class ImageChoice:
    """Values of the flags; `apply` sets the transformer of a net by them."""

    mean: NDArray[Any] | None
    raw_scale: float
    input_scale: float | None
    channel_swap: tuple[int, ...] | None

    def of_zoo(self, name: str | None) -> ImageChoice:
        """The choice, where flags were left out that of a net of the zoo; the same without a name."""
        if name is None:
            return self
        own = preprocessing_of(name)
        if own.note and self.mean is None:
            log.warning("%s: %s", name, own.note)
        return ImageChoice(
            own.mean if self.mean is None else self.mean,
            self.raw_scale,
            own.scale if self.input_scale is None else self.input_scale,
            (0, 1, 2) if self.channel_swap is None and own.rgb else self.channel_swap,
        )

    def apply(self, net: Classifier | Detector, model: str) -> bool:
        """Set up the net's transformer; whether it takes colour images.

        A single mean value counts for every channel; channels are swapped to blue first unless told otherwise.
        UsageError unless the net has one input (N, 1 or 3, H, W), beside which a detector may read the image's size.
        """
        sized = isinstance(net, Detector) and net.takes_sizes
        if len(net.inputs) != 1 and not sized:
            given = ", ".join(net.inputs) or "none, as a training net"
            raise UsageError(f"{model}: classifying needs a net with one input, for images; this one has {given}")
        name = net.image_input if isinstance(net, Detector) else net.inputs[0]
        shape = net.blobs[name].shape
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise UsageError(f'{model}: input "{name}" has shape {shape}, images need (N, 1 or 3, H, W)')
        transformer, channels = net.transformer, shape[1]
        if self.mean is not None:
            mean = self.mean
            if mean.ndim == 3 and len(mean) == 1 < channels:
                log.warning(
                    "--mean is a grey image, which is subtracted from each of %s", how_many(channels, "channel")
                )
            try:
                transformer.set_mean(name, np.repeat(mean, channels) if mean.ndim == 1 and mean.size == 1 else mean)
            except DragonError as error:
                error.task = f"--mean of shape {mean.shape} for {how_many(channels, 'channel')}"
                raise
        transformer.set_raw_scale(name, self.raw_scale)
        if self.input_scale is not None:
            transformer.set_input_scale(name, self.input_scale)
        swap = self.channel_swap or ((2, 1, 0) if channels == 3 else None)
        if swap is not None:
            if len(swap) != channels:
                raise UsageError(
                    f"--channel-swap names {how_many(len(swap), 'channel')}, the net's input has {channels}"
                )
            transformer.set_channel_swap(name, swap)
        return channels != 1


def image_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: add the flags and hand them to the command as `images`, an ImageChoice."""

    @click.option("--mean", metavar="FILE|B,G,R", help="Mean image (.binaryproto, .npy) or a value for each channel.")
    @click.option(
        "--raw-scale", type=Real(), default=255.0, show_default=True, help="Images come as 0 to 1 times this."
    )
    @click.option("--input-scale", type=Real(), help="Multiplies after the mean is subtracted.")
    @click.option("--channel-swap", metavar="2,1,0", help="Order of channels; blue first by default.")
    @functools.wraps(function)
    def wrapper(
        *args: Any, mean: str | None, raw_scale: float, input_scale: float | None, channel_swap: str | None, **more: Any
    ) -> Any:
        swap = channel_order(channel_swap) if channel_swap else None
        images = ImageChoice(mean_of_flag(mean) if mean else None, raw_scale, input_scale, swap)
        return function(*args, images=images, **more)

    return wrapper


def channel_order(text: str) -> tuple[int, ...]:
    """The channels of --channel-swap, in the order of the net's. UsageError unless each of 0, 1, .. is named once."""
    numbers = _numbers("--channel-swap", text)
    if sorted(numbers) != list(range(len(numbers))):
        raise UsageError(f'--channel-swap names each channel once, counted from 0, such as 2,1,0; got "{text}"')
    return tuple(map(int, numbers))


def _numbers(flag: str, text: str) -> list[float]:
    try:
        return [float(v) for v in text.split(",")]
    except ValueError:
        raise UsageError(f'{flag} takes numbers separated by commas, got "{text}"') from None


def mean_of_flag(text: str) -> NDArray[Any]:
    """The mean that --mean names: an image of a file, or a value for each channel. Raises DataError, UsageError."""
    if not os.path.exists(text):
        if _NUMBERS.fullmatch(text):
            return np.array(_numbers("--mean", text))
        neither = ", and is not a list of numbers such as 104,117,123" if "," in text else ""
        raise DataError(f"mean file {text} does not exist{neither}")
    if text.endswith(".npy"):
        return np.asarray(read_npy(text, "mean file"), np.float32)
    return read_mean(text)


def read_labels(path: str | None, net: str | None = None) -> Sequence[str]:
    """Names of the classes: of the lines of a file, a label map of SSD, or a folder of class folders.

    Without a path the zoo's for `net`. Bytes that are not UTF-8 are replaced. DataError for other files than text,
    PrototxtError for a label map that cannot be read.
    """
    if path is None:
        return labels_of(net) if net else []
    if os.path.isdir(path):
        return class_names(path)
    try:
        text = read_marked_text(path, errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if "\0" in text:
        raise DataError(f"{path}: expected names of classes, one a line; this is {kind_of(path) or 'a binary file'}")
    if _LABEL_MAP.match(text):
        return _mapped(path, parse_text(text, pb.LabelMap(), path))
    names = text.rstrip().split("\n")
    if names == [""]:
        raise DataError(f"{path}: expected names of classes, one a line; it holds none")
    return names


def _mapped(path: str, labels: pb.LabelMap) -> list[str]:
    """The names of a label map by number; a number that it leaves out has its number as name."""
    known = {item.label: item.display_name or item.name for item in labels.item}
    if min(known) < 0 or max(known) > _MOST_LABELS:
        raise DataError(f"{path}: labels are numbers from 0 to {_MOST_LABELS}, got {min(known)} to {max(known)}")
    return [known.get(number, f"class {number}") for number in range(max(known) + 1)]


def check_labels(path: str | None, names: Sequence[str], net: Classifier | Detector) -> None:
    """UsageError for more names than the net has classes; a warning for fewer, since a number stands for the others.

    path: where the names come from, None for the zoo's own list.
    """
    source = "the zoo's list of names" if path is None else path
    classes = net.blobs[net.outputs[0]].shape[1:]
    count = math.prod(classes)
    if len(names) > count:
        raise UsageError(
            f"{source} has {how_many(len(names), 'line')}, the net {how_many(count, 'class')}: the names are "
            "those of another net"
        )
    if names and len(names) < count:
        log.warning("%s has %s, the net %s", source, how_many(len(names), "line"), how_many(count, "class"))


def scored_class(names: Sequence[str], number: int, score: float) -> dict[str, Any]:
    """A class with its score, for JSON; the label is null where it has no name."""
    return {"class": number, "label": names[number] if number < len(names) else None, "score": float(score)}


def class_text(found: Mapping[str, Any]) -> str:
    """The name of a scored class, or its number."""
    return f"class {found['class']}" if found["label"] is None else str(found["label"])
