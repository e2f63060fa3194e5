"""DCGAN (Radford, Metz & Chintala 2015, arXiv 1511.06434): a net that draws images and one that judges them.

Each is trained by a solver of its own. The generator's training net holds the discriminator too, with a rate of 0 and
under the same layer names, so that it can share the weights of the one that learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dragon.models.nets.body import SPLIT, Body, gaussian
from dragon.models.nets.maps import Fitted
from dragon.models.nets.model import Model, Source, behind, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "Noise", "Shown", "discriminator", "generator"]

_START = gaussian(0.02)
_NOISE, _BATCH = 100, 64


def generator(width: int = 64) -> Body:
    """From noise (N, 100, 1, 1) to images (N, 3, 64, 64) with values of -1 to 1."""
    b = Body(SPLIT, lr=(1, 1))
    b.deconv("g_deconv1", 8 * width, 4, _START).bn("g_bn1").relu("g_relu1")
    for k in (2, 3, 4):
        b.deconv(f"g_deconv{k}", (16 * width) >> k, 4, _START, stride=2, pad=1)
        b.bn(f"g_bn{k}").relu(f"g_relu{k}")
    b.deconv("g_deconv5", 3, 4, _START, stride=2, pad=1)
    return b.add("g_tanh", "TanH", in_place=True)


def discriminator(b: Body, width: int = 64) -> Body:
    """From images to a logit (N, 1, 1, 1), large for real ones."""
    leak: dict[str, Any] = {"negative_slope": 0.2}
    b.conv("d_conv1", width, 4, _START, stride=2, pad=1).add("d_relu1", "ReLU", in_place=True, relu_param=leak)
    for k in (2, 3, 4):
        b.conv(f"d_conv{k}", width << k - 1, 4, _START, stride=2, pad=1).bn(f"d_bn{k}")
        b.add(f"d_relu{k}", "ReLU", in_place=True, relu_param=leak)
    return b.conv("d_conv5", 1, 4, _START)


class Noise(Source):
    """Noise of a normal distribution, drawn anew for each batch, and the label 1."""

    shape = (_NOISE, 1, 1)
    train = _BATCH

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """Nothing: no files are read."""
        return {}

    def layers(self) -> list[pb.LayerParameter]:
        """A DummyData layer."""
        settings = {
            "shape": [{"dim": (_BATCH, *self.shape)}, {"dim": (_BATCH, 1, 1, 1)}],
            "data_filler": [gaussian(1), {"type": "constant", "value": 1}],
        }
        return [pb.LayerParameter(name="noise", type="DummyData", top=["data", "label"], dummy_data_param=settings)]


class Shown(Source):
    """Images, real ones and drawn ones, that a script puts into `data`, and their labels, 1 and 0."""

    shape = (3, 64, 64)
    train = _BATCH

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """Nothing: no files are read."""
        return {}

    def layers(self) -> list[pb.LayerParameter]:
        """An Input layer."""
        shapes = [{"dim": (_BATCH, *self.shape)}, {"dim": (_BATCH, 1, 1, 1)}]
        return [pb.LayerParameter(name="data", type="Input", top=["data", "label"], input_param={"shape": shapes})]


def _judged(top: str) -> list[pb.LayerParameter]:
    """The discriminator behind the generator, with a rate of 0: what is learned is to be taken for real."""
    judge = discriminator(Body(SPLIT, lr=(0, 0), top=top))
    for layer in judge.layers:
        if layer.type == "Scale":
            layer.param.extend([pb.ParamSpec(lr_mult=0), pb.ParamSpec(lr_mult=0)])
    return [*judge.layers, behind("SigmoidCrossEntropyLoss", judge.top, "label")]


_ADAM = solver(
    100000, 2e-4, type="Adam", momentum=0.5, momentum2=0.999, weight_decay=0, test_iter=[1], test_interval=1000
)

MODELS: dict[str, Model] = {
    "dcgan_generator": Fitted("The generator of DCGAN", Noise(), generator, _ADAM, losses=_judged),
    "dcgan_discriminator": Fitted(
        "The discriminator of DCGAN", Shown(), lambda: discriminator(Body(SPLIT, lr=(1, 1))), _ADAM,
        losses=lambda top: [behind("SigmoidCrossEntropyLoss", top, "label")],
        answers=lambda top: [behind("Sigmoid", top, name="prob")],
    ),
}  # fmt: skip
