"""Nets that sharpen images: SRCNN, FSRCNN and VDSR. They learn from pairs of patches in HDF5 files."""

from __future__ import annotations

from dragon.models.nets.body import MSRA, Body, gaussian
from dragon.models.nets.maps import Fitted, Rows
from dragon.models.nets.model import LONG, Model, behind, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "fsrcnn", "srcnn", "vdsr"]


def srcnn() -> Body:
    """SRCNN, of 9, 1 and 5 pixels (Dong et al. 2014, arXiv 1501.00092); nothing is padded."""
    b = Body(lr=(1, 0.1))
    b.conv("conv1", 64, 9, gaussian(0.001)).relu("relu1").conv("conv2", 32, 1, gaussian(0.001)).relu("relu2")
    b.lr = (0.1, 0.1)
    return b.conv("conv3", 1, 5, gaussian(0.001))


def fsrcnn(scale: int = 3, features: int = 56, shrunk: int = 12, mappings: int = 4) -> Body:
    """FSRCNN (Dong et al. 2016, arXiv 1608.00367), which reads the small image; its last layer enlarges."""
    b = Body(lr=(1, 0.1))
    b.conv("conv1", features, 5, gaussian(0.0378)).prelu("relu1")
    b.conv("conv2", shrunk, 1, gaussian(0.3536)).prelu("relu2")
    for k in range(3, 3 + mappings):
        b.conv(f"conv{k}", shrunk, 3, gaussian(0.1179), pad=1).prelu(f"relu{k}")
    last = 3 + mappings
    b.conv(f"conv{last}", features, 1, gaussian(0.189)).prelu(f"relu{last}")
    b.lr = (0.1, 0.1)
    return b.deconv(f"conv{last + 1}", 1, 9, gaussian(0.001), stride=scale, pad=4)


def vdsr(depth: int = 20) -> Body:
    """VDSR (Kim, Lee & Lee 2016, arXiv 1511.04587): what 20 convolutions make is added to the image."""
    b = Body(lr=(1, 1))
    for k in range(1, depth):
        b.conv(f"conv{k}", 64, 3, MSRA, pad=1).relu(f"relu{k}")
    b.conv(f"conv{depth}", 1, 3, MSRA, pad=1)
    return b.join("sum", "Eltwise", ["data", b.top])


def _euclidean(top: str) -> list[pb.LayerParameter]:
    return [behind("EuclideanLoss", top, "label")]


_SRCNN = Rows("data/srcnn", "srcnn", {"data": (1, 33, 33), "label": (1, 21, 21)}, train=128)
_FSRCNN = Rows("data/fsrcnn", "fsrcnn", {"data": (1, 11, 11), "label": (1, 19, 19)}, train=128)
_VDSR = Rows("data/vdsr", "vdsr", {"data": (1, 41, 41), "label": (1, 41, 41)}, train=64)

MODELS: dict[str, Model] = {
    "srcnn": Fitted(
        "SRCNN, which sharpens enlarged images", _SRCNN, srcnn,
        solver(15000000, 1e-4, weight_decay=0, **LONG | {"test_iter": [556]}), losses=_euclidean,
    ),
    "fsrcnn": Fitted(
        "FSRCNN, which enlarges images threefold", _FSRCNN, fsrcnn,
        solver(1000000, 1e-3, weight_decay=0, **LONG | {"test_iter": [556]}), losses=_euclidean,
    ),
    "vdsr": Fitted(
        "VDSR, which sharpens enlarged images", _VDSR, vdsr,
        solver(
            230000, 0.1, (57000, 115000, 172000), weight_decay=1e-4, clip_gradients=0.1, **LONG | {"test_iter": [100]}
        ),
        losses=_euclidean,
    ),
}  # fmt: skip
