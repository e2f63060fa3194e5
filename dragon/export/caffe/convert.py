"""A net and its weights as BVLC Caffe reads them: merged normalisations split, foreign layers replaced or named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dragon.bases.batch_statistics import normalization_of
from dragon.bases.registry import canonical
from dragon.errors import LayerName, Position, PrototxtError
from dragon.export.caffe.known import TYPES, foreign_fields
from dragon.export.caffe.replace import replaced
from dragon.export.refused import Refused, refuse
from dragon.graph.net import Net
from dragon.normalization.settings import Form
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.merge import split
from dragon.surgery.model import Model
from dragon.surgery.normalisations import find_normalisations

__all__ = ["bottom_shapes", "to_caffe"]

Shapes = Mapping[str, Sequence[tuple[int, ...]]]


def bottom_shapes(net: Net) -> dict[str, list[tuple[int, ...]]]:
    """The shapes of each layer's bottoms, by its name."""
    return {node.name: [blob.shape for blob in node.bottoms] for node in net.nodes}


def to_caffe(model: Model, shapes: Shapes) -> tuple[Model, list[str]]:
    """The model in BVLC's terms, and a line for each layer that was written otherwise.

    shapes: of bottoms by layer, as far as known. Raises PrototxtError that names all that has no meaning there.
    """
    new, notes = model.copy(), []
    if any(norm.settings.affine for norm in find_normalisations(new.net)):
        new, names = split(new)
        notes += [f"{name}: split into BatchNorm and Scale" for name in names]
    for layer in new.net.layer:
        if _set_caffes_average(new, layer):
            notes.append(f"{layer.name}: in training its running average follows Caffe's rule")
    layers: list[pb.LayerParameter] = []
    for layer in new.net.layer:
        found = replaced(layer, shapes.get(layer.name, ()))
        if found is not None:
            notes.append(f"{layer.name} ({layer.type}): written as {', '.join(one.type for one in found.layers)}")
            layers += found.layers
            new.arrays |= found.arrays
            continue
        if canonical(layer.type) in TYPES:
            layer.type = canonical(layer.type)
        layers.append(layer)
    copies = [pb.LayerParameter() for _ in layers]
    for copy, layer in zip(copies, layers, strict=True):
        copy.CopyFrom(layer)
        copy.ClearField("blobs")
    del new.net.layer[:]
    new.net.layer.extend(copies)
    _check(new.net, new.places)
    return new, notes


def _set_caffes_average(model: Model, layer: pb.LayerParameter) -> bool:
    """Leave out the rule of a BatchNorm's average, which BVLC does not know; what TEST reads stays the same.

    Returns whether it had another rule than Caffe's.
    """
    settings = normalization_of(layer)
    if settings is None or settings.form is not Form.SPLIT:
        return False
    p = layer.batch_norm_param
    arrays = model.arrays.get(layer.name)
    if arrays is not None:
        mean, variance, weight = arrays
        whole = settings.averaging.full and not weight.any() and (mean.any() or variance.any())
        if settings.averaging.divided or whole:
            model.arrays[layer.name] = [mean, variance, np.ones_like(weight)]
    if p.HasField("average") or p.HasField("decay"):
        # the weight of the history in BVLC's average, which is a geometric one
        p.moving_average_fraction = settings.averaging.momentum if settings.averaging.momentum < 1 else 0.999
    for name in ("average", "decay", "engine"):
        p.ClearField(name)
    return settings.rule != pb.CAFFE


def _check(net: pb.NetParameter, places: Mapping[str, Position]) -> None:
    """Raise PrototxtError, with all of them, for layers and fields that BVLC does not have."""
    wrong: list[Refused] = []
    for layer in net.layer:
        where, place = str(LayerName(layer.name, layer.type)), places.get(layer.name)
        if layer.type not in TYPES:
            wrong.append((where, "is not one of its types", place))
            continue
        wrong += [(where, f"has {field}", place) for field in foreign_fields(layer)]
    top = pb.NetParameter()
    top.CopyFrom(net)
    del top.layer[:]
    wrong += [("the net", f"has {field}", None) for field in foreign_fields(top)]
    if wrong:
        advice = "; replace them by layers that it has, or leave them out"
        raise refuse(PrototxtError, wrong, "BVLC Caffe cannot read the net", advice)
