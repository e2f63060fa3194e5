"""From the net as defined to the net as run: only the layers that a state admits, a Split for every shared blob."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dragon.errors import ArgumentTypeError, LayerName, Position, PrototxtError, UsageError, nearest
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition

__all__ = [
    "admits",
    "definition_of",
    "filter_definition",
    "filter_net",
    "insert_splits",
    "insert_splits_tracked",
    "left_out",
    "places_of",
    "rule_matches",
    "run_state",
]

_PHASES = {int(phase): phase for phase in (pb.TRAIN, pb.TEST)}


def definition_of(
    model: str | Path | pb.NetParameter | Definition[pb.NetParameter],
    allow_unknown: bool = False,
    profile: str | None = None,
) -> Definition[pb.NetParameter]:
    """The definition, in the present form, of what stands for a net: the path of a prototxt, a message, a Definition.

    allow_unknown: skip unknown fields of a file, with a warning each. profile: the dialect, where the net does not name
    it. Raises PrototxtError, and UsageError for anything else.
    """
    if isinstance(model, str | Path):
        from dragon.proto.text import read_net_definition

        return read_net_definition(model, allow_unknown, profile)
    from dragon.proto.dialects import set_profile
    from dragon.proto.upgrade import upgrade_net

    if not isinstance(model, pb.NetParameter | Definition):
        raise ArgumentTypeError(f"a net is the path of a prototxt, a NetParameter or a Definition, got {model!r:.80}")
    definition = Definition(model) if isinstance(model, pb.NetParameter) else model
    net = definition.message
    if profile:
        net = pb.NetParameter()
        net.CopyFrom(definition.message)
        set_profile(net, profile)
    upgraded = upgrade_net(net)  # the same one unless it is of an older form
    if upgraded is definition.message:
        return definition
    return replace(definition, message=upgraded, lines=definition.lines if upgraded is net else ())


def rule_matches(rule: pb.NetStateRule, state: pb.NetState) -> bool:
    """Whether `state` meets every condition that `rule` sets."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    stages = set(state.stage)
    return all(s in stages for s in rule.stage) and not any(s in stages for s in rule.not_stage)


def admits(layer: pb.LayerParameter, state: pb.NetState) -> bool:
    """Whether a layer's include and exclude rules admit `state`."""
    if layer.include and layer.exclude:
        raise PrototxtError("give include rules or exclude rules, not both", layer=LayerName(layer.name, layer.type))
    if layer.include:
        return any(rule_matches(rule, state) for rule in layer.include)
    return not any(rule_matches(rule, state) for rule in layer.exclude)


def filter_net(net: pb.NetParameter, state: pb.NetState) -> pb.NetParameter:
    """A copy of `net` with the layers that `state` admits."""
    admitted = pb.NetParameter()
    admitted.CopyFrom(net)
    del admitted.layer[:]
    admitted.layer.extend(layer for layer in net.layer if admits(layer, state))
    admitted.state.CopyFrom(state)
    return admitted


def filter_definition(
    definition: Definition[pb.NetParameter], state: pb.NetState, net: pb.NetParameter | None = None
) -> Definition[pb.NetParameter]:
    """The definition of the layers that `state` admits, of which each keeps its line.

    net: in place of the definition's, with as many layers.
    """
    whole = definition.message if net is None else net
    kept = [i for i, layer in enumerate(whole.layer) if admits(layer, state)]
    lines = tuple(definition.lines[i] for i in kept) if definition.lines else ()
    return replace(definition, message=filter_net(whole, state), lines=lines)


def places_of(definition: Definition[pb.NetParameter]) -> dict[str, Position]:
    """Where each layer stands, by its name: file and line, or the file alone where several have the name."""
    places: dict[str, Position] = {}
    for i, layer in enumerate(definition.message.layer):
        place = definition.start if layer.name in places else definition.position(i)
        if place is not None:
            places[layer.name] = place
    return places


def insert_splits(net: pb.NetParameter) -> pb.NetParameter:
    """A copy of `net` in which every blob has at most one reader.

    A loss weight counts as a reader and moves to the first output of the split. The names of splits are Caffe's, since
    weights files contain them.
    PrototxtError for a bottom that no earlier layer makes.
    """
    return insert_splits_tracked(net)[0]


def insert_splits_tracked(
    net: pb.NetParameter,
    positions: Sequence[Position | None] | None = None,
    whole: pb.NetParameter | None = None,
) -> tuple[pb.NetParameter, list[Position | None]]:
    """As insert_splits, and the position in its file of each layer of the copy; None for a split.

    whole: the net before filter_net, so that an error can name the layer that was left out.
    """
    places = positions or [None] * len(net.layer)
    # a value is (layer index, top index): an in-place layer makes a new one of the same name
    newest: dict[str, tuple[int, int]] = {}
    source: dict[tuple[int, int], tuple[int, int]] = {}
    readers: Counter[tuple[int, int]] = Counter()
    weight: dict[tuple[int, int], float] = {}
    for i, layer in enumerate(net.layer):
        for j, bottom in enumerate(layer.bottom):
            if bottom not in newest:
                raise PrototxtError(
                    f'unknown bottom "{bottom}"{left_out(bottom, whole) or nearest(bottom, newest)}',
                    layer=LayerName(layer.name, layer.type),
                    position=places[i],
                )
            value = newest[bottom]
            source[i, j] = value
            readers[value] += 1
        for j, top in enumerate(layer.top):
            newest[top] = (i, j)
            if j < len(layer.loss_weight) and layer.loss_weight[j]:
                weight[i, j] = layer.loss_weight[j]
                readers[i, j] += 1
    out = pb.NetParameter()
    out.CopyFrom(net)
    del out.layer[:]
    copied: list[Position | None] = []
    taken: Counter[tuple[int, int]] = Counter()
    for i, layer in enumerate(net.layer):
        copied.append(places[i])
        copy = out.layer.add()
        copy.CopyFrom(layer)
        for j, bottom in enumerate(layer.bottom):
            value = source[i, j]
            if readers[value] > 1:
                copy.bottom[j] = _split_blob(net.layer[value[0]].name, bottom, value[1], taken[value])
                taken[value] += 1
        for j, top in enumerate(layer.top):
            if readers[i, j] > 1:
                if (i, j) in weight:
                    copy.loss_weight[j] = 0
                    taken[i, j] = 1  # output 0 carries the loss
                copied.append(None)
                _add_split(out, layer.name, top, j, readers[i, j], weight.get((i, j)))
    return out, copied


def left_out(blob: str, whole: pb.NetParameter | None) -> str:
    """What an error says of a blob that only layers of other phases, levels or stages make; "" if none makes it."""
    for layer in whole.layer if whole else ():
        if blob in layer.top and blob not in layer.bottom:
            rules = [
                f"{kind} {{ {' '.join(str(rule).split())} }}"
                for kind, given in (("include", layer.include), ("exclude", layer.exclude))
                for rule in given
            ]
            if rules:
                return f': layer "{layer.name}", which makes it, is left out by {" ".join(rules)}'
    return ""


def _split_name(layer: str, blob: str, index: int) -> str:
    return f"{blob}_{layer}_{index}_split"


def _split_blob(layer: str, blob: str, index: int, output: int) -> str:
    return f"{_split_name(layer, blob, index)}_{output}"


def _add_split(
    net: pb.NetParameter, layer: str, blob: str, index: int, outputs: int, loss_weight: float | None
) -> None:
    split = net.layer.add(name=_split_name(layer, blob, index), type="Split", bottom=[blob])
    for k in range(outputs):
        split.top.append(_split_blob(layer, blob, index, k))
        if loss_weight is not None:
            split.loss_weight.append(loss_weight if k == 0 else 0.0)


def _checked_level(level: int) -> int:
    if not isinstance(level, (int, np.integer)):
        raise ArgumentTypeError(f"the level of a net is a whole number, got {level!r}")
    if not -(1 << 31) <= level < 1 << 31:
        raise UsageError(f"the level of a net is a whole number of 32 bits, got {level}")
    return int(level)


def run_state(base: pb.NetState, phase: int | None, level: int, stages: str | Sequence[str]) -> pb.NetState:
    """The state to run in: that of the definition, overridden by the arguments. stages: a list, or comma-separated.

    Raises UsageError for a phase that is neither TRAIN nor TEST, and for a level that is no whole number of 32 bits.
    """
    state = pb.NetState()
    state.CopyFrom(base)
    if phase is not None:
        if not isinstance(phase, (int, np.integer)) or phase not in _PHASES:
            raise UsageError(f"the phase of a net is TRAIN (0) or TEST (1), got {phase!r}")
        state.MergeFrom(pb.NetState(phase=_PHASES[phase]))
    if level:
        state.level = _checked_level(level)
    names = [s for s in stages.split(",") if s] if isinstance(stages, str) else list(stages)
    state.stage.extend(name for name in names if name not in base.stage)
    return state
