"""Fully convolutional nets for segmentation (Long, Shelhamer & Darrell 2015, arXiv 1411.4038), from VGG-16."""

from __future__ import annotations

from dragon.models.nets.body import XAVIER, Body
from dragon.models.nets.maps import Labelling, Maps
from dragon.models.nets.model import Model, solver
from dragon.models.nets.vgg import features

__all__ = ["MODELS", "fcn"]

CLASSES = 21  # of PASCAL VOC, with the background
_ZERO = {"type": "constant"}  # the scores start at 0


def fcn(stride: int) -> Body:
    """FCN-32s, 16s or 8s: the scores of pool5, and of pool4 and pool3 for the finer ones, enlarged to the image.

    The image is padded by 100 so that it may be small; what is too much is cropped again. The enlargements are bilinear
    and do not learn; each class has its own, so they are grouped convolutions.
    """
    b = features(Body(), pad=100)
    b.conv("fc6", 4096, 7, XAVIER).relu("relu6").dropout("drop6")
    b.conv("fc7", 4096, 1, XAVIER).relu("relu7").dropout("drop7")
    b.conv("score_fr", CLASSES, 1, _ZERO)
    if stride == 32:
        return _to_image(b, "upscore", 32, offset=19)
    _fuse(b, "upscore2", "pool4", offset=5)
    if stride == 16:
        return _to_image(b, "upscore16", 16, offset=27)
    _fuse(b, "upscore_pool4", "pool3", offset=9)
    return _to_image(b, "upscore8", 8, offset=31)


def _enlarge(b: Body, name: str, factor: int) -> Body:
    lr, b.lr = b.lr, (0,)
    b.deconv(name, CLASSES, 2 * factor, {"type": "bilinear"}, bias=False, stride=factor, group=CLASSES)
    b.lr = lr
    return b


def _fuse(b: Body, name: str, pool: str, offset: int) -> None:
    """Enlarge the scores by 2, and add those of the pooling `pool`, cropped to the same size."""
    coarse = _enlarge(b, name, 2).top
    b.at(pool).conv(f"score_{pool}", CLASSES, 1, _ZERO)
    b.join(f"score_{pool}c", "Crop", [b.top, coarse], crop_param={"axis": 2, "offset": [offset]})
    b.join(f"fuse_{pool}", "Eltwise", [coarse, b.top])


def _to_image(b: Body, name: str, factor: int, offset: int) -> Body:
    _enlarge(b, name, factor)
    return b.join("score", "Crop", [b.top, "data"], crop_param={"axis": 2, "offset": [offset]})


VOC = Maps("data/voc", (3, 500, 500), values=(104.00699, 116.66877, 122.67892))


def _model(stride: int, rate: float) -> Model:
    """An FCN with the published solver: the loss is a sum over pixels, hence the small rate and the large momentum."""
    settings = solver(
        100000, rate, momentum=0.99, weight_decay=5e-4, test_iter=[736], test_interval=4000, snapshot=4000, display=20
    )
    return Labelling(f"FCN-{stride}s on PASCAL VOC", VOC, lambda: fcn(stride), settings, ignore=255, summed=True)


MODELS: dict[str, Model] = {
    "fcn32s": _model(32, 1e-10), "fcn16s": _model(16, 1e-12), "fcn8s": _model(8, 1e-14)
}  # fmt: skip
