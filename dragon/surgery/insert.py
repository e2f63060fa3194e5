"""Insertion of normalisations into a net: where, in which form, and what changes in the layers around them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dragon.bases.convolution import ConvolutionBase
from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.counting import how_many
from dragon.errors import LayerName, UsageError
from dragon.graph.definition import run_state
from dragon.graph.states import present
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.surgery.biases import gives_channels, has_bias
from dragon.surgery.forms import normalisation_type
from dragon.surgery.identity import Made, Statistics, measure, start_as_identity
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.normalisations import Normalisation, PhaseGraphs
from dragon.surgery.places import PLACES, ends_net, only_looked_up, walk
from dragon.surgery.put import put
from dragon.surgery.refusals import refusals
from dragon.surgery.remove import take_out
from dragon.surgery.selection import Words, check_choice, list_words, quote, select, sort_out
from dragon.surgery.sharing import one_weight, param_name
from dragon.surgery.spots import find_spots

__all__ = ["insert"]


def insert(
    model: Model,
    after: Words = "convolution",
    type: str | None = None,
    form: str | None = None,
    place: str = "before_activation",
    keep_init: bool = False,
    keep_bias: bool = False,
    keep_activation: bool = False,
    last: bool = False,
    in_place: bool | None = None,
    fields: Mapping[str, Any] | None = None,
    statistics: Statistics = measure,
    note: Note = silent_note,
) -> Model:
    """A model with a normalisation behind each of the chosen layers.

    after: layers by name, pattern or type. type: that of the new layers; or form: merged (BN) or split (BatchNorm and
    Scale). place: before_activation is right behind the layer; after_activation is behind the activation that follows
    it, over pooling and LRN, or right behind the layer where none follows. keep_init: leave the fillers of
    convolutions, which else become msra. keep_bias: leave biases that the normalisation cancels. keep_activation: leave
    the activation that follows a type with one of its own, such as EvoNormS0. last: also where no
    layer with weights follows, as behind the scores of a classifier; a layer given by its name is always taken.
    in_place: overwrite the top of the layer; by default where its backward does not read the top. fields: settings of
    the new layers, such as batch_norm_param.

    The ParamSpec and the filler of a dropped bias go to beta, which takes its place. If the model has weights, layers
    with running statistics start as the identity, with the `statistics` of the values there. Raises UsageError when
    no layer is left to choose, or one that is given by its name cannot be normalised; of those that a pattern or a type
    chooses, a note says which are left out.
    """
    kind = normalisation_type(type, form, fields)
    check_choice(place, PLACES, "place")
    graphs = PhaseGraphs(model.net)
    runs = _runs(model)
    targets = _targets(graphs, after, kind.normalises, last, note, _left_aside(model, runs))
    named = _named(model.net, after)
    unsure = {i for i in targets if not issubclass(class_of(model.net.layer[i]), Weighted)} - named
    while True:
        lines: list[str] = []
        made = find_spots(graphs, targets, place, kind, runs, lines.append)
        new = model.copy()
        without_bias = _drops_bias(model.net, made, lines.append) if kind.removes_mean and not keep_bias else set()
        cannot = put(new.net, made, kind, without_bias, in_place) or _refused(new, made, unsure)
        if not cannot:
            break
        for index in named.intersection(cannot):
            layer = model.net.layer[index]
            raise UsageError(f"{kind.type} {cannot[index]}", layer=LayerName(layer.name, layer.type))
        targets = [index for index in targets if index not in cannot]
        left = ", ".join(f"{quote([model.net.layer[i].name])} ({kind.type} {why})" for i, why in cannot.items())
        if not targets:
            raise UsageError(f'net "{model.net.name}": no layer is left to insert one behind; left out {left}')
        note(f"left out {left}")
    for line in lines:
        note(line)
    if model.arrays:
        start_as_identity(model, new, made, statistics)
    if kind.brings_activation and not keep_activation:
        _drop_activations(new.net, graphs, targets, note)
    if kind.normalises and not keep_init:
        _suit(new.net, {model.net.layer[index].name for index in targets}, note)
    return new


def _runs(model: Model) -> set[int]:
    """Positions of the layers that run in TRAIN or in TEST, with the level and the stages of the model."""
    states = [run_state(model.net.state, phase, model.level, model.stages) for phase in (pb.TRAIN, pb.TEST)]
    return {index for state in states for index in present(model.net, state)}


def _left_aside(model: Model, runs: set[int]) -> set[int]:
    """Positions of the layers that the level and the stages leave out, where weights or they are given."""
    if not (model.arrays or model.stages or model.level):
        return set()
    names = {model.net.layer[index].name for index in runs}  # layers of one name have one normalisation
    return {index for index, layer in enumerate(model.net.layer) if layer.name not in names}


def _targets(
    graphs: PhaseGraphs, after: Words, normalises: bool, last: bool, note: Note, aside: Collection[int]
) -> list[int]:
    """Positions of the chosen layers that are not normalised yet and do not make the output of the net.

    aside: of those that do not run, and are left.
    """
    net = graphs.net
    waiting = []
    named = _named(net, after)
    for index in select(net, after):
        if index in aside:
            why = "does not run in this level and these stages"
            if index in named:
                raise UsageError(why, layer=LayerName(net.layer[index].name, net.layer[index].type))
            note(f"left {net.layer[index].name}: it {why}")
            continue
        norm = walk(graphs, index).norm
        if norm is not None and normalises:
            note(f"left {net.layer[index].name}: {net.layer[norm].name} normalises it already")
        else:
            waiting.append(index)
    able, left = sort_out(net, after, waiting, _obstacle, "no normalisation can follow it")
    found = []
    for index in able:
        layer = net.layer[index]
        if not last and index not in named and ends_net(graphs, index):
            note(f"left {layer.name}: no layer with weights follows, so it makes the output of the net")
        elif (
            index not in named
            and not issubclass(class_of(layer), Weighted)
            and (reader := only_looked_up(graphs, index))
        ):
            note(f'left {layer.name}: "{reader}" takes no gradient of it, as of labels, indices and regions')
        else:
            found.append(index)
    if not found:
        why = f"; left out {left}" if left else ""
        raise UsageError(f'net "{net.name}": no layer is left to insert one behind{why}')
    if left:
        note(f"left out {left}")
    return found


def _named(net: pb.NetParameter, after: Words) -> set[int]:
    """Positions of the layers that selectors give by their names."""
    words = set(list_words(after))
    return {index for index, layer in enumerate(net.layer) if layer.name in words}


def _refused(new: Model, made: list[Made], unsure: set[int]) -> dict[int, str]:
    """Those of the layers `unsure` whose normalisation cannot be made, as of a single number, and what it says."""
    targets = {one.name: one.target for one in made if one.target in unsure}
    found = refusals(Definition(new.net, folder=new.folder)) if targets else []
    names = [(new.net.layer[index].name, message) for index, message in found]
    return {targets[name]: message for name, message in names if name in targets}


def _obstacle(layer: pb.LayerParameter) -> str:
    """Why no normalisation can follow a layer; an empty string if one can."""
    kind = class_of(layer)
    if len(layer.top) != 1:
        return f"has {how_many(len(layer.top), 'top')}"
    if any(layer.loss_weight) or kind.is_loss:
        return "makes a loss"
    if issubclass(kind, Weighted) and not gives_channels(layer):
        return "has its outputs on another axis than 1"
    return ""


def _drops_bias(net: pb.NetParameter, made: list[Made], note: Note) -> set[int]:
    """Positions of the layers that lose their bias: a normalisation is right behind them.

    A bias that other layers share, by the name of the blob or of the layer, goes only if all of them lose it, and have
    one weight: the means of their values would differ, which the shift in its place takes up.
    """
    found = {one.spot for one in made if one.spot == one.target and has_bias(net.layer[one.spot])}
    while True:
        needed = {spec.name: layer.name for i, layer in enumerate(net.layer) for spec in _others(layer, i in found)}
        layers = {layer.name for i, layer in enumerate(net.layer) if i not in found and has_bias(layer)}
        stay = {}
        for index in found:
            layer = net.layer[index]
            name = param_name(layer, 1)
            other = next(
                (
                    net.layer[i]
                    for i in found
                    if name and name == param_name(net.layer[i], 1) and not one_weight(layer, net.layer[i])
                ),
                None,
            )
            if name and name in needed:
                stay[index] = f'"{needed[name]}" shares it and needs it'
            elif other is not None:
                stay[index] = f'"{other.name}" shares it and has another weight'
            elif layer.name and layer.name in layers:
                stay[index] = "another layer of this name needs it"
        if not stay:
            return found
        for index, why in stay.items():
            note(f"{net.layer[index].name}: the bias stays: {why}")
        found -= set(stay)


def _others(layer: pb.LayerParameter, drops: bool) -> list[pb.ParamSpec]:
    """The ParamSpecs of the blobs that a layer keeps."""
    return [spec for k, spec in enumerate(layer.param) if not (drops and k == 1)]


def _drop_activations(net: pb.NetParameter, graphs: PhaseGraphs, targets: list[int], note: Note) -> None:
    """Take out the activations that follow layers whose normalisation has one of its own."""
    names = {graphs.net.layer[at].name for index in targets for at in walk(graphs, index).activations}
    present = PhaseGraphs(net)
    gone = [Normalisation(present, i) for i, layer in enumerate(net.layer) if layer.name in names]
    for name in sorted(names):
        note(f"removed {name}: the normalisation before it has an activation of its own")
    take_out(net, present, gone, bias=False)


def _suit(net: pb.NetParameter, names: set[str], note: Note) -> None:
    """Let convolutions that are normalised start with the filler msra."""
    for layer in net.layer:
        kind = class_of(layer)
        if layer.name in names and issubclass(kind, ConvolutionBase):
            filler = kind.product_param(layer).weight_filler
            if filler.type != "msra":
                note(f"{layer.name}: weight_filler is msra, was {filler.type}")
                filler.Clear()
                filler.type = "msra"
