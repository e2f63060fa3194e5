"""Why a solver's state does not fit: its rule, which net it belongs to, and the first layer that is another here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon.errors import DragonError, WeightsError
from dragon.files.stored_weights import read_weights
from dragon.memory.storage import Array
from dragon.proto.binary_net import read_binary_net
from dragon.solver.rules import RULES, Rule

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["check_history", "check_rule", "other_net"]


def check_rule(path: str, stored: str, rule: Rule) -> None:
    """Raise WeightsError where the rule that wrote a state, if it says which, keeps another history than `rule`."""
    theirs = RULES.get(stored)
    if theirs is not None and theirs.keeps != rule.keeps:
        raise WeightsError(
            f"{path}: the state of a solver of type {theirs.name}, which keeps {theirs.keeps}; this one of type "
            f'{rule.name} keeps {rule.keeps}: go on with type: "{theirs.name}", or start from the weights (--weights)'
        )


def check_history(what: str, value: Array, slot: int, rule: Rule) -> None:
    """Raise WeightsError for negative values in a slot of squares, as another rule's state of Caffe has them."""
    if slot in rule.squares and (value < 0).any():
        raise WeightsError(
            f"{what} has negative values, a solver of type {rule.name} keeps {rule.keeps}: it is the state of one of "
            "another type; go on with that, or start from the weights (--weights)"
        )


def other_net(net: Net, model: str) -> str:
    """A clause that names both nets and the first layer in which they differ; "" where `model` fits `net`."""
    try:
        stored = {name: [array.shape for array in arrays] for name, arrays in read_weights(model) if arrays}
    except DragonError:
        return ""
    own = {name: [blob.shape for blob in blobs] for name, blobs in net.params.items()}
    for name in [*own, *stored]:
        there, here = stored.get(name), own.get(name)
        if there is None or here is None or _sizes(there) != _sizes(here):
            layer = f'layer "{name}" has {_shapes(there)} there and {_shapes(here)} here'
            return f'; it is the state of {_name(model)}, this is net "{net.name}": {layer}'
    return ""


def _sizes(shapes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Without the axes of 1 that older files have in front."""
    return [tuple(dim for dim in shape if dim != 1) for shape in shapes]


def _shapes(shapes: list[tuple[int, ...]] | None) -> str:
    return "no blobs" if not shapes else ", ".join(map(str, shapes))


def _name(model: str) -> str:
    try:
        name = read_binary_net(model).name
    except DragonError:  # HDF5 holds no name
        name = ""
    return f'net "{name}"' if name else f"the net of {model}"
