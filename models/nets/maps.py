"""Nets that answer with a map: their data are images and maps, or rows of HDF5 files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dragon.models.nets.model import Model, behind, no_layers
from dragon.proto import dragon_pb2 as pb

__all__ = ["Fitted", "Labelling", "Maps", "Rows"]


@dataclass(frozen=True)
class Maps:
    """Images and maps of the same size, which FOLDER/train.txt and FOLDER/test.txt list, "IMAGE MAP" in each line.

    shape: (C, H, W) of the images. train, test: images per batch; with 1 the sizes may differ from image to image.
    values: means of the channels. scale: of the images.
    """

    folder: str
    shape: tuple[int, ...]
    train: int = 1
    test: int = 1
    values: tuple[float, ...] = ()
    scale: float = 1.0

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """The shapes of `data` and `label`."""
        return {"data": (batch, *self.shape), "label": (batch, 1, *self.shape[1:])}

    def layers(self) -> list[pb.LayerParameter]:
        """The DenseImageData layers of TRAIN and of TEST."""
        made = []
        for phase, part, batch in ((pb.TRAIN, "train", self.train), (pb.TEST, "test", self.test)):
            layer = pb.LayerParameter(name="data", type="DenseImageData", top=["data", "label"])
            layer.include.add(phase=phase)
            if self.values:
                layer.transform_param.mean_value.extend(self.values)
            if self.scale != 1:
                layer.transform_param.scale = self.scale
            source = layer.dense_image_data_param
            source.source, source.batch_size = f"{self.folder}/{part}.txt", batch
            if phase == pb.TRAIN:
                source.shuffle = True
            if self.shape[0] == 1:
                source.is_color = False
            made.append(layer)
        return made


@dataclass(frozen=True)
class Rows:
    """Rows of HDF5 files. tops: the shape of one row of each dataset. train, test: rows per batch.

    FOLDER/PREFIX_train.txt and FOLDER/PREFIX_test.txt list the files, without a prefix FOLDER/train.txt and
    FOLDER/test.txt. name: of the layer. shuffle: in training.
    """

    folder: str
    prefix: str
    tops: Mapping[str, tuple[int, ...]]
    train: int = 64
    test: int = 2
    name: str = "data"
    shuffle: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row of the first dataset."""
        return next(iter(self.tops.values()))

    def shapes(self, batch: int) -> Mapping[str, tuple[int, ...]]:
        """The shape of each dataset's blob."""
        return {top: (batch, *shape) for top, shape in self.tops.items()}

    def layers(self) -> list[pb.LayerParameter]:
        """The HDF5Data layers of TRAIN and of TEST."""
        made = []
        for phase, part, batch in ((pb.TRAIN, "train", self.train), (pb.TEST, "test", self.test)):
            layer = pb.LayerParameter(name=self.name, type="HDF5Data", top=self.tops, include=[{"phase": phase}])
            layer.hdf5_data_param.source = f"{self.folder}/{'_'.join(filter(None, (self.prefix, part)))}.txt"
            layer.hdf5_data_param.batch_size = batch
            if self.shuffle and phase == pb.TRAIN:
                layer.hdf5_data_param.shuffle = True
            made.append(layer)
        return made


@dataclass(frozen=True)
class Labelling(Model):
    """A net that gives each pixel a class.

    ignore: the label that does not count. weights: of the classes in the loss, as SegNet has them. summed: the loss is
    the sum over the pixels, not their mean. border: the pixels on each side of a map that the net's answer lacks.
    """

    ignore: int = 255
    weights: tuple[float, ...] = ()
    summed: bool = False
    border: int = 0

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """The share of pixels whose class is right, in TEST, and the loss."""
        made, bottoms = [], [top, "label"]
        if self.border:
            bottoms[1] = "inner"
            crop = {"axis": 2, "offset": [self.border]}
            made.append(behind("Crop", "label", top, name="inner", crop_param=crop))
        accuracy = behind("Accuracy", *bottoms, name="accuracy")
        accuracy.include.add(phase=pb.TEST)
        accuracy.accuracy_param.ignore_label = self.ignore
        loss = behind("SoftmaxWithLoss", *bottoms)
        loss.loss_param.ignore_label = self.ignore
        if self.border:
            loss.propagate_down.extend([True, False])  # else the crop, which also reads the answer, asks for a gradient
        if self.summed:
            loss.loss_param.normalization = pb.LossParameter.NONE
        if self.weights:
            loss.loss_param.weight_by_label_freqs = True
            loss.loss_param.class_weighting.extend(self.weights)
        return [*made, accuracy, loss]


@dataclass(frozen=True)
class Fitted(Model):
    """A net with losses of its own. losses: the layers behind its body in training, answers: those in use.

    inputs: names and shapes of the deployed net's inputs, by default `data`.
    """

    losses: Callable[[str], list[pb.LayerParameter]] = no_layers
    answers: Callable[[str], list[pb.LayerParameter]] = no_layers
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def deploy_inputs(self) -> Mapping[str, tuple[int, ...]]:
        """The inputs, or `data`."""
        return self.inputs or super().deploy_inputs()

    def scores(self, top: str) -> list[pb.LayerParameter]:
        """The losses."""
        return self.losses(top)

    def answer(self, top: str) -> list[pb.LayerParameter]:
        """The answers."""
        return self.answers(top)
