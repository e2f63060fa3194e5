"""Images and messages as arrays, in pycaffe's conventions.

An image is (H, W, K), float32 from 0 to 1, RGB or gray (K = 1); a net's input is (N, K, H, W).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.errors import UsageError
from dragon.proto import blobs as _blobs
from dragon.proto import caffe_pb2 as caffe_pb2  # scripts reach it as caffe.io.caffe_pb2
from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe.images import load_image
from dragon.pycaffe.missing_names import missing_name
from dragon.pycaffe.resizing import Image, resize, resize_image

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize",
    "resize_image",
]


class TransformError(UsageError, ValueError):
    """A setting that does not fit the input; its messages are pycaffe's, which scripts look for."""


# -- messages


def blobproto_to_array(blob: pb.BlobProto, return_diff: bool = False) -> NDArray[Any]:
    """The data (or diff) of a BlobProto as an array of its shape. Raises WeightsError if they do not fit."""
    return _blobs.blobproto_to_array(blob, return_diff)


def array_to_blobproto(arr: NDArray[Any], diff: NDArray[Any] | None = None) -> pb.BlobProto:
    """A BlobProto with an array as data, and another of the same shape as diff."""
    blob = _blobs.array_to_blobproto(np.asarray(arr), None if diff is None else np.asarray(diff))
    for double, single in ((blob.double_data, blob.data), (blob.double_diff, blob.diff)):
        if double:  # pycaffe fills these alone; the others keep all digits
            single.extend(np.asarray(double, np.float32))
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[NDArray[Any]]) -> bytes:
    """A serialised BlobProtoVector of the arrays."""
    content: bytes = pb.BlobProtoVector(blobs=[array_to_blobproto(a) for a in arraylist]).SerializeToString()
    return content


arraylist_to_blobprotovecor_str = arraylist_to_blobprotovector_str  # the name in pycaffe, until it was corrected


def blobprotovector_str_to_arraylist(str: bytes) -> list[NDArray[Any]]:
    """The arrays of a serialised BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in pb.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: NDArray[Any], label: int | None = None) -> pb.Datum:
    """A Datum of a (C, H, W) array: uint8 as bytes, everything else as floats. Raises ValueError for other shapes."""
    if arr.ndim != 3:
        raise ValueError("Incorrect array shape.")
    datum = pb.Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2])
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(np.float32).ravel().tolist())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: pb.Datum) -> NDArray[Any]:
    """The (C, H, W) values of a Datum that is not encoded, uint8 or float64, as a copy; its label is datum.label.

    Raises ValueError for one that holds an image file.
    """
    if datum.encoded:
        raise TransformError("the Datum holds an image file: decode io.BytesIO(datum.data), as PIL.Image.open does")
    shape = (datum.channels, datum.height, datum.width)
    if datum.data:
        return np.frombuffer(datum.data, np.uint8).reshape(shape).copy()  # scripts subtract means in place
    return np.array(datum.float_data, np.float64).reshape(shape)


# -- images


def oversample(images: Iterable[NDArray[Any]], crop_dims: Sequence[int]) -> Image:
    """Ten crops of crop_dims (h, w) of each of N images (H, W, K): (10 N, h, w, K).

    In order: top left, top right, bottom left, bottom right, centre, and the same five mirrored. Raises TransformError
    without images, for those of several sizes, and for crops that are larger.
    """
    images = list(images)
    h, w = (int(d) for d in crop_dims)
    if not images:
        raise TransformError("there are no images to take crops of")
    height, width, channels = images[0].shape
    other = next((image.shape for image in images if image.shape != images[0].shape), None)
    if other is not None:
        raise TransformError(f"crops are taken of images of one size, got shapes {images[0].shape} and {other}")
    if h > height or w > width:
        raise TransformError(f"crops of {h} x {w} do not fit into an image of {height} x {width}")
    corners = [(top, left) for top in (0, height - h) for left in (0, width - w)]
    corners.append((int(height / 2 - h / 2), int(width / 2 - w / 2)))
    crops = np.empty((10 * len(images), h, w, channels), np.float32)
    for n, image in enumerate(images):
        for i, (top, left) in enumerate(corners):
            crops[10 * n + i] = image[top : top + h, left : left + w]
        crops[10 * n + 5 : 10 * n + 10] = crops[10 * n : 10 * n + 5, :, ::-1]
    return crops


class Transformer:
    """Converts images to inputs of a net and back.

    The steps: resize, transpose, swap channels, multiply by raw_scale, subtract the mean, multiply by input_scale.
    Those that are not set are left out. inputs: shape of each input by name. Raises TransformError, a UsageError and
    ValueError, for an unknown input, or for a setting or an image that does not fit it.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs: dict[str, tuple[int, ...]] = {name: tuple(shape) for name, shape in inputs.items()}
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, NDArray[Any]] = {}
        self.input_scale: dict[str, float] = {}

    def __check_input(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise TransformError(f"{in_} is not one of the net inputs: {list(self.inputs)}")
        return self.inputs[in_]

    def preprocess(self, in_: str, data: NDArray[Any]) -> Image:
        """Convert an (H, W, K) image to the form of the net's input, (K, H', W'). Raises TransformError."""
        dims = self.__check_input(in_)[2:]
        out: NDArray[Any] = np.asarray(data).astype(np.float32, copy=False)
        if in_ in self.transpose and out.ndim != len(self.transpose[in_]):
            expected = how_many(len(self.transpose[in_]), "axis")
            raise TransformError(f"an image for {in_} has {expected}, got shape {out.shape}")
        if out.shape[: len(dims)] != dims:
            out = resize_image(out, dims)
        if in_ in self.transpose:
            out = out.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            if max(self.channel_swap[in_]) >= len(out):
                raise TransformError(
                    f"the channels of {in_} are swapped, which needs {len(self.channel_swap[in_])}, got {len(out)}"
                )
            out = out[list(self.channel_swap[in_])]
        if in_ in self.raw_scale:
            out = out * np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            less = out - self.mean[in_]
            if less.shape != out.shape:
                raise TransformError(f"a mean of shape {self.mean[in_].shape} for an image of shape {out.shape}")
            out = less
        if in_ in self.input_scale:
            out = out * np.float32(self.input_scale[in_])
        return out.astype(np.float32, copy=False)

    def deprocess(self, in_: str, data: NDArray[Any]) -> Image:
        """Convert an input back to the image that preprocess made it of, in the input's size."""
        self.__check_input(in_)
        out = np.array(data, np.float32).squeeze()
        if out.ndim == 2 and in_ in self.transpose:
            out = out[None]
        if in_ in self.input_scale:
            out = out / np.float32(self.input_scale[in_])
        if in_ in self.mean:
            out = out + self.mean[in_]
        if in_ in self.raw_scale:
            out = out / np.float32(self.raw_scale[in_])
        if in_ in self.channel_swap:
            out = out[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            out = out.transpose(np.argsort(self.transpose[in_]))
        return out.astype(np.float32, copy=False)

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of axes: (2, 0, 1) makes (H, W, K) into (K, H, W)."""
        if len(order) != len(self.__check_input(in_)) - 1:
            raise TransformError("Transpose order needs to have the same number of dimensions as the input.")
        if sorted(order) != list(range(len(order))):
            raise TransformError(f"Transpose order needs to have each axis from 0 to {len(order) - 1}, got {order}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of channels: (2, 1, 0) makes RGB into BGR."""
        if len(order) != self.__check_input(in_)[1]:
            raise TransformError("Channel swap needs to have the same number of dimensions as the input channels.")
        if not all(0 <= channel < len(order) for channel in order):
            raise TransformError(f"Channel swap needs to have channels from 0 to {len(order) - 1}, got {order}")
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set the factor before the mean is subtracted: 255 for nets that were trained on bytes."""
        self.__check_input(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: NDArray[Any]) -> None:
        """Set the mean to subtract: one value for each channel, or an image (K, H, W), resized to the input."""
        shape = self.__check_input(in_)
        mean = np.asarray(mean, np.float32)
        if mean.ndim == 1:
            if mean.shape[0] != shape[1]:
                raise TransformError("Mean channels incompatible with input.")
            mean = mean.reshape(-1, *[1] * (len(shape) - 2))
        else:
            if mean.ndim == 2:
                mean = mean[None]
            if mean.ndim != 3:
                raise TransformError("Mean shape invalid")
            if mean.shape[0] not in (1, shape[1]):
                raise TransformError("Mean channels incompatible with input.")
            if mean.shape[1:] != shape[2:]:
                mean = resize_image(mean.transpose(1, 2, 0), shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set the factor after the mean is subtracted."""
        self.__check_input(in_)
        self.input_scale[in_] = scale


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """scikit-image, which scripts take from here as `caffe.io.skimage`."""
        if name != "skimage":
            raise missing_name("io", name, __all__)
        try:
            import skimage.io
            import skimage.transform
        except ImportError as error:
            raise AttributeError(f"caffe.io.skimage is the package scikit-image, which is missing: {error}") from None
        return skimage
