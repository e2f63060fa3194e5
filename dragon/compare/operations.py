"""The `surgery:` of an experiment file: operations of dragon.surgery on the nets of variants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dragon.compare.config import Operation
from dragon.errors import DragonError
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.model import Model
from dragon.surgery.operations import apply

__all__ = ["operate"]


def operate(net: pb.NetParameter, operations: Sequence[Operation], folder: Path | None) -> pb.NetParameter:
    """The net after the operations, in their order. Raises UsageError at the line of the one that fails."""
    model = Model.of(net, folder)
    for operation in operations:
        try:
            model = apply(model, operation.name, operation.arguments)
        except DragonError as error:
            operation.section.fail(f'surgery "{operation.name}": {error}', operation.name)
    return model.definition()
