"""A net's definition with its weights, and the batch normalisations in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.batch_statistics import normalization_of
from dragon.bases.registry import class_of
from dragon.errors import LayerName, WeightsError, nearest
from dragon.files.atomic import write_atomically
from dragon.layers.scale import Scale
from dragon.normalization.settings import Normalization
from dragon.proto import dragon_pb2 as pb

__all__ = ["Model", "Normalisation", "find_normalisations", "maker", "only_reader", "read_model", "write_model"]

Arrays = list[NDArray[Any]]


@dataclass
class Model:
    """A definition in the present form and, where weights were given, the arrays of each layer by name."""

    net: pb.NetParameter
    arrays: dict[str, Arrays] = field(default_factory=dict)

    def copy(self) -> Model:
        net = pb.NetParameter()
        net.CopyFrom(self.net)
        return Model(net, {name: list(arrays) for name, arrays in self.arrays.items()})


def read_model(prototxt: str | Path, weights: str | Path | None = None, profile: str | None = None) -> Model:
    """Definition and weights; layers that only the file has are left out. Raises PrototxtError or WeightsError."""
    from dragon.files.stored_weights import read_weights
    from dragon.proto.layer_names import name_layers
    from dragon.proto.text import read_net

    net = name_layers(read_net(prototxt))
    if weights is None:
        return Model(net)
    names = {layer.name for layer in net.layer}
    stored = {name: [np.asarray(a) for a in arrays] for name, arrays in read_weights(weights, profile) if arrays}
    known = {name: arrays for name, arrays in stored.items() if name in names}
    if not known:
        wanted = next(iter(stored), "")
        raise WeightsError(f"{weights}: weights of another net than {prototxt}{nearest(wanted, names)}")
    return Model(net, known)


def write_model(model: Model, prototxt: str | Path | None, weights: str | Path | None) -> None:
    """Write what is wanted of a model; each file appears whole or not at all. Raises OSError or WeightsError."""
    from dragon.proto.binary import write_caffemodel
    from dragon.proto.text import format_text

    if weights is not None:
        write_caffemodel(weights, model.net, model.arrays)
    if prototxt is not None:
        write_atomically(prototxt, format_text(model.net).encode())


def only_reader(net: pb.NetParameter, index: int) -> int | None:
    """The one layer that reads what layer `index` puts into its first top; None when there are more or none."""
    name = net.layer[index].top[0]
    readers = []
    for j in range(index + 1, len(net.layer)):
        if name in net.layer[j].bottom:
            readers.append(j)
        if name in net.layer[j].top:
            break
    return readers[0] if len(readers) == 1 else None


def maker(net: pb.NetParameter, index: int) -> int | None:
    """The layer that made the value which layer `index` reads as its first bottom."""
    if not net.layer[index].bottom:
        return None
    name = net.layer[index].bottom[0]
    return next((j for j in range(index - 1, -1, -1) if name in net.layer[j].top), None)


def same_rules(a: pb.LayerParameter, b: pb.LayerParameter) -> bool:
    """Whether two layers are present in the same phases."""
    return list(a.include) == list(b.include) and list(a.exclude) == list(b.exclude)


@dataclass
class Normalisation:
    """One batch normalisation with running statistics, and the Scale that belongs to it."""

    net: pb.NetParameter
    index: int
    scale: int | None  # position of the Scale of a layer without gamma

    @property
    def layer(self) -> pb.LayerParameter:
        return self.net.layer[self.index]

    @property
    def last(self) -> pb.LayerParameter:
        """The layer whose top is the result."""
        return self.net.layer[self.index if self.scale is None else self.scale]

    @property
    def settings(self) -> Normalization:
        """What the layer's settings mean."""
        settings = normalization_of(self.layer)
        assert settings is not None
        return settings

    @property
    def affine(self) -> bool:
        """Whether scale and shift are learned, in the layer or in its Scale."""
        return self.scale is not None or self.settings.affine

    def parts(self, arrays: Mapping[str, Arrays]) -> tuple[Arrays, Arrays]:
        """Statistics (mean, variance and perhaps their weight) and affine part (gamma, beta; may be empty), flat.

        WeightsError when the weights have another number of blobs than the layers.
        """
        own = [a.reshape(-1) for a in arrays.get(self.layer.name, [])]
        at = self.settings.blobs
        fine = len(own) == at.count
        statistics, affine = (
            [own[i] for i in indices if i is not None and i < len(own)]
            for indices in ((at.mean, at.variance, at.weight), (at.gamma, at.beta))
        )
        if self.scale is not None:
            affine = [a.reshape(-1) for a in arrays.get(self.last.name, [])]
            bias = self.last.scale_param.bias_term
            fine = fine and len(affine) == 1 + bias
            if fine and not bias:
                affine = [affine[0], np.zeros_like(affine[0])]
        if not fine:
            raise WeightsError(
                f"its weights have {len(own)} blobs"
                + (f', those of "{self.last.name}" {len(affine)}' if self.scale is not None else ""),
                layer=LayerName(self.layer.name, self.layer.type),
            )
        return statistics, affine

    def statistics(self, arrays: Mapping[str, Arrays]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and variance that TEST normalises with, float64."""
        mean, variance, *weight = (a.astype(np.float64) for a in self.parts(arrays)[0])
        return self.settings.averaging.read((mean, variance), weight[0] if weight else None)


def find_normalisations(net: pb.NetParameter) -> list[Normalisation]:
    """Every batch normalisation with running statistics.

    A Scale belongs to one without gamma if it alone reads its top.
    """
    found = []
    for i, layer in enumerate(net.layer):
        settings = normalization_of(layer)
        if settings is None or not settings.averages:
            continue
        j = None if settings.affine else only_reader(net, i)
        if j is not None and not (_is_channel_scale(net.layer[j]) and same_rules(layer, net.layer[j])):
            j = None
        found.append(Normalisation(net, i, j))
    return found


def _is_channel_scale(layer: pb.LayerParameter) -> bool:
    p = layer.scale_param
    return issubclass(class_of(layer), Scale) and len(layer.bottom) == 1 and p.axis == 1 and p.num_axes == 1
