"""MTCNN (Zhang et al. 2016, arXiv 1604.02878): three nets that find faces, one after another."""

from __future__ import annotations

from dragon.models.nets.body import XAVIER, Body
from dragon.models.nets.maps import Fitted, Rows
from dragon.models.nets.model import Model, behind, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "onet", "pnet", "rnet"]


def pnet() -> Body:
    """The net that proposes windows of 12 x 12; it takes images of any size."""
    b = Body()
    b.conv("conv1", 10, 3, XAVIER).prelu("PReLU1").pool("pool1", "MAX", 2)
    b.conv("conv2", 16, 3, XAVIER).prelu("PReLU2").conv("conv3", 32, 3, XAVIER).prelu("PReLU3")
    last = b.top
    return b.conv("conv4-2", 4, 1, XAVIER).at(last).conv("conv4-1", 2, 1, XAVIER)


def rnet() -> Body:
    """The net that refines windows of 24 x 24."""
    b = Body()
    b.conv("conv1", 28, 3, XAVIER).prelu("prelu1").pool("pool1", "MAX")
    b.conv("conv2", 48, 3, XAVIER).prelu("prelu2").pool("pool2", "MAX")
    b.conv("conv3", 64, 2, XAVIER).prelu("prelu3").ip("conv4", 128, XAVIER).prelu("prelu4")
    last = b.top
    return b.ip("conv5-2", 4, XAVIER).at(last).ip("conv5-1", 2, XAVIER)


def onet() -> Body:
    """The net that gives faces of 48 x 48 and five points of each: eyes, nose and corners of the mouth."""
    b = Body()
    b.conv("conv1", 32, 3, XAVIER).prelu("prelu1").pool("pool1", "MAX")
    b.conv("conv2", 64, 3, XAVIER).prelu("prelu2").pool("pool2", "MAX")
    b.conv("conv3", 64, 3, XAVIER).prelu("prelu3").pool("pool3", "MAX", 2)
    b.conv("conv4", 128, 2, XAVIER).prelu("prelu4")
    b.ip("conv5", 256, XAVIER).dropout("drop5", 0.25).prelu("prelu5")
    last = b.top
    return b.ip("conv6-2", 4, XAVIER).at(last).ip("conv6-3", 10, XAVIER).at(last).ip("conv6-1", 2, XAVIER)


def _losses(top: str, points: bool) -> list[pb.LayerParameter]:
    """The losses of class, box and points. Samples without a box or points have weights of 0 for them."""
    prefix = top.removesuffix("-1")
    made = [behind("SoftmaxWithLoss", top, "label", name="class_loss", loss_param={"ignore_label": -1})]
    for what, blob, weight in (("box", f"{prefix}-2", 0.5), ("points", f"{prefix}-3", 1.0))[: 1 + points]:
        masked = {}
        for side, bottom in (("found", blob), ("wanted", what)):
            masked[side] = f"{what}_{side}"
            product = {"operation": "PROD"}
            made.append(behind("Eltwise", bottom, f"{what}_weight", name=masked[side], eltwise_param=product))
        made.append(behind("EuclideanLoss", masked["found"], masked["wanted"], name=f"{what}_loss", weight=weight))
    return made


def _prob(top: str) -> list[pb.LayerParameter]:
    return [behind("Softmax", top, name="prob1")]


def _rows(name: str, size: int, maps: bool, points: bool) -> Rows:
    """Windows with their class (1: a face, 0: none, -1: unknown), box and points. maps: shapes are those of maps."""
    ending = (1, 1) if maps else ()
    tops: dict[str, tuple[int, ...]] = {"data": (3, size, size), "label": (1, *ending) if maps else ()}
    for what, count in (("box", 4), ("points", 10))[: 1 + points]:
        tops |= {what: (count, *ending), f"{what}_weight": (count, *ending)}
    return Rows("data/mtcnn", name, tops, train=384)


_SOLVER = solver(100000, 0.01, (40000, 70000, 90000), weight_decay=5e-4, test_interval=1000, snapshot=10000)

MODELS: dict[str, Model] = {
    "mtcnn_pnet": Fitted(
        "The first net of MTCNN, which proposes windows", _rows("pnet", 12, True, False), pnet, _SOLVER,
        losses=lambda top: _losses(top, False), answers=_prob,
    ),
    "mtcnn_rnet": Fitted(
        "The second net of MTCNN, which refines windows", _rows("rnet", 24, False, False), rnet, _SOLVER,
        losses=lambda top: _losses(top, False), answers=_prob,
    ),
    "mtcnn_onet": Fitted(
        "The third net of MTCNN, which gives faces and points", _rows("onet", 48, False, True), onet, _SOLVER,
        losses=lambda top: _losses(top, True), answers=_prob,
    ),
}  # fmt: skip
