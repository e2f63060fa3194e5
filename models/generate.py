"""Writes the prototxt files of the zoo: `python models/generate.py [FOLDER]`.

One description per net gives train_val and deploy, so that the two cannot disagree. Nets that are meant to be
compared use the same layer names, and with them the same weights for the same seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dragon.files.atomic import write_atomically
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text

__all__ = ["MODELS", "Model", "write_all"]

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
IMAGENET = Data(
    "data/imagenet", "imagenet", (3, 224, 224), train=32, test=50, values=(104, 117, 123), mirror=True, crop=224
)
MNIST = Data("data/mnist", "mnist", (1, 28, 28), train=64, mean=False, scale=1 / 256)


def gaussian(std: float) -> dict[str, Any]:
    """A filler of Gaussian noise with this standard deviation."""
    return {"type": "gaussian", "std": std}


XAVIER = {"type": "xavier"}
MSRA = {"type": "msra"}
SPLIT, MERGED, PLAIN = "split", "merged", "plain"


@dataclass
class Body:
    """The layers of a net under construction; each new one reads `top`, the top of the one before."""

    norm: str = PLAIN
    decay: float | None = None  # of the merged layer's running average
    lr: tuple[float, float] | None = (1, 2)  # multipliers of weights and biases; None: leave them unset
    top: str = "data"
    layers: list[pb.LayerParameter] = field(default_factory=list)

    def add(self, name: str, kind: str, in_place: bool = False, **settings: Any) -> Body:
        """Add a layer of type `kind`; returns the body itself, as all methods do."""
        top = self.top if in_place else name
        self.layers.append(pb.LayerParameter(name=name, type=kind, bottom=[self.top], top=[top], **settings))
        self.top = top
        return self

    def _learned(self, bias: bool, decays: tuple[float, float] | None) -> list[dict[str, float]]:
        if self.lr is None:
            return []
        specs = [{"lr_mult": rate} for rate in self.lr[: 1 + bias]]
        for spec, decay in zip(specs, decays or (), strict=False):
            spec["decay_mult"] = decay
        return specs

    def conv(
        self, name: str, n: int, kernel: int, filler: dict[str, Any], bias: bool | None = None, **geometry: int
    ) -> Body:
        """Add a Convolution with `n` outputs; by default with a bias only in a plain net."""
        bias = self.norm == PLAIN if bias is None else bias
        settings: dict[str, Any] = {"num_output": n, "kernel_size": [kernel], "weight_filler": filler}
        settings |= {k: [v] for k, v in geometry.items()}
        settings |= {"bias_filler": {"type": "constant"}} if bias else {"bias_term": False}
        return self.add(name, "Convolution", param=self._learned(bias, None), convolution_param=settings)

    def ip(
        self, name: str, n: int, filler: dict[str, Any], bias: bool = True, decays: tuple[float, float] | None = None
    ) -> Body:
        """Add an InnerProduct with `n` outputs. decays: decay_mult of weights and biases."""
        settings: dict[str, Any] = {"num_output": n, "weight_filler": filler}
        settings |= {"bias_filler": {"type": "constant"}} if bias else {"bias_term": False}
        return self.add(name, "InnerProduct", param=self._learned(bias, decays), inner_product_param=settings)

    def bn(self, name: str) -> Body:
        """Add batch normalisation in the body's form; nothing in a plain net."""
        if self.norm == SPLIT:
            self.add(name, "BatchNorm")
            self.add(name.replace("bn", "scale"), "Scale", in_place=True, scale_param={"bias_term": True})
        elif self.norm == MERGED:
            settings: dict[str, Any] = {} if self.decay is None else {"batch_norm_param": {"decay": self.decay}}
            self.add(name, "BN", **settings)
        return self

    def relu(self, name: str) -> Body:
        """Add an in-place ReLU."""
        return self.add(name, "ReLU", in_place=True)

    def sigmoid(self, name: str) -> Body:
        """Add an in-place Sigmoid."""
        return self.add(name, "Sigmoid", in_place=True)

    def pool(self, name: str, method: str, kernel: int = 3, stride: int = 2) -> Body:
        """Add a Pooling by `method`, MAX or AVE."""
        return self.add(name, "Pooling", pooling_param={"pool": method, "kernel_size": kernel, "stride": stride})

    def lrn(self, name: str) -> Body:
        """Add an LRN within channels, with the settings of CIFAR-10 full."""
        settings = {"local_size": 3, "alpha": 5e-5, "beta": 0.75, "norm_region": "WITHIN_CHANNEL"}
        return self.add(name, "LRN", lrn_param=settings)


# -- nets ----------------------------------------------------------------------------------------------------
def quick(norm: str = PLAIN, fc: bool = False) -> Body:
    """CIFAR-10 quick; with `norm` after each convolution, with `fc` after ip1 too."""
    b = Body(norm)
    b.conv("conv1", 32, 5, gaussian(1e-4), pad=2).bn("bn1").pool("pool1", "MAX").relu("relu1")
    b.conv("conv2", 32, 5, gaussian(0.01), pad=2).bn("bn2").relu("relu2").pool("pool2", "AVE")
    b.conv("conv3", 64, 5, gaussian(0.01), pad=2).bn("bn3").relu("relu3").pool("pool3", "AVE")
    b.ip("ip1", 64, gaussian(0.1), bias=not fc)
    if fc:
        b.bn("bn4")
    return b.ip("ip2", 10, gaussian(0.1))


def full() -> Body:
    """CIFAR-10 full, with LRN."""
    b = Body()
    b.conv("conv1", 32, 5, gaussian(1e-4), pad=2).pool("pool1", "MAX").relu("relu1").lrn("norm1")
    b.conv("conv2", 32, 5, gaussian(0.01), pad=2).relu("relu2").pool("pool2", "AVE").lrn("norm2")
    b.lr = None
    b.conv("conv3", 64, 5, gaussian(0.01), pad=2).relu("relu3").pool("pool3", "AVE")
    b.lr = (1, 2)
    return b.ip("ip1", 10, gaussian(0.01), decays=(250, 0))


def full_sigmoid(norm: bool) -> Body:
    """CIFAR-10 full with sigmoids. norm: BatchNorm without Scale in place of LRN and of the convolutions' biases."""
    b = Body()

    def normalise(name: str) -> None:
        if norm:
            b.add(name, "BatchNorm")

    b.conv("conv1", 32, 5, gaussian(1e-4), pad=2, bias=not norm).pool("pool1", "MAX")
    normalise("bn1")
    b.sigmoid("sigmoid1")
    if not norm:
        b.lrn("norm1")
    b.conv("conv2", 32, 5, gaussian(0.01), pad=2, bias=not norm)
    normalise("bn2")
    b.sigmoid("sigmoid2").pool("pool2", "AVE")
    if not norm:
        b.lrn("norm2")
    b.conv("conv3", 64, 5, gaussian(0.01), pad=2, bias=not norm)
    normalise("bn3")
    b.sigmoid("sigmoid3").pool("pool3", "AVE")
    return b.ip("ip1", 10, gaussian(0.01), decays=(1, 0))


def lenet() -> Body:
    """LeNet for MNIST."""
    b = Body()
    b.conv("conv1", 20, 5, XAVIER).pool("pool1", "MAX", 2)
    b.conv("conv2", 50, 5, XAVIER).pool("pool2", "MAX", 2)
    return b.ip("ip1", 500, XAVIER).relu("relu1").ip("ip2", 10, XAVIER)


def resnet20() -> Body:
    """ResNet-20: three stages of three blocks; where the shape changes, the shortcut is a 1x1 convolution with BN."""
    b = Body(MERGED, decay=0.9, lr=None)
    b.conv("conv1", 16, 3, MSRA, pad=1).bn("bn1").relu("relu1")
    for stage, width in enumerate((16, 32, 64), 1):
        for block in range(1, 4):
            _residual(b, f"s{stage}b{block}", width, 2 if stage > 1 and block == 1 else 1)
    b.add("pool", "Pooling", pooling_param={"pool": "AVE", "global_pooling": True})
    return b.ip("ip", 10, MSRA)


def _residual(b: Body, name: str, width: int, stride: int) -> None:
    start = b.top
    b.conv(f"{name}_conv1", width, 3, MSRA, pad=1, stride=stride).bn(f"{name}_bn1").relu(f"{name}_relu1")
    b.conv(f"{name}_conv2", width, 3, MSRA, pad=1).bn(f"{name}_bn2")
    branch, b.top = b.top, start
    if stride > 1:
        b.conv(f"{name}_proj", width, 1, MSRA, stride=stride).bn(f"{name}_proj_bn")
    shortcut = b.top
    b.layers.append(pb.LayerParameter(name=name, type="Eltwise", bottom=[branch, shortcut], top=[name]))
    b.top = name
    b.relu(f"{name}_relu")


def resnet50() -> Body:
    """ResNet-50, with the layer names and strides of the published Caffe nets, so that their weights can be loaded."""
    b = Body(SPLIT, lr=None)
    b.conv("conv1", 64, 7, MSRA, bias=True, pad=3, stride=2).bn("bn_conv1").relu("conv1_relu").pool("pool1", "MAX")
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(blocks):
            _bottleneck(b, f"{stage}{'abcdef'[block]}", width, block == 0, 2 if stage > 2 and block == 0 else 1)
    b.pool("pool5", "AVE", 7, 1)
    return b.ip("fc1000", 1000, MSRA)


def _bottleneck(b: Body, name: str, width: int, project: bool, stride: int) -> None:
    start = shortcut = b.top
    if project:
        b.conv(f"res{name}_branch1", 4 * width, 1, MSRA, stride=stride).bn(f"bn{name}_branch1")
        shortcut, b.top = b.top, start
    b.conv(f"res{name}_branch2a", width, 1, MSRA, stride=stride).bn(f"bn{name}_branch2a")
    b.relu(f"res{name}_branch2a_relu")
    b.conv(f"res{name}_branch2b", width, 3, MSRA, pad=1).bn(f"bn{name}_branch2b").relu(f"res{name}_branch2b_relu")
    b.conv(f"res{name}_branch2c", 4 * width, 1, MSRA).bn(f"bn{name}_branch2c")
    b.layers.append(pb.LayerParameter(name=f"res{name}", type="Eltwise", bottom=[shortcut, b.top], top=[f"res{name}"]))
    b.top = f"res{name}"
    b.relu(f"res{name}_relu")


def vgg_a(norm: str) -> Body:
    """VGG configuration A for CIFAR-10, with `norm` after each convolution."""
    b = Body(norm, decay=0.9, lr=None)
    for stage, widths in enumerate(((64,), (128,), (256, 256), (512, 512), (512, 512)), 1):
        for k, width in enumerate(widths, 1):
            b.conv(f"conv{stage}_{k}", width, 3, XAVIER, pad=1).bn(f"bn{stage}_{k}").relu(f"relu{stage}_{k}")
        b.pool(f"pool{stage}", "MAX", 2)
    b.ip("ip1", 512, XAVIER).relu("relu_ip1").ip("ip2", 512, XAVIER).relu("relu_ip2")
    return b.ip("ip3", 10, XAVIER)


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
    """A net of the zoo: a title of one line, its data, its layers and its solver."""

    title: str
    data: Data
    body: Callable[[], Body]
    solver: pb.SolverParameter

    def train_val(self, name: str) -> pb.NetParameter:
        """The net for training and testing, with data, accuracy and loss."""
        body = self.body()
        scores: dict[str, Any] = {"bottom": [body.top, "label"]}
        accuracy = pb.LayerParameter(name="accuracy", type="Accuracy", top=["accuracy"], **scores)
        accuracy.include.add(phase=pb.TEST)
        loss = pb.LayerParameter(name="loss", type="SoftmaxWithLoss", top=["loss"], **scores)
        return pb.NetParameter(name=name, layer=[*self.data.layers(), *body.layers, accuracy, loss])

    def deploy(self, name: str) -> pb.NetParameter:
        """The net for use: the same layers between Input and Softmax, without settings that only training needs."""
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
        end = pb.LayerParameter(name="prob", type="Softmax", bottom=[body.top], top=["prob"])
        return pb.NetParameter(name=name, layer=[start, *body.layers, end])

    def files(self, name: str) -> dict[str, str]:
        """The contents of the three prototxt files by file name."""
        settings = pb.SolverParameter()
        settings.CopyFrom(self.solver)
        settings.net = f"models/{name}/train_val.prototxt"
        settings.snapshot_prefix = f"runs/{name}/{name}"  # a folder for each net: metrics and curves go there too
        messages = {"train_val": self.train_val(name), "deploy": self.deploy(name), "solver": settings}
        what = {"train_val": "for training and testing", "deploy": "for use", "solver": "how it is trained"}
        return {
            f"{kind}.prototxt": f"# {self.title}: {what[kind]}.\n# Made by models/generate.py.\n{format_text(message)}"
            for kind, message in messages.items()
        }


_QUICK = solver(5000, 0.001, (4000,))
_FULL: dict[str, Any] = {"test_interval": 1000, "snapshot": 10000, "display": 200}
_SIGMOID = solver(60000, 0.001, weight_decay=0, **_FULL)
_VGG = solver(15000, 0.1, momentum=0, weight_decay=0)
_SCALED = Data("data/cifar10", "cifar10", (3, 32, 32), train=128, scale=1 / 128)
_MIRRORED = Data("data/cifar10", "cifar10", (3, 32, 32), train=128, scale=1 / 128, mirror=True)

MODELS: dict[str, Model] = {
    "cifar10_quick": Model("CIFAR-10 quick", CIFAR10, quick, _QUICK),
    "cifar10_quick_bn_split": Model(
        "CIFAR-10 quick with BatchNorm and Scale after each convolution", CIFAR10, lambda: quick(SPLIT), _QUICK
    ),
    "cifar10_quick_bn_merged": Model(
        "CIFAR-10 quick with BN after each convolution", CIFAR10, lambda: quick(MERGED), _QUICK
    ),
    "cifar10_quick_bn_split_fc": Model(
        "CIFAR-10 quick with BatchNorm and Scale after each convolution and ip1",
        CIFAR10, lambda: quick(SPLIT, fc=True), _QUICK,
    ),
    "cifar10_quick_bn_merged_fc": Model(
        "CIFAR-10 quick with BN after each convolution and ip1", CIFAR10, lambda: quick(MERGED, fc=True), _QUICK
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
        "ResNet-20 on CIFAR-10", _MIRRORED, resnet20,
        solver(64000, 0.1, (32000, 48000), weight_decay=1e-4, **_FULL),
    ),
    "resnet50": Model(
        "ResNet-50 on ImageNet", IMAGENET, resnet50,
        solver(
            600000, 0.1, (150000, 300000, 450000), weight_decay=1e-4, iter_size=8, test_iter=[1000],
            test_interval=5000, snapshot=10000,
        ),
    ),
    "vgg_a_cifar10": Model("VGG-A on CIFAR-10", _SCALED, lambda: vgg_a(PLAIN), _VGG),
    "vgg_a_cifar10_bn": Model("VGG-A with BN on CIFAR-10", _SCALED, lambda: vgg_a(MERGED), _VGG),
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
