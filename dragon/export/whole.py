"""A net with its losses, as it trains, with Inputs for its data layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dragon.bases.layer import TRAIN
from dragon.bases.registry import class_of
from dragon.export.deployed import input_for
from dragon.graph.definition import definition_of, filter_definition, run_state
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.layer_names import name_layers

__all__ = ["read_whole"]


def read_whole(
    model: str | Path | Definition[pb.NetParameter],
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    shape: Sequence[int] | None = None,
) -> Definition[pb.NetParameter]:
    """The layers of a net in its phase TRAIN, with an Input for each layer that reads data.

    shape: of the first top of the first of these, in place of the one that its data has. Raises DragonError.
    """
    definition = definition_of(model)
    state = run_state(definition.message.state, TRAIN, level, list(stages))
    made = filter_definition(definition, state, name_layers(definition.message))
    for layer in made.message.layer:
        kind = class_of(layer)
        if kind.reads_data and not kind.is_input:
            layer.CopyFrom(input_for(layer, list(layer.top), shape, definition.folder, TRAIN))
            shape = None
        for conditions in (layer.include, layer.exclude):
            del conditions[:]
    return made
