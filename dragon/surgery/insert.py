"""Insertion of normalisations into a net: where, in which form, and what changes in the layers around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dragon.bases.convolution import ConvolutionBase
from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.counting import how_many
from dragon.errors import UsageError
from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.surgery.biases import Bias, drop_bias, has_bias, is_frozen, is_plain
from dragon.surgery.forms import (
    NormalisationType,
    add_specs,
    norm_name,
    normalisation_type,
    scale_name,
    set_shift_filler,
    share_statistics,
)
from dragon.surgery.identity import Made, Statistics, measure, start_as_identity
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.normalisations import Normalisation, PhaseGraphs
from dragon.surgery.places import PLACES, ends_net, only_looked_up, overwritten, walk
from dragon.surgery.refusals import refusals
from dragon.surgery.remove import take_out
from dragon.surgery.rules import copy_rules
from dragon.surgery.selection import Words, check_choice, list_words, quote, select, sort_out
from dragon.surgery.sharing import one_weight, param_name, shared_name
from dragon.surgery.values import rename_value

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
    targets = _targets(graphs, after, kind.normalises, last, note)
    unsure = {i for i in targets if not issubclass(class_of(model.net.layer[i]), Weighted)} - _named(model.net, after)
    while True:
        lines: list[str] = []
        made = _spots(graphs, targets, place, kind, lines.append)
        new = model.copy()
        without_bias = _drops_bias(model.net, made, lines.append) if kind.removes_mean and not keep_bias else set()
        for one in sorted(made, key=lambda made: -made.spot):
            _add(new, one, kind, one.spot in without_bias, in_place)
        cannot = _refused(new, made, unsure)
        if not cannot:
            break
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


def _targets(graphs: PhaseGraphs, after: Words, normalises: bool, last: bool, note: Note) -> list[int]:
    """Positions of the chosen layers that are not normalised yet and do not make the output of the net."""
    net = graphs.net
    waiting = []
    for index in select(net, after):
        norm = walk(graphs, index).norm
        if norm is not None and normalises:
            note(f"left {net.layer[index].name}: {net.layer[norm].name} normalises it already")
        else:
            waiting.append(index)
    able, left = sort_out(net, after, waiting, _obstacle, "no normalisation can follow it")
    named = _named(net, after)
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
    if issubclass(kind, Weighted) and kind.product_param(layer).axis != 1:
        return "has its outputs on another axis than 1"
    return ""


def _spots(graphs: PhaseGraphs, targets: list[int], place: str, kind: NormalisationType, note: Note) -> list[Made]:
    """The normalisations to make, one for each position; layers of one name have one of one name behind them."""
    net = graphs.net
    taken = {layer.name for layer in net.layer} | {top for layer in net.layer for top in layer.top}
    names: dict[str, tuple[str, str]] = {}
    found: dict[int, Made] = {}
    ends = {norm.index: norm.scales for norm in graphs.normalisations() if norm.scales}
    for index in targets:
        layer = net.layer[index]
        spots = [(spot, spot) for spot in ends.get(index, (index,))]
        if place == "after_activation":
            partly, activations = overwritten(graphs, index), walk(graphs, index).activations
            if partly is not None:
                at, maker = partly
                names_of = net.layer[at].name, net.layer[maker].name
                note(f"{names_of[0]} is in some nets only: the normalisation is behind {names_of[1]} in the others")
                spots = [partly]
            elif activations:
                spots = [(spot, spot) for spot in activations]
            else:
                note(f"{layer.name}: no activation follows it alone; the normalisation is right behind it")
        if layer.name not in names:
            name = norm_name(kind, layer.name, taken)
            scale = scale_name(name, {name, *taken})
            names[layer.name] = name, scale
            taken |= {name, scale}
            behind = " and ".join(dict.fromkeys(net.layer[spot].name for spot, _ in spots))
            note(f"inserted {name} ({kind.type}) behind {behind}")
        for spot, like in spots:
            measured = (
                spot if phases(net.layer[spot]) != phases(net.layer[like]) else like
            )  # a net without stages has it
            found.setdefault(spot, Made(index, spot, like, layer.name, net.layer[measured].name, *names[layer.name]))
    return list(found.values())


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


def _add(model: Model, made: Made, kind: NormalisationType, drops: bool, in_place: bool | None) -> None:
    """Put the layers of one normalisation behind its spot."""
    net = model.net
    before, like, owner = net.layer[made.spot], net.layer[made.like], net.layer[made.target]
    value = before.top[0]
    if in_place is None:
        in_place = issubclass(class_of(before), Weighted)
    top = value if in_place else made.name
    layers = kind.layers(made.name, made.scale, value, top)
    made.scaled = len(layers) > 1
    bias = drop_bias(owner) if drops else None
    made.dropped = drops
    made.shared = _carry(layers, owner, bias, shared_name(net, owner))
    for layer in layers:
        copy_rules(like, layer)
    if not in_place:
        rename_value(net, made.spot + 1, phases(like), value, top)
    rest = [_copy(layer) for layer in net.layer[made.spot + 1 :]]
    del net.layer[made.spot + 1 :]
    net.layer.extend([*layers, *rest])


def _carry(layers: list[pb.LayerParameter], owner: pb.LayerParameter, bias: Bias | None, shared: str) -> str:
    """Let gamma and beta learn as the weight and the bias did, where a definition says how.

    shared: the name by which the normalisations of several layers are shared; "" for none. Returns it.
    """
    weight = pb.ParamSpec()
    if issubclass(class_of(owner), Weighted) and owner.param:
        weight.CopyFrom(owner.param[0])
    beta = pb.ParamSpec()
    if bias is not None:
        beta.CopyFrom(bias.spec or beta)
    elif is_frozen(weight):
        beta.CopyFrom(pb.ParamSpec(lr_mult=0, decay_mult=0))
    if shared:
        weight.name = f"{shared}_gamma"
        beta.name = beta.name or ("" if bias is not None else f"{shared}_beta")
    if shared or not (is_plain(weight) and is_plain(beta)):
        add_specs(layers, weight, beta)
    if bias is not None and bias.filler is not None and (bias.filler.type != "constant" or bias.filler.value):
        set_shift_filler(layers, bias.filler)
    if shared:
        share_statistics(layers, shared)
    return shared


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


def _copy(layer: pb.LayerParameter) -> pb.LayerParameter:
    copy = pb.LayerParameter()
    copy.CopyFrom(layer)
    return copy
