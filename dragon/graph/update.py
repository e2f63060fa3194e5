"""The update of a net's learned blobs as data, from which an engine can compute it with kernels of its own.

The solver's Updater (dragon/solver/update.py) is one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from dragon.counting import how_many
from dragon.errors import ShapeError
from dragon.graph.parameters import Param
from dragon.memory.blob import Blob

__all__ = ["Coefficients", "Update", "UpdateRule", "bias_correction"]


class UpdateRule:
    """A rule that turns a gradient and its history into the step that is subtracted from the weights.

    An engine recognises a rule by `name`, and therefore computes only rules whose `is_standard` is true.
    """

    name: ClassVar[str]
    slots: ClassVar[int] = 1  # history arrays per parameter
    decoupled_decay: ClassVar[bool] = False  # the rule applies weight decay itself, not through the gradient
    bias_correction: ClassVar[bool] = False  # the rate is corrected as Adam's

    @property
    def is_standard(self) -> bool:
        """Whether a solver definition of type `name` means exactly this rule, not a class derived from it."""
        return False


def bias_correction(decay1: float, decay2: float, iteration: int) -> float:
    """Adam's factor of the rate in update `iteration`, from 0, whose averages begin at 0 (Kingma & Ba 2015)."""
    return math.sqrt(1 - decay2 ** (iteration + 1)) / (1 - decay1 ** (iteration + 1))


@dataclass(frozen=True)
class Coefficients:
    """The numbers of an update.

    decay1, decay2: decay rates of the averages in the history (momentum and momentum2, or rms_decay). clip_gradients:
    limit of the gradients' L2 norm; below 0: none. iter_size: passes whose gradients were added up.
    """

    decay1: float
    decay2: float
    delta: float
    weight_decay: float
    l1: bool
    clip_gradients: float
    iter_size: int


class Update(ABC):
    """A rule with its history: `history[slot][k]` belongs to `params[k]`, a learned blob of the net."""

    rule: UpdateRule
    params: list[Param]
    history: list[list[Blob]]

    @property
    @abstractmethod
    def coefficients(self) -> Coefficients:
        """The present coefficients: a script may change those of the solver between two steps."""

    def history_of(self, k: int) -> list[Blob]:
        """The history of params[k]. ShapeError where a script has made the parameter, unless frozen, larger than it."""
        history, p = [slot[k] for slot in self.history], self.params[k]
        if p.lr_mult and any(one.count < p.blob.count for one in history):
            wanted, there = how_many(p.blob.count, "element"), f"{history[0].count:,}"
            raise ShapeError(f"parameter {p.name} has {wanted}, its history of updates {there}: make a new solver")
        return history

    @abstractmethod
    def apply(self, rate: float, iteration: int) -> None:
        """Update all learned blobs in update number `iteration` (from 0), through the arrays that they hand out now."""

    @abstractmethod
    def clip(self) -> float:
        """The factor by which clip_gradients shrinks the present gradients, from their norm; 1 without a limit."""

    @abstractmethod
    def apply_to(self, k: int, rate: float, iteration: int, scale: float) -> None:
        """What `apply` does for params[k], whose gradient `scale` = clip() shrinks."""

    @abstractmethod
    def decay_of(self, p: Param) -> float:
        """Weight decay of one parameter."""
