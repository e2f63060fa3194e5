"""Removal of normalisations from a net: the values that they read take the place of those that they made."""

from __future__ import annotations

from dragon.bases.batch_statistics import normalization_of
from dragon.bases.registry import class_of
from dragon.errors import LayerName, UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.biases import Bias, add_bias, gives_channels, has_bias, is_plain
from dragon.surgery.fold import fold
from dragon.surgery.forms import is_normalisation
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.normalisations import Normalisation, PhaseGraphs, by_name, check_ends
from dragon.surgery.rewiring import Rewiring
from dragon.surgery.rules import copy_rules
from dragon.surgery.selection import Words, quote, select

__all__ = ["remove", "take_out"]


def remove(model: Model, layers: Words | None = None, bias: bool = True, note: Note = silent_note) -> Model:
    """A model without batch normalisations and their Scales; `layers` chooses among all layers that normalise.

    If the model has weights, this is `fold`: TEST computes the same, and what cannot be folded stays. Else a layer with
    weights that had no bias and alone was normalised gets one back, with the ParamSpec and filler of beta; not with
    `bias` false. Raises UsageError when there is nothing to remove or to fold, or a chosen layer does not normalise.
    """
    if model.arrays:
        chosen = None if layers is None else {model.net.layer[i].name for i in select(model.net, layers)}
        new, done, left = fold(model, chosen)
        for name, target in done:
            note(f"folded {name} into {target}")
        for name, why in left:
            note(f"left {name}: {why}")
        if not done:
            raise UsageError("no batch normalisation could be folded into the layer before it")
        return new
    new = model.copy()
    graphs = PhaseGraphs(new.net)
    norms = chosen_normalisations(graphs, layers)
    for name, kind in dict.fromkeys((norm.layer.name, norm.layer.type) for norm in norms):
        note(f"removed {name} ({kind})")
    take_out(new.net, graphs, norms, bias, note)
    return new


def chosen_normalisations(graphs: PhaseGraphs, layers: Words | None) -> list[Normalisation]:
    """The normalisations among chosen layers, of all types; every batch normalisation where none are chosen.

    A layer that shares its name with a chosen one is chosen too. Raises UsageError if there are none.
    """
    net = graphs.net
    known = {norm.index: norm for norm in graphs.normalisations()}
    chosen = list(known) if layers is None else select(net, layers)
    if not chosen:
        others = [layer.name for layer in net.layer if is_normalisation(layer)]
        hint = f"; others are taken by name or type: {', '.join(dict.fromkeys(others))}" if others else ""
        raise UsageError(f'net "{net.name}" has no batch normalisation with running statistics{hint}')
    wrong = [net.layer[i] for i in chosen if not is_normalisation(net.layer[i])]
    if wrong:
        raise UsageError(f'layer "{wrong[0].name}" ({wrong[0].type}) is no normalisation')
    names = {net.layer[i].name for i in chosen}
    found = [i for i, layer in enumerate(net.layer) if layer.name in names and is_normalisation(layer)]
    for i in found:
        check_ends(net.layer[i])
    return [known.get(i) or Normalisation(graphs, i) for i in found]


def take_out(
    net: pb.NetParameter, graphs: PhaseGraphs, norms: list[Normalisation], bias: bool, note: Note = silent_note
) -> None:
    """Take normalisations with their Scales out of a definition; their readers read what they read.

    note: told of those in whose place a copy of their bottom stays, since readers differ between phases or stages.

    Raises UsageError for one whose top counts in the loss.
    """
    for norm in norms:
        if any(norm.last.loss_weight):
            where = LayerName(norm.last.name, norm.last.type)
            raise UsageError("its top counts in the loss: it can be neither removed nor moved", layer=where)
    for group in by_name(norms).values():
        if bias:
            _bring_bias_back(graphs, group)
    waiting = [[norm.index, *norm.scales] for norm in norms]
    wiring = Rewiring(net, graphs)
    while waiting:  # the last first: a removal changes what later layers read
        now = _together(net, waiting)
        _bypass(wiring, now, note)
        waiting = [one for one in waiting if one not in now]
    wiring.finish()


def _together(net: pb.NetParameter, waiting: list[list[int]]) -> list[list[int]]:
    """The last normalisation, positions of it and its Scales, with those that make the same top in other states."""
    top = _ends(net, waiting[-1])[1]
    group = [one for one in waiting if _ends(net, one)[1] == top]
    alike = [one for one in group if _ends(net, one) == _ends(net, waiting[-1])]
    other = next((one for one in group if one not in alike and set(one) & {i for k in alike for i in k}), None)
    if other is not None:
        layer, first = net.layer[other[0]], net.layer[alike[0][0]]
        raise UsageError(
            f'it and "{first.name}" have one Scale and different bottoms: neither can be removed',
            layer=LayerName(layer.name, layer.type),
        )
    return alike


def _ends(net: pb.NetParameter, one: list[int]) -> tuple[str, str]:
    """The bottom of a normalisation and the top of its last layer."""
    return net.layer[one[0]].bottom[0], net.layer[one[-1]].top[0]


def _bypass(wiring: Rewiring, group: list[list[int]], note: Note) -> None:
    """Let what reads the tops of normalisations read their bottom, and take them out.

    Where a reader finds another value under the name of the top in another phase or stage, a Power that copies the
    bottom stays in place of each normalisation.
    """
    net = wiring.net
    new, old = _ends(net, group[0])
    gone = {index for one in group for index in one}
    last = {index for one in group for index in one[1:] or one}
    makers, alone = wiring.makers([one[0] for one in group])
    for through in (True, False)[not alone :] if old != new else ():
        readers = wiring.readers(last, old, through)
        if not readers.mixed:
            wiring.rename(readers.found, {*last, *makers}, old, new, through)
            break
    else:
        if old != new:
            _put_copies(net, [one[0] for one in group], old, note)
            note(f'{quote(net.layer[i].name for i in sorted(readers.mixed))} read another "{old}" in some nets')
            gone -= {one[0] for one in group}
            wiring.restart()
    wiring.take_out(gone, makers, old, new)


def _put_copies(net: pb.NetParameter, indices: list[int], top: str, note: Note) -> None:
    """Put a Power that copies its bottom in place of each layer. Not a Split, whose top shares its bottom's memory."""
    for layer in (net.layer[index] for index in indices):
        copy = pb.LayerParameter(name=layer.name, type="Power", bottom=layer.bottom, top=[top])
        copy_rules(layer, copy)
        layer.CopyFrom(copy)
        note(f"{layer.name} is a Power now, which copies its bottom")


def _bring_bias_back(graphs: PhaseGraphs, group: list[Normalisation]) -> None:
    """Give the layers that alone are read by normalisations of one name a bias, if they have none."""
    for norm in group:
        for graph in graphs.of(norm.index):
            maker = graph.maker(norm.index)
            if maker is None or graph.reader(maker) != norm.index:
                continue
            layer = graphs.net.layer[maker]
            if gives_channels(layer) and not has_bias(layer):
                add_bias(layer, _as_bias(norm))


def _as_bias(norm: Normalisation) -> Bias:
    """What a definition says of beta, for the bias that takes its place."""
    layer, settings = norm.last, normalization_of(norm.last)
    param = getattr(layer, class_of(layer).settings[0])
    at = 1 if settings is None else settings.blobs.beta
    found = Bias()
    if at is not None and at < len(layer.param) and not is_plain(layer.param[at]):
        found.spec = pb.ParamSpec()
        found.spec.CopyFrom(layer.param[at])
    if "bias_filler" in param.DESCRIPTOR.fields_by_name and param.HasField("bias_filler"):
        found.filler = pb.FillerParameter()
        found.filler.CopyFrom(param.bias_filler)
    return found
