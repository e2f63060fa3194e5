"""HED, which finds edges."""

from __future__ import annotations

from dragon.models.nets.body import Body
from dragon.models.nets.maps import Fitted, Maps
from dragon.models.nets.model import Model, behind, solver
from dragon.models.nets.vgg import STAGES, features
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "hed"]

_ZERO = {"type": "constant"}
_SIDES = range(1, 6)


def hed() -> Body:
    """Holistically-nested edge detection (Xie & Tu 2015, arXiv 1504.06375): each stage of VGG-16 draws edges.

    Five maps of logits, upscore-dsn1 to upscore-dsn5, and their weighted sum, new-score-weighting. The enlargements are
    bilinear and do not learn. The image is padded by 35, and the maps are cropped where they show the image.
    """
    b = features(Body(), pad=35, last_pool=False)
    for layer in b.layers:
        if layer.name.startswith("conv5"):
            for spec, rate in zip(layer.param, (100, 200), strict=True):
                spec.lr_mult = rate
    for k in _SIDES:
        b.at(f"conv{k}_{STAGES[16][k - 1][1]}")
        b.lr = (0.01, 0.02)
        b.conv(f"score-dsn{k}", 1, 1, _ZERO)
        factor = 1 << k - 1
        if k > 1:
            b.lr = (0, 0)
            b.deconv(f"upsample_{factor}", 1, 2 * factor, {"type": "bilinear"}, stride=factor)
        # a stage's first pixel shows what lies factor / 2 - 1/2 to the right of the image's padding of 34
        crop = {"axis": 2, "offset": [34 + factor // 2]}
        b.join(f"crop-dsn{k}", "Crop", [b.top, "data"], f"upscore-dsn{k}", crop_param=crop)
    b.join("concat", "Concat", [f"upscore-dsn{k}" for k in _SIDES], "concat-upscore")
    b.lr = (0.001, 0.002)
    b.conv("new-score-weighting", 1, 1, {"type": "constant", "value": 0.2})
    return b


def _maps() -> list[tuple[str, str]]:
    """The names of the maps and their blobs."""
    return [*((f"dsn{k}", f"upscore-dsn{k}") for k in _SIDES), ("fuse", "new-score-weighting")]


def _losses(top: str) -> list[pb.LayerParameter]:
    """A loss for each map. The labels are images of the edges, 255 for an edge: they are scaled to 1."""
    scaled = behind("Power", "label", name="edges", power_param={"scale": 1 / 255})
    losses = [behind("SigmoidCrossEntropyLoss", blob, "edges", name=f"{name}_loss") for name, blob in _maps()]
    return [scaled, *losses]


def _answers(top: str) -> list[pb.LayerParameter]:
    return [behind("Sigmoid", blob, name=f"sigmoid-{name}") for name, blob in _maps()]


BSDS = Maps("data/bsds", (3, 500, 500), values=(104.00699, 116.66877, 122.67892))

MODELS: dict[str, Model] = {
    "hed": Fitted(
        "HED, which finds edges", BSDS, hed,
        solver(
            30000, 1e-6, (10000, 20000), weight_decay=2e-4, iter_size=10, test_iter=[200], test_interval=1000,
            display=20,
        ),
        losses=_losses, answers=_answers,
    ),
}  # fmt: skip
