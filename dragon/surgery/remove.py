"""Removal of normalisations from a net: the values that they read take the place of those that they made."""

from __future__ import annotations

from dragon.bases.batch_statistics import normalization_of
from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.errors import LayerName, UsageError
from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.biases import Bias, add_bias, is_plain
from dragon.surgery.fold import fold
from dragon.surgery.forms import is_normalisation
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.normalisations import Normalisation, PhaseGraphs, by_name, check_ends
from dragon.surgery.selection import Words, select
from dragon.surgery.values import rename_value, replace_value

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
    take_out(new.net, graphs, norms, bias)
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


def take_out(net: pb.NetParameter, graphs: PhaseGraphs, norms: list[Normalisation], bias: bool) -> None:
    """Take normalisations with their Scales out of a definition; their readers read what they read.

    Raises UsageError for one whose top counts in the loss.
    """
    for norm in norms:
        if any(norm.last.loss_weight):
            where = LayerName(norm.last.name, norm.last.type)
            raise UsageError("its top counts in the loss: it can be neither removed nor moved", layer=where)
    for group in by_name(norms).values():
        if bias:
            _bring_bias_back(graphs, group)
    gone = {index for norm in norms for index in (norm.index, *norm.scales)}
    for norm in norms:
        index = norm.index
        old, new = norm.last.top[0], norm.layer.bottom[0]
        if old == new:
            continue
        makers = [(graph, graph.maker(index)) for graph in graphs.of(index)]
        alone = all(maker is not None and graph.reader(maker) == index for graph, maker in makers)
        change = rename_value if alone else replace_value
        change(net, max((index, *norm.scales)) + 1, phases(norm.layer), old, new)
    for index in sorted(gone, reverse=True):
        del net.layer[index]


def _bring_bias_back(graphs: PhaseGraphs, group: list[Normalisation]) -> None:
    """Give the layers that alone are read by normalisations of one name a bias, if they have none."""
    for norm in group:
        for graph in graphs.of(norm.index):
            maker = graph.maker(norm.index)
            if maker is None or graph.reader(maker) != norm.index:
                continue
            layer = graphs.net.layer[maker]
            kind = class_of(layer)
            if (
                issubclass(kind, Weighted)
                and not kind.product_param(layer).bias_term
                and kind.product_param(layer).axis == 1
            ):
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
