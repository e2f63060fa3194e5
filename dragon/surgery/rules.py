"""Include and exclude rules of layers: which nets a layer is part of."""

from __future__ import annotations

from dragon.proto import dragon_pb2 as pb

__all__ = ["copy_rules", "same_conditions"]


def copy_rules(source: pb.LayerParameter, target: pb.LayerParameter) -> None:
    """Let a new layer be part of a net wherever another one is."""
    target.include.extend(source.include)
    target.exclude.extend(source.exclude)


def same_conditions(a: pb.LayerParameter, b: pb.LayerParameter) -> bool:
    """Whether the rules of two layers name the same stages and levels, whatever their phases."""
    return _conditions(a) == _conditions(b)


def _conditions(layer: pb.LayerParameter) -> list[tuple[str, bytes]]:
    found = []
    for kind in ("include", "exclude"):
        for rule in getattr(layer, kind):
            copy = pb.NetStateRule()
            copy.CopyFrom(rule)
            copy.ClearField("phase")
            found += [(kind, copy.SerializeToString(deterministic=True))] if copy.ListFields() else []
    return found
