"""Layers that become of another type, and normalisations that move to another place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dragon.bases.registry import class_of, find_class, layer_types
from dragon.bases.weighted import Weighted
from dragon.errors import UsageError, nearest
from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.changes import pairs
from dragon.surgery.fields import set_layers_fields
from dragon.surgery.forms import add_specs, is_normalisation, normalisation_type, scale_name
from dragon.surgery.learning import learned_blobs
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.normalisations import Normalisation, PhaseGraphs
from dragon.surgery.places import PLACES, walk
from dragon.surgery.remove import chosen_normalisations, take_out
from dragon.surgery.rules import copy_rules, same_conditions
from dragon.surgery.selection import Words, check_choice, find_type, select
from dragon.surgery.values import rename_value

__all__ = ["move", "replace_type"]

_Fields = Mapping[str, Any]


def replace_type(model: Model, types: Mapping[str, str | _Fields], note: Note = silent_note) -> Model:
    """A model in which chosen layers are of another type.

    types: for each selector the new type, or fields of the new layer, `type` among them. A normalisation becomes
    another one together with its Scale, which goes or comes as the type needs; gamma and beta learn as before. Other
    layers keep only name, bottoms, tops and rules. Weights of changed layers are dropped. Raises UsageError for an
    unknown type.
    """
    new = model.copy()
    for word, given in pairs(types, "replace_type", (str, Mapping)):
        fields = dict(given) if isinstance(given, Mapping) else {"type": given}
        kind = fields.pop("type", None)
        if not isinstance(kind, str):
            raise UsageError(f'replace_type "{word}": the new type is missing')
        chosen = select(new.net, word)
        names = dict.fromkeys(new.net.layer[i].name for i in chosen)
        if all(is_normalisation(new.net.layer[i]) for i in chosen) and _normalises(kind):
            _replace_normalisations(new, word, kind, fields)
        else:
            _replace_layers(new, chosen, kind, fields)
        note(f"{', '.join(names)}: now {kind}")
    return new


def _normalises(kind: str) -> bool:
    found = kind if find_class(kind) is not None else find_type(kind)
    return found is not None and is_normalisation(pb.LayerParameter(type=found))


def _replace_layers(model: Model, chosen: list[int], kind: str, fields: _Fields) -> None:
    found = kind if find_class(kind) is not None else find_type(kind)
    if found is None:
        raise UsageError(f'there is no layer type "{kind}"{nearest(kind, layer_types())}')
    for index in chosen:
        layer = model.net.layer[index]
        fresh = pb.LayerParameter(name=layer.name, type=found, bottom=layer.bottom, top=layer.top)
        copy_rules(layer, fresh)
        set_layers_fields([fresh], fields, layer.name)
        layer.CopyFrom(fresh)
        model.arrays.pop(layer.name, None)


def _replace_normalisations(model: Model, word: str, kind: str, fields: _Fields) -> None:
    net = model.net
    norms = chosen_normalisations(PhaseGraphs(net), word)
    made, taken = normalisation_type(kind, None, fields), {layer.name for layer in net.layer}
    scales: dict[str, str] = {}
    fresh: dict[int, list[pb.LayerParameter]] = {}
    for norm in norms:
        name = norm.layer.name
        if name not in scales:
            scales[name] = norm.last.name if norm.scales else scale_name(name, taken)
            taken.add(scales[name])
        layers = made.layers(name, scales[name], norm.layer.bottom[0], norm.last.top[0])
        specs = _affine_specs(norm)
        if len(specs) == 2:
            add_specs(layers, *specs)
        for layer in layers:
            copy_rules(norm.layer, layer)
        layers[-1].loss_weight.extend(norm.last.loss_weight)
        if norm.layer.HasField("phase"):
            layers[0].phase = norm.layer.phase
        fresh[norm.index] = layers
        for index in (norm.index, *norm.scales):
            model.arrays.pop(net.layer[index].name, None)
    gone = {index for norm in norms for index in (norm.index, *norm.scales)}
    rest = [fresh.get(i, [] if i in gone else [layer]) for i, layer in enumerate(net.layer)]
    _set_layers(net, [layer for layers in rest for layer in layers])


def _affine_specs(norm: Normalisation) -> list[pb.ParamSpec]:
    """The ParamSpecs of gamma and beta; fewer where the definition does not give them."""
    return [norm.last.param[k] for k in learned_blobs(norm.last)[:2] if k < len(norm.last.param)]


def _set_layers(net: pb.NetParameter, layers: list[pb.LayerParameter]) -> None:
    copies = pb.NetParameter(layer=layers)
    del net.layer[:]
    net.layer.extend(copies.layer)


def move(model: Model, place: str = "after_activation", layers: Words | None = None, note: Note = silent_note) -> Model:
    """A model without weights whose normalisations stand before or behind the activations of the layers before them.

    layers: the normalisations that move; all batch normalisations by default. A bias stays as it is. What cannot move,
    since no activation or no layer with weights is there alone, stays and is noted. Raises UsageError for a model with
    weights, which would not compute the same, and when nothing moves.
    """
    check_choice(place, PLACES, "place")
    if model.arrays:
        raise UsageError("a normalisation that moves computes something else: move takes a net without weights")
    new = model.copy()
    moved = 0
    for name in dict.fromkeys(n.layer.name for n in chosen_normalisations(PhaseGraphs(new.net), layers)):
        why = _move_one(new.net, name, place)
        moved += not why
        note(f"left {name}: {why}" if why else f"moved {name}")
    if not moved:
        raise UsageError(f'net "{model.net.name}": no normalisation can move')
    return new


def _move_one(net: pb.NetParameter, name: str, place: str) -> str:
    """Move the normalisations of a name; why that cannot be, or an empty string."""
    graphs = PhaseGraphs(net)
    norms = chosen_normalisations(graphs, [name])
    sources = {_source(graphs, norm.index) for norm in norms}
    if len(norms) != 1 or len(sources) != 1 or None in sources:
        return "it does not follow one layer with weights alone"
    norm, source = norms[0], sources.pop()
    assert source is not None
    pieces = pb.NetParameter(layer=[net.layer[i] for i in (norm.index, *norm.scales)])
    trial = pb.NetParameter()
    trial.CopyFrom(net)
    before = PhaseGraphs(trial)
    take_out(trial, before, chosen_normalisations(before, [name]), bias=False)  # all of it comes after the source
    if any(layer.name == name for layer in trial.layer):
        return "its readers read another value in some phases or stages"
    spots = (source,) if place == PLACES[0] else walk(PhaseGraphs(trial), source).activations
    if len(spots) != 1:
        return "no activation follows alone"
    spot = spots[0]
    value = trial.layer[spot].top[0]
    in_place = spot == source
    top = value if in_place else name
    first = pieces.layer[0]
    if not in_place and not (phases(first) == phases(trial.layer[spot]) and same_conditions(first, trial.layer[spot])):
        return f'"{trial.layer[spot].name}" is in other phases or stages too'
    if not in_place and any(top in layer.top for layer in trial.layer):
        return f'there is another blob "{top}"'
    pieces.layer[0].bottom[0] = value
    pieces.layer[0].top[0] = top
    for layer in pieces.layer[1:]:
        layer.bottom[0] = layer.top[0] = top
    if not in_place:
        try:
            rename_value(trial, spot, value, top)
        except UsageError as error:
            return error.message
    _set_layers(net, [*trial.layer[: spot + 1], *pieces.layer, *trial.layer[spot + 1 :]])
    return ""


def _source(graphs: PhaseGraphs, index: int) -> int | None:
    """The layer with weights from which a value comes over activations, pooling and LRN, each read alone."""
    at = graphs.maker(index)
    while at is not None:
        if graphs.only_reader(at) is None:
            return None
        if issubclass(class_of(graphs.net.layer[at]), Weighted):
            return at
        at = graphs.maker(at)
    return None
