"""Writes the prototxt files of the zoo: `python models/generate.py [FOLDER]`.

One description per net gives train_val and deploy, so that the two cannot disagree. Nets that are meant to be
compared use the same layer names, and with them the same weights for the same seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dragon.files.atomic import write_atomically
from dragon.models.body import DRAGON_2016, MERGED, PLAIN, SPLIT, Body
from dragon.models.cifar10_nets import full, full_sigmoid, quick, resnet, vgg_a
from dragon.models.imagenet_nets import caffenet128, resnet50
from dragon.models.linear_net import Samples, deep_linear
from dragon.models.mnist_nets import deep_relu, lenet, sigmoid_3x100
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text

__all__ = ["MODELS", "Model", "Regression", "write_all"]

_LEARNING = ("param",)  # fields that a deployed layer does not need, besides fillers


@dataclass(frozen=True)
class Data:
    """The data set of a net. folder: as written by `dragon data`. shape: (C, H, W). train, test: images per batch."""

    folder: str
    prefix: str
    shape: tuple[int, int, int]
    train: int = 100
    test: int = 100
    mean: bool = True
    values: tuple[float, ...] = ()  # means of the channels, in place of the mean image
    scale: float = 1.0
    mirror: bool = False
    crop: int = 0

    def layers(self) -> list[pb.LayerParameter]:
        """The Data layers of TRAIN and of TEST."""
        made = []
        for phase, part, batch in ((pb.TRAIN, "train", self.train), (pb.TEST, "test", self.test)):
            layer = pb.LayerParameter(name=self.prefix, type="Data", top=["data", "label"], include=[{"phase": phase}])
            if self.values:
                layer.transform_param.mean_value.extend(self.values)
            elif self.mean:
                layer.transform_param.mean_file = f"{self.folder}/mean.binaryproto"
            if self.scale != 1:
                layer.transform_param.scale = self.scale
            if self.mirror and phase == pb.TRAIN:
                layer.transform_param.mirror = True
            if self.crop:
                layer.transform_param.crop_size = self.crop
            source = layer.data_param
            source.source = f"{self.folder}/{self.prefix}_{part}_lmdb"
            source.batch_size = batch
            source.backend = pb.DataParameter.LMDB
            made.append(layer)
        return made


CIFAR10 = Data("data/cifar10", "cifar10", (3, 32, 32))
IMAGENET_128 = Data(
    "data/imagenet128",
    "imagenet",
    (3, 128, 128),
    train=256,
    test=250,
    values=(104, 117, 123),
    scale=0.04,
    mirror=True,
    crop=128,
)
IMAGENET = Data(
    "data/imagenet", "imagenet", (3, 224, 224), train=32, test=50, values=(104, 117, 123), mirror=True, crop=224
)
MNIST = Data("data/mnist", "mnist", (1, 28, 28), train=64, mean=False, scale=1 / 256)
MNIST_60 = Data("data/mnist", "mnist", (1, 28, 28), train=60, mean=False, scale=1 / 256)
MNIST_1000 = Data("data/mnist", "mnist", (1, 28, 28), train=1000, mean=False, scale=1 / 256)


# -- solvers -------------------------------------------------------------------------------------------------
def solver(max_iter: int, base_lr: float, steps: tuple[int, ...] = (), **more: Any) -> pb.SolverParameter:
    """A solver with SGD, whose rate is constant or falls tenfold at each of `steps`. more: further settings."""
    settings: dict[str, Any] = {
        "test_iter": [100], "test_interval": 500, "base_lr": base_lr, "display": 100, "max_iter": max_iter,
        "lr_policy": "multistep" if steps else "fixed", "momentum": 0.9, "weight_decay": 0.004, "snapshot": 1000,
        "solver_mode": pb.SolverParameter.CPU,
    }  # fmt: skip
    if steps:
        settings |= {"gamma": 0.1, "stepvalue": steps}
    return pb.SolverParameter(**(settings | more))


@dataclass(frozen=True)
class Model:
    """A net of the zoo, a classifier: a title of one line, its data, its layers and its solver."""

    title: str
    data: Data | Samples
    body: Callable[[], Body]
    solver: pb.SolverParameter
    profile: str = ""  # the dialect of the nets

    def train_val(self, name: str) -> pb.NetParameter:
        """The net for training and testing, with data, accuracy and loss."""
        body = self.body()
        return pb.NetParameter(name=name, layer=[*self.data.layers(), *body.layers, *self.scores(body.top)])

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """The layers that score the net's last top against the labels."""
        bottoms: dict[str, Any] = {"bottom": [top, "label"]}
        accuracy = pb.LayerParameter(name="accuracy", type="Accuracy", top=["accuracy"], **bottoms)
        accuracy.include.add(phase=pb.TEST)
        return [accuracy, pb.LayerParameter(name="loss", type="SoftmaxWithLoss", top=["loss"], **bottoms)]

    def answer(self, top: str) -> list[pb.LayerParameter]:
        """The layers of a deployed net behind the last top."""
        return [pb.LayerParameter(name="prob", type="Softmax", bottom=[top], top=["prob"])]

    def deploy(self, name: str) -> pb.NetParameter:
        """The net for use: the same layers behind an Input, without settings that only training needs."""
        body = self.body()
        start = pb.LayerParameter(name="data", type="Input", top=["data"])
        start.input_param.shape.add(dim=[1, *self.data.shape])
        for layer in body.layers:
            for name_ in _LEARNING:
                layer.ClearField(name_)
            for settings in (layer.convolution_param, layer.inner_product_param):
                if settings.num_output:
                    settings.ClearField("weight_filler")
                    settings.ClearField("bias_filler")
        return pb.NetParameter(name=name, layer=[start, *body.layers, *self.answer(body.top)])

    def files(self, name: str) -> dict[str, str]:
        """The contents of the three prototxt files by file name."""
        settings = pb.SolverParameter()
        settings.CopyFrom(self.solver)
        settings.net = f"models/{name}/train_val.prototxt"
        settings.snapshot_prefix = f"runs/{name}/{name}"  # a folder for each net: metrics and curves go there too
        messages = {"train_val": self.train_val(name), "deploy": self.deploy(name), "solver": settings}
        what = {"train_val": "for training and testing", "deploy": "for use", "solver": "how it is trained"}
        profile = f'profile: "{self.profile}"\n' if self.profile else ""
        return {
            f"{kind}.prototxt": f"# {self.title}: {what[kind]}.\n# Made by models/generate.py.\n"
            + ("" if kind == "solver" else profile)
            + format_text(message)
            for kind, message in messages.items()
        }


class Regression(Model):
    """A net that fits the blob `target`; its loss is the sum of the squared differences over all samples."""

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """The loss, which in Caffe is divided by twice the number of samples; its weight takes that back."""
        assert isinstance(self.data, Samples)
        weight = [2 * self.data.count]
        return [
            pb.LayerParameter(
                name="loss", type="EuclideanLoss", bottom=[top, "target"], top=["loss"], loss_weight=weight
            )
        ]

    def answer(self, top: str) -> list[pb.LayerParameter]:
        """Nothing: the last top is the answer."""
        return []


_QUICK = solver(5000, 0.001, (4000,))
_QUICK_BN = solver(5000, 0.03, (4000,), weight_decay=5e-4)
_FULL: dict[str, Any] = {"test_interval": 1000, "snapshot": 10000, "display": 200}
_SIGMOID = solver(60000, 0.001, weight_decay=0, **_FULL)
_MNIST_SIGMOID = solver(50000, 0.1, momentum=0, weight_decay=0, **_FULL)
_DEEP_RELU = solver(1000, 0.01, momentum=0, weight_decay=0, test_iter=[10], test_interval=100)
_LINEAR = solver(10000, 1e-6, momentum=0, weight_decay=0, test_iter=[1])
_CAFFENET128 = solver(
    320000, 0.01, (100000, 200000, 300000), weight_decay=5e-4, test_iter=[200], test_interval=1000, snapshot=10000
)
_VGG = solver(15000, 0.1, momentum=0, weight_decay=0)
_SCALED = Data("data/cifar10", "cifar10", (3, 32, 32), train=128, scale=1 / 128)
_MIRRORED = Data("data/cifar10", "cifar10", (3, 32, 32), train=128, scale=1 / 128, mirror=True)

MODELS: dict[str, Model] = {
    "cifar10_quick": Model("CIFAR-10 quick", CIFAR10, quick, _QUICK),
    "cifar10_quick_bn_split": Model(
        "CIFAR-10 quick with BatchNorm and Scale after each convolution", CIFAR10, lambda: quick(SPLIT), _QUICK_BN
    ),
    "cifar10_quick_bn_merged": Model(
        "CIFAR-10 quick with BN after each convolution", CIFAR10, lambda: quick(MERGED), _QUICK_BN
    ),
    "cifar10_quick_bn_split_fc": Model(
        "CIFAR-10 quick with BatchNorm and Scale after each convolution and ip1",
        CIFAR10, lambda: quick(SPLIT, fc=True), _QUICK_BN,
    ),
    "cifar10_quick_bn_merged_fc": Model(
        "CIFAR-10 quick with BN after each convolution and ip1", CIFAR10, lambda: quick(MERGED, fc=True), _QUICK_BN
    ),
    "cifar10_quick_dragon2016": Model(
        "CIFAR-10 quick with batch normalisation as the first Dragon writes it",
        CIFAR10, lambda: quick(DRAGON_2016, caffe_init=True), _QUICK, profile=DRAGON_2016,
    ),
    "cifar10_quick_bn_split_caffe_init": Model(
        "CIFAR-10 quick with BatchNorm and Scale, initialisation and solver as without",
        CIFAR10, lambda: quick(SPLIT, caffe_init=True), _QUICK,
    ),
    "cifar10_quick_bn_merged_caffe_init": Model(
        "CIFAR-10 quick with BN, initialisation and solver as without",
        CIFAR10, lambda: quick(MERGED, caffe_init=True), _QUICK,
    ),
    "cifar10_full": Model("CIFAR-10 full", CIFAR10, full, solver(70000, 0.001, (60000, 65000), **_FULL)),
    "cifar10_full_sigmoid": Model("CIFAR-10 full with sigmoids", CIFAR10, lambda: full_sigmoid(False), _SIGMOID),
    "cifar10_full_sigmoid_bn": Model(
        "CIFAR-10 full with sigmoids and BatchNorm", CIFAR10, lambda: full_sigmoid(True), _SIGMOID
    ),
    "lenet": Model(
        "LeNet on MNIST", MNIST, lenet,
        solver(10000, 0.01, lr_policy="inv", gamma=1e-4, power=0.75, weight_decay=5e-4, snapshot=5000),
    ),
    "resnet20_cifar10": Model(
        "ResNet-20 on CIFAR-10", _MIRRORED, lambda: resnet(3),
        solver(64000, 0.1, (32000, 48000), weight_decay=1e-4, **_FULL),
    ),
    "resnet8_cifar10": Model(
        "ResNet-8 on CIFAR-10", _MIRRORED, lambda: resnet(1), solver(4000, 0.1, (2000, 3000), weight_decay=1e-4),
    ),
    "resnet50": Model(
        "ResNet-50 on ImageNet", IMAGENET, resnet50,
        solver(
            600000, 0.1, (150000, 300000, 450000), weight_decay=1e-4, iter_size=8, test_iter=[1000],
            test_interval=5000, snapshot=10000,
        ),
    ),
    "mnist_sigmoid_3x100": Model("Three layers of sigmoids on MNIST", MNIST_60, sigmoid_3x100, _MNIST_SIGMOID),
    "mnist_sigmoid_3x100_bn": Model(
        "Three layers of sigmoids with BN on MNIST", MNIST_60, lambda: sigmoid_3x100(MERGED), _MNIST_SIGMOID
    ),
    "deep_relu": Model("Forty layers of ReLUs on MNIST", MNIST_1000, deep_relu, _DEEP_RELU),
    "deep_relu_bn": Model("Forty layers of ReLUs with BN on MNIST", MNIST_1000, lambda: deep_relu(MERGED), _DEEP_RELU),
    "deep_linear": Regression("A linear net of 25 layers", Samples(1000, 10), deep_linear, _LINEAR),
    "deep_linear_bn": Regression(
        "A linear net of 25 layers with BN", Samples(1000, 10), lambda: deep_linear(MERGED), _LINEAR
    ),
    "caffenet128": Model("CaffeNet for images of 128 x 128", IMAGENET_128, caffenet128, _CAFFENET128),
    "caffenet128_bn": Model(
        "CaffeNet with BN for images of 128 x 128", IMAGENET_128, lambda: caffenet128(MERGED), _CAFFENET128
    ),
    "vgg_a_cifar10": Model("VGG-A on CIFAR-10", _SCALED, lambda: vgg_a(PLAIN), _VGG),
    "vgg_a_cifar10_bn": Model("VGG-A with BN on CIFAR-10", _SCALED, lambda: vgg_a(MERGED), _VGG),
    "vgg_a_cifar10_noisy": Model(
        "VGG-A with BN and noise behind it on CIFAR-10", _SCALED, lambda: vgg_a(MERGED, noisy=True), _VGG
    ),
}  # fmt: skip


def write_all(folder: Path) -> list[Path]:
    """Write the prototxt files of every model under `folder`; their paths."""
    written = []
    for name, model in MODELS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, text in model.files(name).items():
            write_atomically(folder / name / file, text.encode())
            written.append(folder / name / file)
    return written


if __name__ == "__main__":
    print(f"{len(write_all(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)))} files written")
