"""ENet, a small net that labels each pixel of street scenes (Paszke et al. 2016, arXiv 1606.02147)."""

from __future__ import annotations

from typing import Any

from dragon.models.nets.body import MSRA, SPLIT, Body
from dragon.models.nets.maps import Labelling, Maps
from dragon.models.nets.model import Model, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "enet"]

_ROW = ("regular", "dilated 2", "asymmetric", "dilated 4", "regular", "dilated 8", "asymmetric", "dilated 16")


def enet(classes: int = 19) -> Body:
    """ENet with the layers and names of its Caffe version.

    It differs from the paper in two ways: where the maps get smaller, a 1x1 convolution takes the place of channels of
    zeros in the main branch, and the two convolutions of an asymmetric one pad both axes by 1 each.
    """
    b = Body(SPLIT, lr=None)
    b.conv("conv0_1", 13, 3, MSRA, bias=True, pad=1, stride=2).at("data").pool("pool0_1", "MAX", 2)
    b.join("concat0_1", "Concat", ["conv0_1", "pool0_1"]).bn("bn0_1").prelu("prelu0_1")
    _bottleneck(b, "1_0", 64, "down")
    for k in range(1, 5):
        _bottleneck(b, f"1_{k}", 64, "regular")
    _bottleneck(b, "2_0", 128, "down")
    for stage in (2, 3):
        for k, kind in enumerate(_ROW, 1):
            _bottleneck(b, f"{stage}_{k}", 128, kind)
    for name, width, kind in (
        ("4_0", 64, "up"), ("4_1", 64, "regular"), ("4_2", 64, "regular"), ("5_0", 16, "up"), ("5_1", 16, "regular"),
    ):  # fmt: skip
        _bottleneck(b, name, width, kind, decoder=True)
    return b.deconv("deconv6_0_0", classes, 2, MSRA, bias=True, stride=2)


def _bottleneck(b: Body, name: str, width: int, kind: str, decoder: bool = False) -> None:
    """A narrow branch of three convolutions beside the main one; the decoder has ReLU in place of PReLU."""
    inner, start = width // 4, b.top
    activate = b.relu if decoder else b.prelu
    first, stride = (2, 2) if kind == "down" else (1, 1)
    b.conv(f"conv{name}_0", inner, first, MSRA, stride=stride).bn(f"bn{name}_0")
    activate(f"prelu{name}_0")
    _middle(b, name, inner, kind)
    activate(f"prelu{name}_1")
    b.conv(f"conv{name}_2", width, 1, MSRA).bn(f"bn{name}_2")
    _spatial_dropout(b, f"drop{name}_3", f"conv{name}_2", 0.01 if name.startswith("1_") else 0.1)
    branch = b.top
    b.at(start)
    if kind == "down":
        b.pool_with_mask(f"pool{name}_4")
    if kind in ("down", "up"):
        b.conv(f"conv{name}_4", width, 1, MSRA).bn(f"bn{name}_4")
    if kind == "up":
        mask = {"4_0": "pool2_0_4_mask", "5_0": "pool1_0_4_mask"}[name]
        b.join(f"upsample{name}_4", "Upsample", [b.top, mask], upsample_param={"scale": 2})
    b.join(f"eltwise{name}_4", "Eltwise", [branch, b.top])
    activate(f"prelu{name}_4")


def _middle(b: Body, name: str, inner: int, kind: str) -> None:
    """The convolution in the middle of a bottleneck, with BN."""
    if kind == "asymmetric":
        b.conv(f"conv{name}_1_a", inner, (5, 1), MSRA, pad=1).conv(f"conv{name}_1", inner, (1, 5), MSRA, True, pad=1)
    elif kind == "up":
        b.deconv(f"deconv{name}_1", inner, 2, MSRA, bias=True, stride=2)
    else:
        reach = int(kind.split()[1]) if kind.startswith("dilated") else 1
        geometry: dict[str, Any] = {"pad": reach} | ({"dilation": reach} if reach > 1 else {})
        b.conv(f"conv{name}_1", inner, 3, MSRA, bias=True, **geometry)
    b.bn(f"bn{name}_1")


def _spatial_dropout(b: Body, name: str, like: str, ratio: float) -> None:
    """Drop whole maps in training: the branch is multiplied by a dropout of ones, (N, C).

    like: a blob of the branch's shape, of which only that counts.
    """
    train: list[dict[str, Any]] = [{"phase": pb.TRAIN}]
    branch, mask = b.top, f"{name}_mask"
    with b.only_training():
        zeros = {"axis": 2, "coeff": 0}  # sums over each map, times 0: for batches of any size
        b.at(like).add(mask, "Reduction", include=train, propagate_down=[False], reduction_param=zeros)
        b.add(f"{name}_ones", "Power", in_place=True, include=train, power_param={"shift": 1})
        b.add(f"{name}_drop", "Dropout", in_place=True, include=train, dropout_param={"dropout_ratio": ratio})
        b.join(name, "Scale", [branch, mask], branch, include=train, scale_param={"axis": 0})


CITYSCAPES = Maps("data/cityscapes", (3, 512, 1024), train=4, test=1)

MODELS: dict[str, Model] = {
    "enet": Labelling(
        "ENet on Cityscapes", CITYSCAPES, enet,
        solver(
            75000, 5e-4, (25000, 50000), type="Adam", momentum2=0.999, weight_decay=2e-4, test_iter=[500],
            test_interval=1000, display=20,
        ),
        ignore=255,
    ),
}  # fmt: skip
