"""Which layers share a weight, and so the normalisations that are put behind them."""

from __future__ import annotations

from dragon.bases.registry import class_of
from dragon.bases.weighted import Weighted
from dragon.layers.deconvolution import Deconvolution
from dragon.proto import dragon_pb2 as pb

__all__ = ["one_weight", "param_name", "shared_name"]


def param_name(layer: pb.LayerParameter, blob: int) -> str:
    """The name under which a layer shares a blob; empty without one."""
    return layer.param[blob].name if blob < len(layer.param) else ""


def one_weight(a: pb.LayerParameter, b: pb.LayerParameter) -> bool:
    """Whether two layers have the same weight, by its name or by theirs, and use it alike."""
    name = param_name(a, 0)
    return a.name == b.name or bool(name and name == param_name(b, 0) and _use(a) == _use(b))


def _use(layer: pb.LayerParameter) -> tuple[int, bool]:
    """Outputs of a layer with weights, and whether these are the second axis of its weight, as in a tied decoder."""
    kind = class_of(layer)
    assert issubclass(kind, Weighted)
    p = kind.product_param(layer)
    return p.num_output, issubclass(kind, Deconvolution) != bool(getattr(p, "transpose", False))


def shared_name(net: pb.NetParameter, owner: pb.LayerParameter) -> str:
    """The name by which layers share normalisations that share the weight before them and use it alike; "" for none."""
    name = param_name(owner, 0) if issubclass(class_of(owner), Weighted) else ""
    if not name:
        return ""
    sharing = [one for one in net.layer if param_name(one, 0) == name and issubclass(class_of(one), Weighted)]
    uses = list(dict.fromkeys(_use(one) for one in sharing))
    place = uses.index(_use(owner))
    return f"{name}_{place + 1}" if place else name
