"""Writes a net for BVLC Caffe, after the outputs of both nets have been compared on random data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dragon.bases.layer import TEST
from dragon.errors import NumericError, PrototxtError
from dragon.export.caffe.convert import bottom_shapes, to_caffe
from dragon.export.caffe.tidy import inputs_first, let_work_in_place, without_copies, without_training
from dragon.export.deployed import Deployed, deploy
from dragon.files.folders import make_folder
from dragon.graph.definition import filter_net, places_of, run_state
from dragon.graph.net import Net
from dragon.graph.own_phase import trains_always
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.layer_blobs import without_blobs
from dragon.surgery.distance import distances, largest_finite
from dragon.surgery.model import Arrays, Model, arrays_of, write_model
from dragon.surgery.present import to_present
from dragon.surgery.prove import give_arrays
from dragon.surgery.samples import feed

__all__ = ["CaffeNet", "compare", "deploy_net", "whole_net", "write_net"]

_TOLERANCE = 1e-4  # relative to the largest value of an output


@dataclass
class CaffeNet:
    """A net for BVLC Caffe. difference: the largest one of an output, relative to its largest value."""

    model: Model
    notes: list[str] = field(default_factory=list)
    difference: float = 0.0
    outputs: list[str] = field(default_factory=list)


def whole_net(model: Model, deployed: Deployed) -> CaffeNet:
    """All layers of a model, for every phase. Raises PrototxtError, NumericError.

    model: its layers as they are written, with their blobs. deployed: its part that TEST computes, on which both are
    compared.
    """
    with _net(deployed.definition, model.arrays) as net:
        _refuse_training(net)
        shapes = bottom_shapes(net)
        given = model if model.arrays else replace(model, arrays=arrays_of(net), from_files=None)
        new, notes = to_caffe(to_present(given), shapes)
        notes += [
            f"no weights for {name}: the file for Caffe has none either"
            for name in net.params
            if name not in given.arrays
        ]
        part = deploy(Definition(_of_test(new.net), folder=new.folder), _first_shape(net))
        with _net(part.definition, new.arrays) as other:
            for name in part.data.keys() - deployed.data.keys():  # a constant that stands for a layer
                (filler,) = part.data[name].dummy_data_param.data_filler
                other.blobs[name].data[...] = filler.value
            found = compare(net, other)
    if not model.arrays:
        new.arrays = {}
    return CaffeNet(new, notes, *found)


def _refuse_training(net: Net) -> None:
    """Raise PrototxtError for a layer that draws random numbers in TEST: no two runs of it are equal."""
    for node in net.nodes:
        if why := trains_always(node.layer):
            raise PrototxtError(why, layer=node.layer.where, position=node.position)


def _of_test(net: pb.NetParameter) -> pb.NetParameter:
    return filter_net(net, run_state(net.state, TEST, 0, []))


def _first_shape(net: Net) -> tuple[int, ...] | None:
    return net.blobs[net.inputs[0]].shape if net.inputs else None


def deploy_net(deployed: Deployed, weights: str) -> CaffeNet:
    """What TEST computes, small: normalisations folded, layers that copy left out, others in place.

    Raises DragonError for weights that do not fit, PrototxtError, NumericError.
    """
    original = Deployed(deployed.definition, deployed.data)
    with original.net(weights) as net, deployed.folded(weights) as folded:
        _refuse_training(net)
        arrays = arrays_of(folded)
        model = Model(without_blobs(deployed.definition.message), arrays, places=places_of(deployed.definition))
        new, notes = to_caffe(model, bottom_shapes(folded))
        notes = [*deployed.notes, *notes]
        notes += [f"left out: {name}, which copies in TEST" for name in without_copies(new.net)]
        in_place = let_work_in_place(new.net)
        notes += [f"in place: {', '.join(in_place)}"] if in_place else []
        inputs_first(new.net)
        without_training(new.net)
        with _net(Definition(new.net), new.arrays) as other:
            found = compare(net, other)
    return CaffeNet(new, notes, *found)


def _net(definition: Definition[pb.NetParameter], arrays: Mapping[str, Arrays]) -> Net:
    net = Net(definition, phase=TEST, engine="numpy", seed=1)
    give_arrays(net, arrays, "the input")
    return net


def compare(old: Net, new: Net) -> tuple[float, list[str]]:
    """The largest relative difference of the outputs of two nets on random data, and their names.

    Raises NumericError for outputs that are missing or differ.
    """
    feed(old, np.random.default_rng(7), new)
    before, after = ({name: np.array(value) for name, value in _run(net).items()} for net in (old, new))
    worst = 0.0
    for name, value in before.items():
        if name not in after:
            raise NumericError(f'the nets differ: output "{name}" is missing in the new one')
        if after[name].shape != value.shape:
            raise NumericError(f'the nets differ: output "{name}" has shape {value.shape}, then {after[name].shape}')
        difference = float(distances(after[name], value).max(initial=0)) / (largest_finite(value) or 1.0)
        worst = max(worst, difference)
        if np.isinf(difference):
            raise NumericError(f'the nets differ: output "{name}" has NaN or infinity in only one of them')
        if difference > _TOLERANCE:
            raise NumericError(f'the nets differ: output "{name}" by {difference:.2g} of its largest value')
    return worst, list(before)


def _run(net: Net) -> dict[str, Any]:
    net.run_forward()
    made = {name for node in net.nodes if not node.layer.is_input for name in node.top_names}  # not what only passes
    return {name: net.blobs[name].peek() for name in net.outputs if name in made}


def write_net(net: CaffeNet, folder: str | Path, name: str) -> list[Path]:
    """Write NAME.prototxt and, with weights, NAME.caffemodel, the latter first; the paths. Raises OSError."""
    place = Path(folder)
    make_folder(place)
    model, weights = place / f"{name}.prototxt", place / f"{name}.caffemodel"
    write_model(net.model, model, weights if net.model.arrays else None)
    return [model, weights] if net.model.arrays else [model]
