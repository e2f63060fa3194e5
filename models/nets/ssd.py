"""Single-shot detectors (Liu et al. 2015, arXiv 1512.02325) from VGG-16 and MobileNet, and a small one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dragon.models.nets.body import MERGED, MSRA, SPLIT, XAVIER, Body, same
from dragon.models.nets.detection import SSD_WINDOWS, Boxed, Detecting
from dragon.models.nets.model import solver
from dragon.models.nets.vgg import features

__all__ = [
    "MODELS",
    "SSD_SOLVER",
    "VOC",
    "Boxes",
    "heads",
    "mobilenet_ssd",
    "ssd300_vgg",
    "ssd512_vgg",
    "ssd_shapes",
]

CLASSES = 21  # of PASCAL VOC, with the background


@dataclass(frozen=True)
class Boxes:
    """The default boxes at one feature map: the sizes of the squares in pixels, and the other aspect ratios."""

    small: float
    large: float | None
    ratios: tuple[float, ...]
    step: float | None = None

    @property
    def count(self) -> int:
        """How many boxes each position has."""
        return 1 + (self.large is not None) + 2 * len(self.ratios)

    def settings(self) -> dict[str, Any]:
        """The settings of the PriorBox layer."""
        found: dict[str, Any] = {"min_size": [self.small], "aspect_ratio": self.ratios, "flip": True, "clip": False}
        found |= {"variance": [0.1, 0.1, 0.2, 0.2], "offset": 0.5}
        found |= {} if self.large is None else {"max_size": [self.large]}
        return found | ({} if self.step is None else {"step": self.step})


def heads(
    b: Body,
    sources: Sequence[tuple[str, str, Boxes]],
    kernel: int,
    classes: int = CLASSES,
    prefix: str = "mbox",
    priors: bool = True,
) -> Body:
    """Predict offsets and classes of the boxes at each source; the tops mbox_loc, mbox_conf and mbox_priorbox.

    sources: name, top and boxes of each feature map. kernel: of the convolutions. prefix: of the tops. priors: whether
    the default boxes are made too.
    """
    kinds = [("loc", "_flat", 1), ("conf", "_flat", 1), *[("priorbox", "", 2)] * priors]
    for source, top, boxes in sources:
        for kind, values in (("loc", 4), ("conf", classes)):
            name = f"{source}_mbox_{kind}"
            b.at(top).conv(name, boxes.count * values, kernel, XAVIER, bias=True, pad=kernel // 2)
            b.add(f"{name}_perm", "Permute", permute_param={"order": [0, 2, 3, 1]})
            b.add(f"{name}_flat", "Flatten", flatten_param={"axis": 1})
        if priors:
            b.join(f"{source}_mbox_priorbox", "PriorBox", [top, "data"], prior_box_param=boxes.settings())
    for kind, ending, axis in kinds:
        found = [f"{source}_mbox_{kind}{ending}" for source, *_ in sources]
        b.join(f"{prefix}_{kind}", "Concat", found, concat_param={"axis": axis})
    return b


_VGG_FEATURES = ("conv4_3_norm", "fc7", "conv6_2", "conv7_2", "conv8_2", "conv9_2", "conv10_2")
_BOXES_300 = (
    Boxes(30, 60, (2,), 8), Boxes(60, 111, (2, 3), 16), Boxes(111, 162, (2, 3), 32), Boxes(162, 213, (2, 3), 64),
    Boxes(213, 264, (2,), 100), Boxes(264, 315, (2,), 300),
)  # fmt: skip
_BOXES_512 = (
    Boxes(35.84, 76.8, (2,), 8), Boxes(76.8, 153.6, (2, 3), 16), Boxes(153.6, 230.4, (2, 3), 32),
    Boxes(230.4, 307.2, (2, 3), 64), Boxes(307.2, 384, (2, 3), 128), Boxes(384, 460.8, (2,), 256),
    Boxes(460.8, 537.6, (2,), 512),
)  # fmt: skip


def _vgg(extra: Sequence[tuple[int, int, int, dict[str, Any]]], boxes: Sequence[Boxes]) -> Body:
    """VGG-16 without its classifier, further convolutions, and the heads.

    extra: widths of the first and the second convolution of each, kernel and geometry of the second.
    """
    b = features(Body(), last_pool=False)
    b.add("pool5", "Pooling", pooling_param={"pool": "MAX", "kernel_size": 3, "stride": 1, "pad": 1})
    b.conv("fc6", 1024, 3, XAVIER, pad=6, dilation=6).relu("relu6").conv("fc7", 1024, 1, XAVIER).relu("relu7")
    for k, (narrow, wide, kernel, geometry) in enumerate(extra, 6):
        b.conv(f"conv{k}_1", narrow, 1, XAVIER).relu(f"conv{k}_1_relu")
        b.conv(f"conv{k}_2", wide, kernel, XAVIER, **geometry).relu(f"conv{k}_2_relu")
    norm: dict[str, Any] = {"across_spatial": False, "channel_shared": False}
    norm["scale_filler"] = {"type": "constant", "value": 20}
    b.join("conv4_3_norm", "Normalize", ["conv4_3"], norm_param=norm)
    return heads(b, [(top, top, box) for top, box in zip(_VGG_FEATURES, boxes, strict=False)], 3)


_HALVED: dict[str, Any] = {"pad": 1, "stride": 2}


def ssd300_vgg() -> Body:
    """SSD300 with VGG-16, for the 20 classes of PASCAL VOC: 8732 boxes."""
    return _vgg([(256, 512, 3, _HALVED), (128, 256, 3, _HALVED), *[(128, 256, 3, {})] * 2], _BOXES_300)


def ssd512_vgg() -> Body:
    """SSD512 with VGG-16, for the 20 classes of PASCAL VOC: 24564 boxes."""
    smaller = [(128, 256, 3, _HALVED)] * 3
    return _vgg([(256, 512, 3, _HALVED), *smaller, (128, 256, 4, {"pad": 1})], _BOXES_512)


def mobilenet_ssd() -> Body:
    """SSD from MobileNet for the 20 classes of PASCAL VOC, with the layer names of its public Caffe net: 1917 boxes."""
    b = Body(SPLIT, lr=(0.1, 0.2))  # training begins from weights for other classes
    _block(b, "conv0", 32, 3, stride=2)
    widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    width = 32
    for k, out in enumerate(widths, 1):
        _block(b, f"conv{k}/dw", width, 3, stride=2 if k in (2, 4, 6, 12) else 1, group=width)
        _block(b, f"conv{k}", out, 1)
        width = out
    for k, (narrow, wide) in enumerate(((256, 512), (128, 256), (128, 256), (64, 128)), 14):
        _block(b, f"conv{k}_1", narrow, 1)
        _block(b, f"conv{k}_2", wide, 3, stride=2)
    sizes = ((105, 150), (150, 195), (195, 240), (240, 285), (285, 300))
    tops = ("conv13", "conv14_2", "conv15_2", "conv16_2", "conv17_2")
    sources = [("conv11", "conv11/bn", Boxes(60, None, (2,)))]
    sources += [(top, f"{top}/bn", Boxes(*size, (2, 3))) for top, size in zip(tops, sizes, strict=True)]
    heads(b, sources, 1)
    for layer in b.layers:
        if layer.name.endswith("_mbox_conf"):
            layer.param[0].lr_mult, layer.param[1].lr_mult = 1, 2
    return b


def ssd_shapes() -> Body:
    """A small detector for the five kinds of drawn shapes, which a CPU trains in half an hour: 3,024 boxes."""
    b = Body(MERGED)
    _block(b, "conv1", 16, 3, stride=2)
    _block(b, "conv2", 32, 3)
    b.pool("pool2", "MAX", 2)
    _block(b, "conv3", 64, 3)
    _block(b, "conv4", 64, 3)
    b.pool("pool4", "MAX", 2)
    _block(b, "conv5", 96, 3)
    _block(b, "conv6", 96, 3)
    _block(b, "conv7", 128, 3, stride=2)
    _block(b, "conv8", 128, 3)
    sources = [("conv4", Boxes(12, 24, (2,))), ("conv6", Boxes(24, 42, (2,))), ("conv8", Boxes(42, 62, (2,)))]
    return heads(b, [(name, f"{name}/bn", boxes) for name, boxes in sources], 3, classes=6)


def _block(b: Body, name: str, width: int, kernel: int, **geometry: Any) -> None:
    b.conv(name, width, kernel, MSRA, **same(kernel), **geometry).bn(f"{name}/bn").relu(f"{name}/relu")


VOC = Boxed("data/VOC0712", "VOC0712", 300, train=32, test=8, labels="labelmap_voc.prototxt")
_VOC_512 = replace(VOC, side=512)
_VOC_MOBILE = replace(VOC, train=24, values=(127.5,) * 3, scale=0.007843)
_SHAPES = Boxed("data/shapes", "shapes", 96, train=32, test=5, scale=1 / 64, windows=SSD_WINDOWS[:1], expand=1)
_AVERAGED: dict[str, Any] = {"average_loss": 10, "test_initialization": False, "eval_type": "detection"}
_AVERAGED |= {"ap_version": "11point", "test_iter": [619], "test_interval": 10000, "display": 10}
# as the authors train with batches of 32
SSD_SOLVER = solver(120000, 1e-3, (80000, 100000), weight_decay=0.0005, **(_AVERAGED | {"snapshot": 80000}))
_MOBILE = solver(
    120000, 5e-4, (20000, 40000), type="RMSProp", momentum=0, weight_decay=0.00005, **(_AVERAGED | {"snapshot": 1000})
)
_MOBILE.gamma = 0.5
_QUICK: dict[str, Any] = _AVERAGED | {"test_iter": [100], "test_interval": 500, "display": 50, "lr_policy": "cosine"}
_SHAPES_SOLVER = solver(3000, 0.02, weight_decay=0.0005, warmup_iter=100, **_QUICK)


def _output(top_k: int, keep: int, least: float) -> dict[str, Any]:
    """The settings of DetectionOutput: boxes of a class that are compared, of an image that are left, least score."""
    nms = {"nms_threshold": 0.45, "top_k": top_k}
    return {"nms_param": nms, "keep_top_k": keep, "confidence_threshold": least}


_TESTED = _output(400, 200, 0.01)
MODELS: dict[str, Detecting] = {
    "ssd300_vgg": Detecting("SSD300 with VGG-16 on PASCAL VOC", VOC, ssd300_vgg, SSD_SOLVER, output=_TESTED),
    "ssd512_vgg": Detecting("SSD512 with VGG-16 on PASCAL VOC", _VOC_512, ssd512_vgg, SSD_SOLVER, output=_TESTED),
    "mobilenet_ssd": Detecting(
        "SSD with MobileNet on PASCAL VOC", _VOC_MOBILE, mobilenet_ssd, _MOBILE, output=_TESTED,
        deployed=_output(100, 100, 0.25),
    ),
    "ssd_shapes": Detecting(
        "A small SSD on drawn shapes", _SHAPES, ssd_shapes, _SHAPES_SOLVER, classes=6, output=_TESTED,
        deployed=_output(100, 50, 0.25),
    ),
}  # fmt: skip
