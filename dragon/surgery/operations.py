"""The registry of operations that experiment files and programs name: each makes a new model from one.

apply(model, "insert", {"after": "convolution", "form": "split"})
apply_all(model, [{"insert": {"form": "split"}}, {"freeze": {"all_but": ["bn", "scale"]}}])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dragon.errors import UsageError, nearest
from dragon.surgery.add import add
from dragon.surgery.changes import bias, initialise, set_layers
from dragon.surgery.ensemble import ensemble
from dragon.surgery.insert import insert
from dragon.surgery.learning import freeze
from dragon.surgery.merge import merge, split
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.remove import remove
from dragon.surgery.retype import move, replace_type

__all__ = ["Operation", "apply", "apply_all", "operations"]

_INTERNAL = ("model", "note", "statistics")


@dataclass(frozen=True)
class Operation:
    """An operation. by_layer: its arguments are selectors of layers with what each gets, not names of parameters."""

    name: str
    function: Callable[..., Model]
    by_layer: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of its arguments; empty for one that takes selectors."""
        if self.by_layer:
            return ()
        return tuple(name for name in inspect.signature(self.function).parameters if name not in _INTERNAL)

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return (self.function.__doc__ or "").partition("\n")[0]

    def __call__(self, model: Model, arguments: Mapping[str, Any], note: Note = silent_note) -> Model:
        """The changed model. Raises UsageError for wrong arguments, and what the function raises."""
        if not isinstance(arguments, Mapping):
            raise UsageError(f"{self.name} takes arguments by name, got {arguments!r}")
        if self.by_layer:
            return self.function(model, arguments, note=note)
        for name in arguments:
            if name not in self.arguments:
                raise UsageError(
                    f'{self.name} has no argument "{name}"{nearest(str(name), self.arguments)}; '
                    f"it takes {', '.join(self.arguments) or 'none'}"
                )
        for name, value in arguments.items():
            _check(self, name, value)
        return self.function(model, **arguments, note=note)


def _check(operation: Operation, name: str, value: Any) -> None:
    """Raise UsageError unless a flag is true or false, and words are text or a list of texts."""
    kind = str(inspect.signature(operation.function).parameters[name].annotation)
    if kind.startswith("bool") and not (isinstance(value, bool) or (value is None and "None" in kind)):
        raise UsageError(f"{operation.name}: {name} is true or false, got {value!r}")
    if kind.startswith("str") and not (isinstance(value, str) or (value is None and "None" in kind)):
        raise UsageError(f"{operation.name}: {name} is a text, got {value!r}")


def merge_forms(model: Model, note: Note = silent_note) -> Model:
    """A model with one BN in place of every BatchNorm with a Scale."""
    new, names = merge(model)
    note(f"merged {', '.join(names)}")
    return new


def split_forms(model: Model, caffe: bool = False, note: Note = silent_note) -> Model:
    """A model with BatchNorm and Scale in place of every BN; caffe: only what BVLC Caffe reads."""
    new, names = split(model, caffe)
    note(f"split {', '.join(names)}")
    return new


def remove_bias_before_bn(model: Model, note: Note = silent_note) -> Model:
    """A model without the biases that normalisations take away with the mean."""
    return bias(model, drop="before_bn", note=note)


_OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("insert", insert),
        Operation("add", add),
        Operation("ensemble", ensemble),
        Operation("remove", remove),
        Operation("merge", merge_forms),
        Operation("split", split_forms),
        Operation("initialise", initialise, by_layer=True),
        Operation("freeze", freeze),
        Operation("bias", bias),
        Operation("remove_bias_before_bn", remove_bias_before_bn),
        Operation("replace_type", replace_type, by_layer=True),
        Operation("move", move),
        Operation("set", set_layers, by_layer=True),
    )
}


def operations() -> dict[str, Operation]:
    """All operations by name."""
    return dict(_OPERATIONS)


def apply(model: Model, name: str, arguments: Mapping[str, Any] | None = None, note: Note = silent_note) -> Model:
    """The model changed by one operation. note: takes a line for each change.

    Raises UsageError for an unknown name, with the nearest, for arguments that it does not take, and where it fails.
    """
    if name not in _OPERATIONS:
        known = ", ".join(_OPERATIONS)
        raise UsageError(f'there is no operation "{name}"{nearest(str(name), _OPERATIONS)}; there are {known}')
    return _OPERATIONS[name](model, arguments or {}, note)


def apply_all(
    model: Model, steps: Sequence[str | Mapping[str, Mapping[str, Any] | None]], note: Note = silent_note
) -> Model:
    """The model changed by several operations in turn: each a name, or a name with its arguments.

    Raises UsageError for a step that is neither, and what `apply` raises, both with the number of the step.
    """
    if isinstance(steps, str | Mapping) or not isinstance(steps, Sequence):
        raise UsageError(f"surgery is a list of operations, got {steps!r}")
    for number, step in enumerate(steps, 1):
        named = {step: None} if isinstance(step, str) else step
        if not isinstance(named, Mapping) or len(named) != 1:
            raise UsageError(f"step {number} of the surgery: expected one operation with its arguments, got {step!r}")
        ((name, arguments),) = named.items()
        try:
            model = apply(model, name, arguments, note)
        except UsageError as error:
            error.task = error.task or f"step {number} of the surgery, {name}"
            raise
    return model
