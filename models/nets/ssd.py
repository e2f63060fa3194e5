"""Single-shot detectors (Liu et al. 2015, arXiv 1512.02325): SSD300 from VGG-16, and from MobileNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dragon.models.nets.body import MSRA, SPLIT, XAVIER, Body, same
from dragon.models.nets.model import Deployed
from dragon.models.nets.vgg import features

__all__ = ["MODELS", "Boxes", "heads", "mobilenet_ssd", "ssd300_vgg"]

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


def heads(b: Body, sources: Sequence[tuple[str, str, Boxes]], kernel: int, **output: Any) -> Body:
    """Predict offsets and classes of the boxes at each source, and end with DetectionOutput.

    sources: name, top and boxes of each feature map. kernel: of the convolutions. output: settings of DetectionOutput.
    """
    for source, top, boxes in sources:
        for kind, values in (("loc", 4), ("conf", CLASSES)):
            name = f"{source}_mbox_{kind}"
            b.at(top).conv(name, boxes.count * values, kernel, XAVIER, bias=True, pad=kernel // 2)
            b.add(f"{name}_perm", "Permute", permute_param={"order": [0, 2, 3, 1]})
            b.add(f"{name}_flat", "Flatten", flatten_param={"axis": 1})
        b.join(f"{source}_mbox_priorbox", "PriorBox", [top, "data"], prior_box_param=boxes.settings())
    for kind, ending, axis in (("loc", "_flat", 1), ("conf", "_flat", 1), ("priorbox", "", 2)):
        found = [f"{source}_mbox_{kind}{ending}" for source, *_ in sources]
        b.join(f"mbox_{kind}", "Concat", found, concat_param={"axis": axis})
    b.at("mbox_conf").add("mbox_conf_reshape", "Reshape", reshape_param={"shape": {"dim": [0, -1, CLASSES]}})
    b.add("mbox_conf_softmax", "Softmax", softmax_param={"axis": 2})
    b.add("mbox_conf_flatten", "Flatten", flatten_param={"axis": 1})
    settings: dict[str, Any] = {"num_classes": CLASSES, "share_location": True, "background_label_id": 0}
    settings |= {"code_type": "CENTER_SIZE"} | output
    bottoms = ["mbox_loc", "mbox_conf_flatten", "mbox_priorbox"]
    return b.join("detection_out", "DetectionOutput", bottoms, detection_output_param=settings)


def ssd300_vgg() -> Body:
    """SSD300 with VGG-16, for the 20 classes of PASCAL VOC: 8732 boxes."""
    b = features(Body(), last_pool=False)
    b.add("pool5", "Pooling", pooling_param={"pool": "MAX", "kernel_size": 3, "stride": 1, "pad": 1})
    b.conv("fc6", 1024, 3, XAVIER, pad=6, dilation=6).relu("relu6").conv("fc7", 1024, 1, XAVIER).relu("relu7")
    halved: dict[str, Any] = {"pad": 1, "stride": 2}
    extra: list[tuple[int, int, dict[str, Any]]] = [(256, 512, halved), (128, 256, halved), *[(128, 256, {})] * 2]
    for k, (narrow, wide, geometry) in enumerate(extra, 6):
        b.conv(f"conv{k}_1", narrow, 1, XAVIER).relu(f"conv{k}_1_relu")
        b.conv(f"conv{k}_2", wide, 3, XAVIER, **geometry).relu(f"conv{k}_2_relu")
    norm: dict[str, Any] = {"across_spatial": False, "channel_shared": False}
    norm["scale_filler"] = {"type": "constant", "value": 20}
    b.join("conv4_3_norm", "Normalize", ["conv4_3"], norm_param=norm)
    sources = [
        ("conv4_3_norm", Boxes(30, 60, (2,), 8)), ("fc7", Boxes(60, 111, (2, 3), 16)),
        ("conv6_2", Boxes(111, 162, (2, 3), 32)), ("conv7_2", Boxes(162, 213, (2, 3), 64)),
        ("conv8_2", Boxes(213, 264, (2,), 100)), ("conv9_2", Boxes(264, 315, (2,), 300)),
    ]  # fmt: skip
    nms = {"nms_threshold": 0.45, "top_k": 400}
    return heads(
        b, [(top, top, boxes) for top, boxes in sources], 3, nms_param=nms, keep_top_k=200, confidence_threshold=0.01
    )


def mobilenet_ssd() -> Body:
    """SSD from MobileNet for the 20 classes of PASCAL VOC, with the layer names of its public Caffe net: 1917 boxes."""
    b = Body(SPLIT)
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
    nms = {"nms_threshold": 0.45, "top_k": 100}
    return heads(b, sources, 1, nms_param=nms, keep_top_k=100, confidence_threshold=0.25)


def _block(b: Body, name: str, width: int, kernel: int, **geometry: Any) -> None:
    b.conv(name, width, kernel, MSRA, **same(kernel), **geometry).bn(f"{name}/bn").relu(f"{name}/relu")


_IMAGE = {"data": (1, 3, 300, 300)}
MODELS: dict[str, Deployed] = {
    "ssd300_vgg": Deployed("SSD300 with VGG-16 on PASCAL VOC", _IMAGE, ssd300_vgg),
    "mobilenet_ssd": Deployed("SSD with MobileNet on PASCAL VOC", _IMAGE, mobilenet_ssd),
}
