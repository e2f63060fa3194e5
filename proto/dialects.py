"""Dialects: programs before ours in which a layer type means something else than here.

A net or a solver names its dialect in the field `profile`, or the caller does (`--profile`). Reading a net sets the
same field in each layer that the dialect gives another meaning; the layer type then takes its form for that dialect.
"""

from __future__ import annotations

from collections.abc import Iterator

from dragon.errors import LayerName, PrototxtError, nearest
from dragon.proto import dragon_pb2 as pb
from dragon.proto.profiles import PROFILES, Profile

__all__ = ["DOUBT", "dialect_of", "doubtful_layers", "mark_layers", "needs_marks", "set_profile"]

DOUBT = (
    "sets decay without average: it is read as the weight of the history, by Caffe's rule; in the first Dragon, where "
    "BatchNorm includes scale and shift, it is the weight of the newest batch: profile dragon-2016"
)


def dialect_of(name: str) -> Profile | None:
    """The profile of this name if it is a dialect; None for "" and other profiles. Raises PrototxtError."""
    if not name:
        return None
    if name not in PROFILES:
        known = ", ".join(PROFILES)
        raise PrototxtError(f'unknown profile "{name}"{nearest(name, PROFILES)}; known are {known}')
    return PROFILES[name] if PROFILES[name].dialect else None


def set_profile(message: pb.NetParameter | pb.SolverParameter, name: str | None) -> None:
    """Set the dialect of a net or solver; None, and profiles that are no dialects, leave it as it is.

    Raises PrototxtError for an unknown profile, and if the message names another one.
    """
    if not name or dialect_of(name) is None:
        return
    if message.profile and message.profile != name:
        raise PrototxtError(f'it says profile: "{message.profile}", not "{name}"')
    message.profile = name


def needs_marks(net: pb.NetParameter) -> bool:
    """Whether `mark_layers` would change the net, or refuse it."""
    return bool(net.profile) and any(True for _ in _meant(net))


def mark_layers(net: pb.NetParameter) -> int:
    """Set `profile` in the layers that the net's dialect gives another meaning; their number.

    Raises PrototxtError for an unknown profile.
    """
    found = list(_meant(net))
    for layer, kind in found:
        layer.type = kind
        layer.profile = net.profile
    return len(found)


def _meant(net: pb.NetParameter) -> Iterator[tuple[pb.LayerParameter, str]]:
    """The layers of another meaning that have no mark yet, and the types that they have here."""
    dialect = dialect_of(net.profile)
    if dialect is None:
        return
    for layer in net.layer:
        if layer.profile and layer.profile != net.profile:
            raise PrototxtError(
                f'it says profile: "{layer.profile}", its net "{net.profile}"', layer=LayerName(layer.name, layer.type)
            )
        if not layer.profile and layer.type in dialect.dialect:
            yield layer, dialect.dialect[layer.type]


def doubtful_layers(net: pb.NetParameter) -> list[int]:
    """Indices of layers that say, without a profile, what is usual in the first Dragon and read otherwise here."""
    return [
        i
        for i, layer in enumerate(net.layer)
        if not layer.profile
        and layer.type in PROFILES["dragon-2016"].dialect
        and layer.batch_norm_param.HasField("decay")
        and not layer.batch_norm_param.HasField("average")
    ]
