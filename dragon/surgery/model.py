"""A net's definition with its weights, and the batch normalisations in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.normalization import read_running
from dragon.bases.registry import class_of
from dragon.errors import LayerName, WeightsError, nearest
from dragon.files.atomic import write_atomically
from dragon.layers.batch_norm import BatchNorm
from dragon.layers.bn import BN
from dragon.layers.scale import Scale
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
    from dragon.proto.text import read_net

    net = read_net(prototxt)
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
    """One batch normalisation: a BatchNorm with its Scale or without, or a BN."""

    net: pb.NetParameter
    index: int
    scale: int | None  # position of the Scale that belongs to a BatchNorm

    @property
    def layer(self) -> pb.LayerParameter:
        return self.net.layer[self.index]

    @property
    def last(self) -> pb.LayerParameter:
        """The layer whose top is the result."""
        return self.net.layer[self.index if self.scale is None else self.scale]

    @property
    def merged(self) -> bool:
        return class_of(self.layer) is BN

    @property
    def of_fork(self) -> bool:
        """With bn_param: slope, bias, mean, variance."""
        return self.merged and self.layer.HasField("bn_param")

    @property
    def affine(self) -> bool:
        p = self.layer.batch_norm_param
        own = p.scale_bias or p.HasField("scale_filler") or p.HasField("bias_filler")
        return self.merged or self.scale is not None or own

    @property
    def eps(self) -> float:
        eps: float = self.layer.bn_param.eps if self.of_fork else self.layer.batch_norm_param.eps
        return eps

    @property
    def rule(self) -> int:
        p = self.layer.batch_norm_param
        if self.of_fork or (self.merged and not p.HasField("average")):
            return pb.EMA
        return p.average

    def parts(self, arrays: Mapping[str, Arrays]) -> tuple[Arrays, Arrays]:
        """Statistics (mean, variance and perhaps their weight) and affine part (gamma, beta; may be empty), flat.

        WeightsError when the weights have another number of blobs than the layers.
        """
        own = [a.reshape(-1) for a in arrays.get(self.layer.name, [])]
        if self.merged:
            statistics, affine = own[2:], own[:2]
            fine = len(own) == (4 if self.of_fork else 5)
        else:
            statistics, affine = own[:3], own[3:]
            fine = len(own) in (3, 5)
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
        return read_running(self.rule, (mean, variance), weight[0] if weight else None)


def find_normalisations(net: pb.NetParameter) -> list[Normalisation]:
    """Every batch normalisation of the net; a Scale belongs to a BatchNorm if it alone reads its top."""
    found = []
    for i, layer in enumerate(net.layer):
        if class_of(layer) is BN:
            found.append(Normalisation(net, i, None))
        elif class_of(layer) is BatchNorm:
            alone = Normalisation(net, i, None)
            j = None if alone.affine else only_reader(net, i)
            if j is not None and not (_is_channel_scale(net.layer[j]) and same_rules(layer, net.layer[j])):
                j = None
            found.append(Normalisation(net, i, j))
    return found


def _is_channel_scale(layer: pb.LayerParameter) -> bool:
    p = layer.scale_param
    return issubclass(class_of(layer), Scale) and len(layer.bottom) == 1 and p.axis == 1 and p.num_axes == 1
