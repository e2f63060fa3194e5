"""The `surgery:` of an experiment file: operations of dragon.surgery on the nets of variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dragon.compare.config import Operation
from dragon.errors import DragonError, nearest
from dragon.proto import dragon_pb2 as pb
from dragon.surgery.merge import merge, split
from dragon.surgery.model import Model

__all__ = ["operate"]

_REGISTRY = "dragon.surgery.operations"
_BUILT_IN: dict[str, Callable[[Model], Any]] = {"merge": merge, "split": split}


def operate(net: pb.NetParameter, operations: Sequence[Operation], folder: Path | None) -> pb.NetParameter:
    """The net after the operations, in their order. Raises UsageError at the line of the one that fails."""
    model = Model(net, folder=folder)
    for operation in operations:
        try:
            model = _apply(model, operation)
        except DragonError as error:
            operation.section.fail(f'surgery "{operation.name}": {error}', operation.name)
    return model.net


def _apply(model: Model, operation: Operation) -> Model:
    if find_spec(_REGISTRY) is not None:
        changed: Model = import_module(_REGISTRY).apply(model, operation.name, operation.arguments)
        return changed
    function = _BUILT_IN.get(operation.name)
    if function is None:
        known = f"{nearest(operation.name, _BUILT_IN)}; known: {', '.join(_BUILT_IN)}"
        operation.section.fail(f'unknown operation "{operation.name}"{known}', operation.name)
    result = function(model)
    merged: Model = result[0] if isinstance(result, tuple) else result
    return merged
