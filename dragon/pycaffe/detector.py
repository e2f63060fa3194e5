"""Detector: class scores of windows of images, with context around them, as in R-CNN (Girshick et al. 2014)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import TEST
from dragon.data.resize import scaled_size
from dragon.errors import DataError, UsageError
from dragon.files.kinds import kind_of
from dragon.files.reading import open_regular
from dragon.graph.net import Net, NetSettings
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.pycaffe.classifier import image_transformer
from dragon.pycaffe.images import read_image
from dragon.pycaffe.io import resize_image
from dragon.pycaffe.old_net import engine_settings
from dragon.pycaffe.region_nets import IMAGE_INFO

__all__ = ["Box", "Detection", "Detector", "read_windows"]

Window = Sequence[float]  # ymin, xmin, ymax, xmax


class Detection(TypedDict):
    """A window of an image with `prediction`, its scores (classes,)."""

    window: Window
    filename: str
    prediction: NDArray[Any]


class Box(TypedDict):
    """What a net that finds boxes found: its place in pixels of the image, the number of its class, the score."""

    window: Window
    filename: str
    label: int
    score: float


def read_windows(path: str | Path) -> list[tuple[str, list[list[float]]]]:
    """Windows by image from a CSV file with the columns filename, ymin, xmin, ymax, xmax (in any order).

    Raises DataError, with the line, for a missing column or a value that is not a number.
    """
    import csv
    import io

    names = ("ymin", "xmin", "ymax", "xmax")
    windows: dict[str, list[list[float]]] = {}
    try:
        with io.TextIOWrapper(open_regular(path), "utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = [n for n in ("filename", *names) if n not in (rows.fieldnames or [])]
            if missing:
                raise DataError(f"{path}:1: no column {', '.join(missing)}; expected filename,ymin,xmin,ymax,xmax")
            for row in rows:
                try:
                    box = [float(row[n]) for n in names]
                    if not all(map(math.isfinite, box)):
                        raise ValueError
                except (TypeError, ValueError):
                    raise DataError(f"{path}:{rows.line_num}: ymin,xmin,ymax,xmax must be four numbers") from None
                windows.setdefault(row["filename"], []).append(box)
    except csv.Error as error:
        raise DataError(f"{path}: no CSV file: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        kind = kind_of(path)
        what = f"{kind}; to find boxes in it takes a net that ends with DetectionOutput" if kind else "not a text file"
        raise DataError(f"{path}: {what}; expected a CSV file of windows, filename,ymin,xmin,ymax,xmax") from None
    return list(windows.items())


class Detector(Net):
    """A net in the TEST phase that scores windows of images; windows are (ymin, xmin, ymax, xmax) in pixels.

    context_pad: width in pixels, on each side of the net's input, that shows the window's surroundings; filled with the
    mean outside the image. The other arguments are those of Classifier.
    """

    def __init__(
        self,
        model_file: str | Path | pb.NetParameter | Definition[pb.NetParameter],
        pretrained_file: str | Path | None = None,
        mean: NDArray[Any] | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
        mean_file: str | Path | None = None,
        gpu: bool | None = None,
        **settings: Unpack[NetSettings],
    ) -> None:
        super().__init__(model_file, phase=TEST, weights=pretrained_file, **engine_settings(gpu, settings))
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self._show_settings(self.transformer)
        if mean_file is not None:
            self.set_mean(self.inputs[0], mean_file)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Set the width of the context, and the colour outside the image. Raises UsageError if it is too wide."""
        name = self.image_input
        _, channels, height, width = self.blobs[name].shape
        if context_pad and 2 * context_pad >= min(height, width):
            raise UsageError(f"context_pad {context_pad} leaves nothing of an input of {height} x {width}")
        self.context_pad = context_pad or 0
        mean = self.transformer.mean.get(name, np.zeros((channels, 1, 1), np.float32))
        plain = np.broadcast_to(mean, (channels, height, width))
        # the image that preprocessing turns into zeros
        scale = self.transformer.input_scale.pop(name, None)
        offset = self.transformer.mean.pop(name, None)
        self.crop_mean = self.transformer.deprocess(name, plain)
        if scale is not None:
            self.transformer.input_scale[name] = scale
        if offset is not None:
            self.transformer.mean[name] = offset
        if self.crop_mean.ndim == 2:
            self.crop_mean = self.crop_mean[..., None]

    def crop(self, im: NDArray[Any], window: Window) -> NDArray[Any]:
        """The window of an (H, W, K) image; with a context_pad, window and context resized to the net's input.

        Raises DataError for a window without pixels.
        """
        top, left, bottom, right = window
        if not self.context_pad:
            return self._part_of(im, round(top), round(left), round(bottom), round(right))
        height, width = self.crop_mean.shape[:2]
        pad = self.context_pad
        # the window is enlarged so that it alone fills the input without the context
        grow_y, grow_x = height / (height - 2 * pad), width / (width - 2 * pad)
        middle_y, middle_x = (top + bottom) / 2, (left + right) / 2
        half_y, half_x = (bottom - top) / 2 * grow_y, (right - left) / 2 * grow_x
        top, bottom, left, right = middle_y - half_y, middle_y + half_y, middle_x - half_x, middle_x + half_x
        inside = (max(0, round(top)), max(0, round(left)), min(len(im), round(bottom)), min(im.shape[1], round(right)))
        part = self._part_of(im, *inside)
        scale_y, scale_x = height / max(bottom - top, 1), width / max(right - left, 1)
        y = min(max(0, round((inside[0] - top) * scale_y)), height - 1)
        x = min(max(0, round((inside[1] - left) * scale_x)), width - 1)
        rows = min(max(1, round(len(part) * scale_y)), height - y)
        columns = min(max(1, round(part.shape[1] * scale_x)), width - x)
        out = self.crop_mean.copy()
        out[y : y + rows, x : x + columns] = resize_image(part, (rows, columns))
        return out

    @staticmethod
    def _part_of(im: NDArray[Any], top: int, left: int, bottom: int, right: int) -> NDArray[Any]:
        part = im[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if not part.size:
            raise DataError(
                f"window {(top, left, bottom, right)} holds nothing of an image of {im.shape[0]} x {im.shape[1]}"
            )
        return part

    def detect_windows(self, images_windows: Iterable[tuple[str, Iterable[Window]]]) -> list[Detection]:
        """The scores of every window, in the given order. images_windows: pairs of an image file and its windows."""
        name = self.image_input
        color = self.blobs[name].shape[1] != 1
        found: list[tuple[Window, str]] = []
        inputs = []
        for filename, windows in images_windows:
            image = read_image(filename, color)
            for window in windows:
                try:
                    inputs.append(self.transformer.preprocess(name, self.crop(image, window)))
                except DataError as error:
                    raise DataError(f"{filename}: {error}") from None
                found.append((window, filename))
        if not found:
            return []
        scores = self.forward_all(None, **{name: np.stack(inputs)})[self.outputs[0]]
        return [
            {"window": window, "filename": filename, "prediction": score.reshape(-1)}
            for (window, filename), score in zip(found, scores, strict=True)
        ]

    @property
    def finds_boxes(self) -> bool:
        """Whether the net's answer is boxes that it found in its input, not scores of the input."""
        return self._boxes is not None

    @property
    def _boxes(self) -> str | None:
        """The output with the boxes, None without one."""
        made = {top for node in self.nodes if node.layer.gives_boxes for top in node.layer.param.top}
        return next((name for name in self.outputs if name in made), None)

    @property
    def image_input(self) -> str:
        """The input for images: the first one, but for the one for the size of the image."""
        return next((name for name in self.inputs if name != IMAGE_INFO), IMAGE_INFO)

    @property
    def takes_sizes(self) -> bool:
        """Whether the net also reads the size of the image, so that images keep their shape (Faster R-CNN)."""
        return IMAGE_INFO in self.inputs and len(self.inputs) == 2

    def find_boxes(self, images_windows: Iterable[tuple[str, Iterable[Window] | None]]) -> list[Box]:
        """The boxes that a net with `finds_boxes` finds in each window, in falling order of their scores.

        images_windows: pairs of an image file and its windows; None for the whole image. Windows go through the net one
        by one, each resized to its input; where the net reads the size of the image too, each is scaled so that its
        short side is that of the input, unless its long side then exceeds that of the input. Raises UsageError with a
        context_pad, DataError for a window without pixels.
        """
        if self.context_pad:
            raise UsageError("a net that finds boxes itself takes no context around the window: leave context_pad out")
        name, output = self.image_input, self._boxes or self.outputs[0]
        color = self.blobs[name].shape[1] != 1
        self.blobs[name].reshape(1, *self.transformer.inputs[name][1:])
        found: list[Box] = []
        for filename, windows in images_windows:
            image = read_image(filename, color)
            for window in [(0, 0, *image.shape[:2])] if windows is None else windows:
                top, left, bottom, right = (round(side) for side in window)
                try:
                    part = self.crop(image, (top, left, bottom, right))
                except DataError as error:
                    raise DataError(f"{filename}: {error}") from None
                y, x = max(0, top), max(0, left)
                self._give(part)
                rows = self.forward()[output]
                scale = np.array([part.shape[0], part.shape[1]] * 2)
                boxes = [row for row in rows.reshape(-1, 7).astype(float) if row[1] >= 0]  # -1: nothing was found
                for _, label, score, *corners in sorted(boxes, key=lambda row: -row[2]):
                    place = np.array([corners[1], corners[0], corners[3], corners[2]]) * scale + [y, x, y, x]
                    box: Box = {"window": place.tolist(), "filename": filename, "label": int(label), "score": score}
                    found.append(box)
        return found

    def _give(self, part: NDArray[Any]) -> None:
        """Put an image into the input for images, and its size into the one for that."""
        name = self.image_input
        shape = self.transformer.inputs[name]
        if not self.takes_sizes:
            self.blobs[name].data[...] = self.transformer.preprocess(name, part)
            return
        height, width, scale = scaled_size(part.shape[0], part.shape[1], *sorted(shape[2:]))
        self.transformer.inputs[name] = (1, shape[1], height, width)
        try:
            data = self.transformer.preprocess(name, part)
        finally:
            self.transformer.inputs[name] = shape
        self.blobs[name].reshape(1, *data.shape)
        self.blobs[name].data[...] = data
        self.blobs[IMAGE_INFO].reshape(1, 3)
        self.blobs[IMAGE_INFO].data[...] = [[height, width, scale]]

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[Detection]:
        """Always raises UsageError: selective search needs a program of its own, whose windows detect_windows takes."""
        raise UsageError("selective search is a program of its own: pass its windows to detect_windows")
