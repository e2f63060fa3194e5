"""A model of the zoo: its data, its layers and its solver, and the text of its prototxt files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dragon.models.facts import without_fillers
from dragon.models.nets.body import Body
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text

__all__ = [
    "LONG", "Data", "Deployed", "Finding", "Model", "OneVersusAll", "Pictures", "Regression", "Source", "behind",
    "deployed", "no_layers", "solver", "text_of",
]  # fmt: skip

# settings of a solver that runs for tens of thousands of iterations
LONG: dict[str, Any] = {"test_interval": 1000, "snapshot": 10000, "display": 200}


class Source(Protocol):
    """Where a net's samples come from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""

    @property
    def train(self) -> int:
        """The samples of a training batch."""

    def layers(self) -> list[pb.LayerParameter]:
        """The layers that make `data` and what it is scored against, in both phases."""

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """The shape of each blob that is read from files, for a batch of this size."""


@dataclass(frozen=True)
class Data:
    """The data set of a net. folder: as written by `dragon data`. shape: (C, H, W). train, test: images per batch.

    mirror, pad (zeros on each side before the crop) and shuffle are for training alone.
    """

    folder: str
    prefix: str
    shape: tuple[int, ...]
    train: int = 100
    test: int = 100
    mean: bool = True
    values: tuple[float, ...] = ()  # means of the channels, in place of the mean image
    scale: float = 1.0
    mirror: bool = False
    crop: int = 0
    pad: int = 0
    shuffle: bool = False

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """The shapes of `data` and `label`."""
        return {"data": (batch, *self.shape), "label": (batch,)}

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
            if self.pad and phase == pb.TRAIN:
                layer.transform_param.zero_pad = self.pad
            source = layer.data_param
            source.source = f"{self.folder}/{self.prefix}_{part}_lmdb"
            source.batch_size = batch
            source.backend = pb.DataParameter.LMDB
            if self.shuffle and phase == pb.TRAIN:
                source.shuffle = True
            made.append(layer)
        return made


@dataclass(frozen=True)
class Pictures:
    """Picture files listed in train.txt and test.txt of a folder, a path and a label in each line.

    shape: (C, H, W) behind the crop. train: images per batch, in both phases. side: pictures are resized to that.
    """

    folder: str
    shape: tuple[int, ...]
    train: int
    side: int
    mean_file: str

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """The shapes of `data` and `label`."""
        return {"data": (batch, *self.shape), "label": (batch,)}

    def layers(self) -> list[pb.LayerParameter]:
        """The ImageData layers of TRAIN and of TEST."""
        made = []
        for phase, part in ((pb.TRAIN, "train"), (pb.TEST, "test")):
            layer = pb.LayerParameter(name="data", type="ImageData", top=["data", "label"], include=[{"phase": phase}])
            layer.transform_param.mean_file = self.mean_file
            layer.transform_param.crop_size = self.shape[-1]
            layer.transform_param.mirror = phase == pb.TRAIN
            source = layer.image_data_param
            source.source, source.batch_size = f"{self.folder}/{part}.txt", self.train
            source.new_height = source.new_width = self.side
            made.append(layer)
        return made


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


def no_layers(top: str) -> list[pb.LayerParameter]:
    """Nothing behind a net's last top."""
    return []


def behind(kind: str, *bottoms: str, name: str = "loss", weight: float = 1, **settings: Any) -> pb.LayerParameter:
    """A layer of type `kind` behind the body, by default a loss, with the top `name`. weight: its loss_weight."""
    if weight != 1:
        settings["loss_weight"] = [weight]
    return pb.LayerParameter(name=name, type=kind, bottom=bottoms, top=[name], **settings)


def deployed(name: str, inputs: Mapping[str, tuple[int, ...]], layers: Sequence[pb.LayerParameter]) -> pb.NetParameter:
    """A net of these inputs, by name and shape, and layers, without settings that only training needs."""
    made = []
    for top, shape in inputs.items():
        start = pb.LayerParameter(name=top, type="Input", top=[top])
        start.input_param.shape.add(dim=shape)
        made.append(start)
    net = without_fillers(pb.NetParameter(name=name, layer=[*made, *layers]))
    for layer in net.layer:
        layer.ClearField("param")
    return net


def text_of(title: str, what: str, message: pb.NetParameter | pb.SolverParameter, profile: str = "") -> str:
    """The text of a prototxt file of the zoo. what: the use of the file. profile: the dialect of a net."""
    head = f'profile: "{profile}"\n' if profile else ""
    return f"# {title}: {what}.\n# Made by models/generate.py.\n{head}{format_text(message)}"


@dataclass(frozen=True)
class Model:
    """A net of the zoo, a classifier: a title of one line, its data, its layers and its solver."""

    title: str
    data: Source
    body: Callable[[], Body]
    solver: pb.SolverParameter
    profile: str = ""  # the dialect of the nets

    def train_val(self, name: str) -> pb.NetParameter:
        """The net for training and testing, with data, accuracy and loss."""
        body = self.body()
        return pb.NetParameter(name=name, layer=[*self.data.layers(), *body.layers, *self.scores(body.top)])

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """The layers that score the net's last top against the labels."""
        accuracy = behind("Accuracy", top, "label", name="accuracy", include=[{"phase": pb.TEST}])
        return [accuracy, behind("SoftmaxWithLoss", top, "label")]

    def answer(self, top: str) -> list[pb.LayerParameter]:
        """The layers of a deployed net behind the last top."""
        return [behind("Softmax", top, name="prob")]

    def deploy_inputs(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each input of the deployed net."""
        return {"data": (1, *self.data.shape)}

    def deploy(self, name: str) -> pb.NetParameter:
        """The net for use: the same layers behind inputs, without what only training needs."""
        body = self.body()
        layers = [layer for layer in body.layers if layer.name not in body.training]
        return deployed(name, self.deploy_inputs(), [*layers, *self.answer(body.top)])

    def files(self, name: str) -> dict[str, str]:
        """The contents of the three prototxt files by file name."""
        settings = pb.SolverParameter()
        settings.CopyFrom(self.solver)
        settings.net = f"models/{name}/train_val.prototxt"
        settings.snapshot_prefix = f"runs/{name}/{name}"  # a folder for each net: metrics and curves go there too
        return {
            "train_val.prototxt": text_of(self.title, "for training and testing", self.train_val(name), self.profile),
            "deploy.prototxt": text_of(self.title, "for use", self.deploy(name), self.profile),
            "solver.prototxt": text_of(self.title, "how it is trained", settings),
        }


@dataclass(frozen=True)
class Deployed:
    """A net of the zoo that Dragon can run but not train, since it lacks a layer for that; the readme says which.

    inputs: the shape of each. answers: the layers behind the body, given its last top.
    """

    title: str
    inputs: Mapping[str, tuple[int, ...]]
    body: Callable[[], Body]
    answers: Callable[[str], list[pb.LayerParameter]] = no_layers
    profile: str = ""  # the dialect of the net

    def deploy(self, name: str) -> pb.NetParameter:
        """The net for use."""
        body = self.body()
        return deployed(name, self.inputs, [*body.layers, *self.answers(body.top)])

    def files(self, name: str) -> dict[str, str]:
        """The contents of the prototxt file by file name."""
        return {"deploy.prototxt": text_of(self.title, "for use", self.deploy(name), self.profile)}


class Finding(Model):
    """A net that finds boxes; its tests give the mean average precision."""

    def evaluation(self, found: str, classes: int, **more: Any) -> pb.LayerParameter:
        """The layer that compares the boxes `found` with the labels in TEST. classes: with the background."""
        settings = {"num_classes": classes, "overlap_threshold": 0.5, "evaluate_difficult_gt": False, **more}
        return behind(
            "DetectionEvaluate", found, "label", name="detection_eval", detection_evaluate_param=settings,
            include=[{"phase": pb.TEST}],
        )  # fmt: skip


class Regression(Model):
    """A net that fits the blob `target`; its loss is the sum of the squared differences over all samples."""

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """The loss, which in Caffe is divided by twice the number of samples; its weight takes that back."""
        return [behind("EuclideanLoss", top, "target", weight=2 * self.data.train)]

    def answer(self, top: str) -> list[pb.LayerParameter]:
        """Nothing: the last top is the answer."""
        return []


class OneVersusAll(Model):
    """A classifier that is a linear support vector machine for each class; the deployed net gives their scores."""

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """Accuracy and hinge loss, which Caffe sums over one machine for each class."""
        *first, loss = super().scores(top)
        loss.type = "HingeLoss"
        return [*first, loss]

    def answer(self, top: str) -> list[pb.LayerParameter]:
        """Nothing: the last top is the answer."""
        return []
