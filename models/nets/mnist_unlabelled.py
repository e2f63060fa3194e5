"""The nets for MNIST that learn no classes, as Caffe's examples have them: an autoencoder, and a pair of equal nets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dragon.models.nets.body import XAVIER, Body
from dragon.models.nets.maps import Fitted
from dragon.models.nets.model import Data, Model, behind, solver
from dragon.proto import dragon_pb2 as pb

__all__ = ["MODELS", "autoencoder", "siamese"]


@dataclass(frozen=True)
class _Unlabelled(Data):
    """Images alone."""

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        return {"data": (batch, *self.shape)}

    def layers(self) -> list[pb.LayerParameter]:
        made = super().layers()
        for layer in made:
            del layer.top[1:]
        return made


@dataclass(frozen=True)
class _Pairs(Data):
    """Two images as the channels of one, and whether they are of one class."""

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        return {"pair_data": (batch, *self.shape), "sim": (batch,)}

    def layers(self) -> list[pb.LayerParameter]:
        made = super().layers()
        for layer in made:
            layer.top[:] = ["pair_data", "sim"]
        return made


def autoencoder() -> Body:
    """Layers of 1000, 500, 250 and 30 sigmoids, and back (Hinton & Salakhutdinov 2006); the 30 are linear."""
    b = Body(lr=(1, 1), decays=(1, 0)).add("flatdata", "Flatten")
    noise = {"type": "gaussian", "std": 1.0, "sparse": 15}
    sizes = {"encode1": 1000, "encode2": 500, "encode3": 250, "encode4": 30}
    for name, n in (*sizes.items(), ("decode4", 250), ("decode3", 500), ("decode2", 1000), ("decode1", 28 * 28)):
        b.ip(name, n, noise)
        if name != "encode4":
            b.add(f"{name}neuron", "Sigmoid")
    return b


def _reconstruction(top: str) -> list[pb.LayerParameter]:
    """The cross entropy, which is learned, and the squared distance, which is shown."""
    return [
        behind("SigmoidCrossEntropyLoss", "decode1", "flatdata", name="cross_entropy_loss"),
        behind("EuclideanLoss", top, "flatdata", name="l2_error", weight=0),
    ]


def siamese() -> Body:
    """LeNet with two outputs, `feat`, and in training a second one, with the same weights, for the other image."""
    b = Body(top="pair_data")
    with b.only_training():
        b.slice("slice_pair", ("data", "data_p"), 1)
    _features(b.at("data"), "")
    with b.only_training():
        _features(b.at("data_p"), "_p")
    return b


def _features(b: Body, suffix: str) -> None:
    first = len(b.layers)
    b.conv(f"conv1{suffix}", 20, 5, XAVIER).pool(f"pool1{suffix}", "MAX", 2)
    b.conv(f"conv2{suffix}", 50, 5, XAVIER).pool(f"pool2{suffix}", "MAX", 2)
    b.ip(f"ip1{suffix}", 500, XAVIER).relu(f"relu1{suffix}").ip(f"ip2{suffix}", 10, XAVIER).ip(
        f"feat{suffix}", 2, XAVIER
    )
    for layer in b.layers[first:]:
        for spec, what in zip(layer.param, ("w", "b"), strict=False):
            spec.name = f"{layer.name.removesuffix(suffix)}_{what}"


def _contrast(top: str) -> list[pb.LayerParameter]:
    return [behind("ContrastiveLoss", top, f"{top}_p", "sim", contrastive_loss_param={"margin": 1})]


MODELS: dict[str, Model] = {
    "mnist_autoencoder": Fitted(
        "Autoencoder on MNIST",
        _Unlabelled("data/mnist", "mnist", (1, 28, 28), mean=False, scale=1 / 255),
        autoencoder,
        solver(65000, 0.01, lr_policy="step", gamma=0.1, stepsize=10000, weight_decay=5e-4, test_interval=5000,
               snapshot=10000),
        losses=_reconstruction,
    ),
    "mnist_siamese": Fitted(
        "Siamese net on pairs of MNIST",
        _Pairs("data/mnist", "mnist_siamese", (2, 28, 28), train=64, mean=False, scale=1 / 256),
        siamese,
        solver(50000, 0.01, lr_policy="inv", gamma=1e-4, power=0.75, weight_decay=0, snapshot=5000),
        losses=_contrast,
        inputs={"data": (1, 1, 28, 28)},
    ),
}  # fmt: skip
