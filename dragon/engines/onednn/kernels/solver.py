"""The update rules as primitives, in the order of dragon/solver/rules.py, for a piece of one learned blob.

Arrays and numbers, which are memories of one element, have names. Arrays: g gradient, w weights, h and k the first and
the second array of the history, s and t work arrays. Numbers that change from step to step: `rate`, `corrected` (the
rate with Adam's bias correction), `decay` (of weights), `rate_decay` (rate * decay), `shrink` (factor of the gradient).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dragon.engines.onednn.kernels import combine, eltwise
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import EltwisePost, PostOp, Primitive, SumPost
from dragon.graph.update import Coefficients, UpdateRule

__all__ = ["ARRAYS", "CHANGING", "IDLE", "RULES", "WORK", "Operation", "constants", "operations"]

ARRAYS = ("g", "w", "h", "k")
WORK = ("s", "t")  # arrays that hold nothing between two steps
CHANGING = ("rate", "corrected", "decay", "rate_decay", "shrink")
IDLE = {"decay": 0.0, "shrink": 1.0}  # values that change nothing
_NUMBER = MemoryDesc.plain((1,))


@dataclass(frozen=True)
class Operation:
    """A primitive and the names of its arguments. number: one in IDLE, without which it has nothing to do; or none."""

    primitive: Primitive
    arguments: Mapping[int, str]
    number: str = ""


@dataclass
class _Piece:
    """Collects the operations on a piece of `count` elements."""

    device: Device
    count: int
    coefficients: Coefficients
    found: list[Operation] = field(default_factory=list)

    @property
    def desc(self) -> MemoryDesc:
        return MemoryDesc.plain((self.count,))

    def binary(
        self,
        alg: Alg,
        target: str,
        left: str,
        right: str,
        scales: tuple[str, str] = ("", ""),
        post_ops: Sequence[PostOp] = (),
        number: str = "",
    ) -> None:
        """Target = left (operation) right, of which each is multiplied by the number in `scales`, where it is named.

        number: the one in IDLE that decides whether there is something to do; by default that in `scales`.
        """
        scaled = {arg: name for arg, name in zip((Arg.SRC, Arg.SRC_1), scales, strict=True) if name}
        primitive = combine.binary(self.device, alg, self.desc, self.desc, post_ops=post_ops, runtime_scales=scaled)
        numbers = {Arg.runtime_scale(arg): name for arg, name in scaled.items()}
        self._add(primitive, {Arg.SRC: left, Arg.SRC_1: right, Arg.DST: target} | numbers, number)

    def times(self, target: str, number: str) -> None:
        """Target = target * number."""
        primitive = combine.binary(self.device, Alg.binary_mul, self.desc, _NUMBER)
        self._add(primitive, {Arg.SRC: target, Arg.SRC_1: number, Arg.DST: target})

    def _add(self, primitive: Primitive, arguments: Mapping[int, str], number: str = "") -> None:
        number = number or next((name for name in arguments.values() if name in IDLE), "")
        self.found.append(Operation(primitive, arguments, number))

    def average_of_squares(self, average: str, source: str, rest: str, decay: str) -> None:
        """Average = decay * average + rest * source^2; decay and rest are numbers, 1 where they are not named."""
        factor = constants(self.coefficients)[decay] if decay else 1.0
        if factor == 0:  # quirk "sum with factor 0"
            self.times(average, decay)
            factor = 1.0
        self.binary(Alg.binary_mul, average, source, source, (rest, ""), [SumPost(factor)])

    def add_delta(self, target: str, source: str) -> None:
        """Target = source + delta."""
        primitive = eltwise.forward(self.device, Alg.eltwise_linear, self.desc, 1.0, self.coefficients.delta)
        self._add(primitive, {Arg.SRC: source, Arg.DST: target})

    def root(self, target: str, source: str) -> None:
        """Target = sqrt(source) + delta."""
        post_ops = [EltwisePost(Alg.eltwise_sqrt), EltwisePost(Alg.eltwise_linear, 1.0, self.coefficients.delta)]
        primitive = combine.binary(self.device, Alg.binary_mul, self.desc, _NUMBER, post_ops=post_ops)
        self._add(primitive, {Arg.SRC: source, Arg.SRC_1: "one", Arg.DST: target})

    def copy(self, target: str, source: str) -> None:
        """Target = source."""
        primitive = combine.reorder(self.device, self.desc, self.desc)
        self._add(primitive, {Arg.SRC: source, Arg.DST: target})


def _sgd(p: _Piece) -> None:
    p.binary(Alg.binary_add, "h", "h", "g", ("decay1", "rate"))
    p.copy("g", "h")


def _nesterov(p: _Piece) -> None:
    p.binary(Alg.binary_add, "t", "h", "g", ("decay1", "rate"))
    p.binary(Alg.binary_sub, "g", "t", "h", ("ahead", "decay1"))
    p.copy("h", "t")


def _adagrad(p: _Piece) -> None:
    p.average_of_squares("h", "g", "", "")
    p.root("t", "h")
    p.binary(Alg.binary_div, "g", "g", "t", ("rate", ""))


def _rmsprop(p: _Piece) -> None:
    p.average_of_squares("h", "g", "rest1", "decay1")
    p.root("t", "h")
    p.binary(Alg.binary_div, "g", "g", "t", ("rate", ""))


def _adadelta(p: _Piece) -> None:
    p.average_of_squares("h", "g", "rest1", "decay1")
    p.add_delta("s", "h")
    p.add_delta("t", "k")
    p.binary(Alg.binary_div, "t", "t", "s", post_ops=[EltwisePost(Alg.eltwise_sqrt)])
    p.binary(Alg.binary_mul, "g", "g", "t")
    p.average_of_squares("k", "g", "rest1", "decay1")
    p.times("g", "rate")


def _adam(p: _Piece) -> None:
    p.binary(Alg.binary_add, "h", "h", "g", ("decay1", "rest1"))
    p.average_of_squares("k", "g", "rest2", "decay2")
    p.root("t", "k")
    p.binary(Alg.binary_div, "g", "h", "t", ("corrected", ""))


def _adamw(p: _Piece) -> None:
    _adam(p)
    p.binary(Alg.binary_add, "g", "g", "w", ("", "rate_decay"), number="decay")


RULES: dict[str, Callable[[_Piece], None]] = {
    "SGD": _sgd, "Nesterov": _nesterov, "AdaGrad": _adagrad, "RMSProp": _rmsprop, "AdaDelta": _adadelta,
    "Adam": _adam, "AdamW": _adamw,
}  # fmt: skip


def constants(coefficients: Coefficients) -> dict[str, float]:
    """The numbers that do not change from step to step."""
    decay1, decay2 = coefficients.decay1, coefficients.decay2
    rests = {"rest1": 1 - decay1, "rest2": 1 - decay2}
    return {"decay1": decay1, "decay2": decay2, "ahead": 1 + decay1, "one": 1.0} | rests


def operations(device: Device, rule: UpdateRule, count: int, coefficients: Coefficients) -> list[Operation]:
    """One step of a rule of RULES on a piece of `count` elements."""
    piece = _Piece(device, count, coefficients)
    piece.times("g", "shrink")
    if not rule.decoupled_decay:
        piece.binary(Alg.binary_add, "g", "g", "w", ("", "decay"))
    RULES[rule.name](piece)
    piece.binary(Alg.binary_sub, "w", "w", "g")
    return piece.found
