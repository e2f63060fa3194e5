"""How a net of the zoo wants its images, and the names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragon.bases.rcnn_defaults import DEFAULTS
from dragon.data import read_mean
from dragon.files.paths import find
from dragon.files.reading import read_text
from dragon.models.facts import ROOT, read_facts
from dragon.models.zoo import TRAIN_VAL
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_net

__all__ = ["Preprocessing", "labels_of", "preprocessing_of"]

_RGB = ("cifar10",)  # data sets whose images are stored red first; the others are blue first, as OpenCV reads them
_IMAGENET_MEAN = (104.007, 116.669, 122.679)  # the channels' means of BVLC's mean image of ILSVRC 2012
# The means of the channels and the factor behind them, of nets that come without training images; from their authors'
# programs that use them, and from HDF5 files.
_DEPLOYED: dict[str, tuple[tuple[float, ...], float]] = {
    "mtcnn_pnet": ((127.5, 127.5, 127.5), 0.0078125),
    "mtcnn_rnet": ((127.5, 127.5, 127.5), 0.0078125),
    "mtcnn_onet": ((127.5, 127.5, 127.5), 0.0078125),
    "openpose": ((128, 128, 128), 1 / 256),
    "crnn_mnist": ((), 1 / 255),
}


@dataclass(frozen=True)
class Preprocessing:
    """What is done to images with values 0 to 255, in this order.

    size: (height, width) that they are resized to before the middle of the input's size is cut out; None: the input's.
    mean: an image (C, h, w) of the input's size, or a value for each channel; subtracted. scale: multiplies. rgb: red
    comes first. note: in which way this is not what the net was trained with.
    """

    size: tuple[int, int] | None = None
    mean: NDArray[np.float32] | None = None
    scale: float | None = None
    rgb: bool = False
    note: str = ""


def preprocessing_of(name: str, root: Path = ROOT) -> Preprocessing:
    """The preprocessing of a net of the zoo: that of its test data, or, where it has none, of its authors."""
    rgb = read_facts(name, root).dataset in _RGB
    path = root / name / TRAIN_VAL
    net = read_net(path) if path.is_file() else pb.NetParameter()
    settings = _of_test_data(net)
    if settings is None:
        regions = _of_regions(net)
        means, scale = (regions, 1) if regions else _DEPLOYED.get(name, ((), 1))
        return Preprocessing(None, np.array(means, np.float32) if means else None, scale if scale != 1 else None, rgb)
    crop = settings.crop_size
    side = 256 if 200 < crop <= 256 else round(crop * 8 / 7)
    size = (side, side) if crop > 200 else None  # smaller images are as large as the input
    mean, note = _mean(settings, crop, path.parent)
    return Preprocessing(size, mean, settings.scale if settings.scale != 1 else None, rgb, note)


def _of_test_data(net: pb.NetParameter) -> pb.TransformationParameter | None:
    """The transform_param of the data layer of phase TEST."""
    for layer in net.layer:
        phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
        if layer.HasField("transform_param") and phases == [pb.TEST]:
            return layer.transform_param
    return None


def _of_regions(net: pb.NetParameter) -> tuple[float, ...] | None:
    """The mean of the channels that a layer RoIData of phase TEST subtracts; None without such a layer."""
    for layer in net.layer:
        if layer.type == "RoIData" and [rule.phase for rule in layer.include] == [pb.TEST]:
            return tuple(layer.roi_data_param.pixel_mean or DEFAULTS["PIXEL_MEANS"])
    return None


def _mean(settings: pb.TransformationParameter, crop: int, folder: Path) -> tuple[NDArray[np.float32] | None, str]:
    if settings.mean_value:
        return np.array(settings.mean_value, np.float32), ""
    if not settings.mean_file:
        return None, ""
    found = find(settings.mean_file, folder)
    if found is None:
        return np.array(_IMAGENET_MEAN, np.float32), (
            f"{settings.mean_file} is not here: the means of the channels of ILSVRC 2012 take its place"
        )
    mean = read_mean(found)
    if crop:
        top, left = ((side - crop) // 2 for side in mean.shape[1:])
        mean = mean[:, top : top + crop, left : left + crop]
    return mean, ""


def labels_of(name: str, root: Path = ROOT) -> list[str]:
    """The names of the classes of a net of the zoo, as far as they ship with Dragon; else an empty list."""
    path = root / "data" / read_facts(name, root).dataset / "labels.txt"
    return read_text(path).splitlines() if path.is_file() else []
