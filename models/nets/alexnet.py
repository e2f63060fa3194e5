"""AlexNet and the nets of its shape: CaffeNet, R-CNN's and Flickr Style's, with the names of BVLC's files."""

from __future__ import annotations

from dragon.models.nets.body import ACROSS, Body, gaussian
from dragon.models.nets.datasets import FLICKR_STYLE, ILSVRC13_WINDOWS, imagenet
from dragon.models.nets.model import Model, OneVersusAll, solver

__all__ = ["MODELS", "alexnet", "caffenet"]


def alexnet() -> Body:
    """AlexNet: local response normalisation before pooling."""
    b = Body(decays=(1, 0))
    b.conv("conv1", 96, 11, gaussian(0.01), stride=4).relu("relu1").lrn("norm1", **ACROSS).pool("pool1", "MAX")
    b.conv("conv2", 256, 5, gaussian(0.01), bias=0.1, pad=2, group=2).relu("relu2").lrn("norm2", **ACROSS)
    b.pool("pool2", "MAX")
    return _upper(b, 0.1).ip("fc8", 1000, gaussian(0.01))


def caffenet() -> Body:
    """CaffeNet up to `drop7`: pooling comes before normalisation, biases start from 1."""
    b = Body(decays=(1, 0))
    b.conv("conv1", 96, 11, gaussian(0.01), stride=4).relu("relu1").pool("pool1", "MAX").lrn("norm1", **ACROSS)
    b.conv("conv2", 256, 5, gaussian(0.01), bias=1.0, pad=2, group=2).relu("relu2").pool("pool2", "MAX")
    return _upper(b.lrn("norm2", **ACROSS), 1.0)


def _upper(b: Body, bias: float) -> Body:
    """conv3 to drop7; biases that are not zero start from `bias`."""
    b.conv("conv3", 384, 3, gaussian(0.01), pad=1).relu("relu3")
    b.conv("conv4", 384, 3, gaussian(0.01), bias=bias, pad=1, group=2).relu("relu4")
    b.conv("conv5", 256, 3, gaussian(0.01), bias=bias, pad=1, group=2).relu("relu5").pool("pool5", "MAX")
    for k in (6, 7):
        b.ip(f"fc{k}", 4096, gaussian(0.005), bias=bias).relu(f"relu{k}").dropout(f"drop{k}")
    return b


def _flickr_style() -> Body:
    b = caffenet()
    b.lr = (10, 20)
    return b.ip("fc8_flickr", 20, gaussian(0.01))


_BVLC = solver(
    450000, 0.01, lr_policy="step", stepsize=100000, gamma=0.1, weight_decay=5e-4, test_iter=[1000],
    test_interval=1000, snapshot=10000, display=20,
)  # fmt: skip
_FINE_TUNING = solver(
    100000, 0.001, lr_policy="step", stepsize=20000, gamma=0.1, weight_decay=5e-4, test_iter=[100],
    test_interval=1000, snapshot=10000, display=20,
)  # fmt: skip

MODELS: dict[str, Model] = {
    "alexnet": Model("AlexNet on ImageNet", imagenet(227, 256), alexnet, _BVLC),
    "caffenet": Model(
        "CaffeNet on ImageNet", imagenet(227, 256), lambda: caffenet().ip("fc8", 1000, gaussian(0.01)), _BVLC
    ),
    "rcnn_ilsvrc13": OneVersusAll(
        "R-CNN on windows of ILSVRC13", ILSVRC13_WINDOWS, lambda: caffenet().ip("fc-rcnn", 200, gaussian(0.01)),
        _FINE_TUNING,
    ),
    "flickr_style": Model("CaffeNet fine-tuned to Flickr Style", FLICKR_STYLE, _flickr_style, _FINE_TUNING),
}  # fmt: skip
