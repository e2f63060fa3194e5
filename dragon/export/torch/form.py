"""The form of a layer in PyTorch: what a form is given, the registry of forms by layer class, and literals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeAlias, TypeVar

import numpy as np

from dragon.bases.layer import Layer
from dragon.bases.loading import load_files
from dragon.errors import DragonError
from dragon.export.torch.state import Entry
from dragon.graph.node import Node
from dragon.graph.own_phase import own_phase

__all__ = ["Call", "NoForm", "form", "form_of", "number", "reason_of", "without_form"]


class NoForm(DragonError):
    """A layer that cannot be written in PyTorch: the message says why, and what to do."""


def number(value: float) -> str:
    """A setting as a literal: the shortest that is the same number in float32, as prototxt has it."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return f'float("{value}")'
    short = float(str(np.float32(value)))
    return repr(short if np.float32(value) == np.float64(value) else value)


@dataclass
class Call:
    """One layer of a net where it is written: the names of its bottoms, and what it declares.

    module: declares `self.NAME = EXPRESSION`. parts: names of PyTorch code to copy. entries: the state_dict's.
    """

    layer: Layer
    node: Node
    xs: list[str]
    attribute: str
    declared: str = ""
    parts: set[str] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    note: str = ""  # a comment behind the declaration

    @property
    def x(self) -> str:
        """The variable of bottom 0."""
        return self.xs[0]

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of a bottom."""
        return self.node.bottoms[index].shape

    def top(self, index: int = 0) -> tuple[int, ...]:
        """The shape of a top."""
        return self.node.tops[index].shape

    @property
    def own_phase(self) -> int | None:
        """The phase that the layer gives itself and that changes what it computes, whatever train() and eval() say."""
        return own_phase(self.layer.param)

    def check_not_frozen(self) -> None:
        """Raise NoForm for a layer that its own phase keeps in TEST, which the written module has no way to say."""
        if self.own_phase is not None:
            advice = "remove that, and call eval() on this submodule after train()"
            raise NoForm(f"is frozen by its own `phase: TEST`: {advice}", layer=self.layer.where)

    @property
    def training(self) -> str:
        """Whether the layer computes what it does in TRAIN: an expression."""
        return "self.training" if self.own_phase is None else "False"  # those of TRAIN alone are not written

    @property
    def tops(self) -> int:
        """The number of tops."""
        return len(self.node.tops)

    def part(self, name: str) -> str:
        """The name of a piece of code in `parts`, which is copied into the file."""
        self.parts.add(name)
        return name

    def declare(self, expression: str, *entries: Entry, note: str = "") -> str:
        """Declare a submodule or parameter; `self.NAME`. The keys of the entries get its name before them."""
        self.declared = expression
        self.note = note
        self.entries += entries
        return f"self.{self.attribute}"

    def call(self, expression: str, *entries: Entry, note: str = "", xs: Sequence[str] = ()) -> str:
        """Declare a submodule and call it with bottom 0, or with `xs`."""
        return f"{self.declare(expression, *entries, note=note)}({', '.join(xs or [self.x])})"

    def axis(self, axis: int, index: int = 0) -> int:
        """An axis, counted from the front, of a bottom."""
        return self.layer.axis(axis, len(self.shape(index)))


Form: TypeAlias = Callable[[Call], "str | Sequence[str]"]  # the expression of the tops, or one for each of them
_F = TypeVar("_F", bound=Form)
_FORMS: dict[type[Layer], Form] = {}
_REASONS: dict[type[Layer], str] = {}


def form(*classes: type[Layer]) -> Callable[[_F], _F]:
    """Decorator: the function writes layers of these classes, and of further forms of their types."""

    def add(function: _F) -> _F:
        _FORMS.update(dict.fromkeys(classes, function))
        return function

    return add


def without_form(reasons: Mapping[type[Layer], str]) -> None:
    """Say for classes why they have no form in PyTorch, and what to do."""
    _REASONS.update(reasons)


@cache
def _load() -> None:
    import dragon.export.torch.forms as package

    load_files(package)


def form_of(cls: type[Layer]) -> Form | None:
    """How layers of a class are written; None if they are not."""
    _load()
    return next((_FORMS[base] for base in _of_type(cls) if base in _FORMS), None)


def reason_of(cls: type[Layer]) -> str | None:
    """Why layers of a class are not written in PyTorch, and what to do; None if that is not known."""
    _load()
    return next((_REASONS[base] for base in _of_type(cls) if base in _REASONS), None)


def _of_type(cls: type[Layer]) -> list[type[Layer]]:
    """The class and its bases of its type: a type that derives from another one computes something else."""
    return [base for base in cls.__mro__ if issubclass(base, Layer) and base.type == cls.type]
