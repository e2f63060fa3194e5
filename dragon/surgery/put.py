"""The layers of normalisations put into a net, behind the layers that they normalise."""

from __future__ import annotations

from collections.abc import Collection

from dragon.bases.registry import class_of, create
from dragon.bases.weighted import Weighted
from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.biases import Bias, drop_bias, is_frozen, is_plain
from dragon.surgery.forms import NormalisationType, add_specs, set_shift_filler, share_statistics
from dragon.surgery.identity import Made
from dragon.surgery.rewiring import Rewiring
from dragon.surgery.rules import copy_rules
from dragon.surgery.selection import quote
from dragon.surgery.sharing import shared_name

__all__ = ["put"]


def put(
    net: pb.NetParameter,
    made: Collection[Made],
    kind: NormalisationType,
    without_bias: Collection[int],
    in_place: bool | None = None,
) -> dict[int, str]:
    """Put the layers of normalisations behind their spots; of targets that cannot have one, their positions and why.

    without_bias: positions of the targets that lose their bias. in_place: overwrite the top of the spot; by default
    where its backward does not read it, and where readers find another value under its name in another phase or stage.
    """
    cannot: dict[int, str] = {}
    named: dict[str, list[Made]] = {}
    for one in made:
        named.setdefault(one.name, []).append(one)
    wiring = Rewiring(net)
    for group in sorted(named.values(), key=lambda group: -max(one.spot for one in group)):
        spots = [one.spot for one in group]
        why = ""
        overwrite = (
            all(issubclass(class_of(net.layer[spot]), Weighted) for spot in spots) if in_place is None else in_place
        )
        if not overwrite:
            makers = _makers(net, group)
            values = {value: wiring.readers(found, value, through=True) for value, found in makers.items()}
            mixed = {index for readers in values.values() for index in readers.mixed}
            if not mixed:
                for value, readers in values.items():
                    wiring.rename(readers.found, makers[value], value, group[0].name, through=True)
            elif in_place is None and not any(_needs_top(net.layer[spot]) for spot in spots):
                overwrite = True
            else:
                others = quote(net.layer[index].name for index in sorted(mixed))
                why = f"needs a top of its own there, which {others} cannot read in every phase and stage"
        for one in group:
            if why:
                cannot[one.target] = why
                continue
            value = net.layer[one.spot].top[0]
            layers = _layers(net, one, value, kind, one.spot in without_bias, overwrite)
            wiring.put(one.spot, layers, (one.spot, one.like), value)
    wiring.finish()
    return cannot


def _makers(net: pb.NetParameter, group: Collection[Made]) -> dict[str, set[int]]:
    """The values behind which normalisations of one name stand, with their makers.

    Those are the spots, and what gives their rules, behind which they are in nets that lack the spot.
    """
    found: dict[str, set[int]] = {}
    for one in group:
        found.setdefault(net.layer[one.spot].top[0], set()).update((one.spot, one.like))
    return found


def _needs_top(layer: pb.LayerParameter) -> bool:
    """Whether the backward of a layer needs its top, which a layer in place would overwrite."""
    if pb.TRAIN not in phases(layer):
        return False
    if layer.type == "Python":  # who knows
        return True
    made = create(layer)
    return made.reads_top_in_place if layer.top[0] in layer.bottom else made.reads_top


def _layers(
    net: pb.NetParameter, made: Made, value: str, kind: NormalisationType, drops: bool, in_place: bool
) -> list[pb.LayerParameter]:
    """The layers of one normalisation of a value; its target loses its bias if `drops`."""
    owner = net.layer[made.target]
    layers = kind.layers(made.name, made.scale, value, value if in_place else made.name)
    made.scaled = len(layers) > 1
    bias = drop_bias(owner) if drops else None
    made.dropped = drops
    made.shared = _carry(layers, owner, bias, shared_name(net, owner))
    for layer in layers:
        copy_rules(net.layer[made.like], layer)
    return layers


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
