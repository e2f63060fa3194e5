"""Update rules: what turns a gradient and its history into the step that is subtracted from the weights.

A rule works on whole arrays, in place: `g` is the regularised gradient when it comes and the step when it leaves.
Formulas: Sutskever et al. 2013 (momentum, Nesterov), Duchi et al. 2011 (AdaGrad), Tieleman & Hinton 2012 (RMSProp),
Zeiler 2012 (AdaDelta), Kingma & Ba 2015 (Adam), Loshchilov & Hutter 2019 (AdamW).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import ModuleType

from dragon.errors import PrototxtError, nearest
from dragon.graph.update import UpdateRule
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["RULES", "Rule", "make_rule"]


Arrays = Sequence[Array]


class Rule(UpdateRule, ABC):
    """An update rule for one solver definition."""

    def __init__(self, param: pb.SolverParameter) -> None:
        self.param = param
        self.validate()

    def validate(self) -> None:
        """Raise PrototxtError for settings this rule cannot take."""

    @property
    def is_standard(self) -> bool:
        return RULES.get(self.name) is type(self) and not self.param.larc  # engines know no rate of a single blob

    @property
    def decays(self) -> tuple[float, float]:
        """Of the averages in the history: the first one's, and the second one's where there is one."""
        return self.param.momentum, self.param.momentum2

    def no_momentum(self) -> None:
        if self.param.momentum != 0:
            raise PrototxtError(f"momentum cannot be used with the {self.name} solver")

    @abstractmethod
    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        """Turn gradient `g` into the step. rate: of this parameter; decay: weight decay; t: iterations done before."""


class SGD(Rule):
    name = "SGD"

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        (h,) = history
        h *= self.param.momentum
        g *= rate
        h += g
        g[...] = h


class Nesterov(Rule):
    name = "Nesterov"

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        (h,) = history
        momentum = self.param.momentum
        previous = h * momentum
        g *= rate
        h[...] = previous + g
        xp.multiply(h, 1 + momentum, out=g)
        g -= previous


class AdaGrad(Rule):
    name = "AdaGrad"

    def validate(self) -> None:
        self.no_momentum()

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        (h,) = history
        h += g * g
        g /= xp.sqrt(h) + self.param.delta
        g *= rate


class RMSProp(Rule):
    name = "RMSProp"

    def validate(self) -> None:
        self.no_momentum()
        if not 0 <= self.param.rms_decay < 1:
            raise PrototxtError(f"rms_decay must lie in [0, 1), got {self.param.rms_decay:g}")

    @property
    def decays(self) -> tuple[float, float]:
        return self.param.rms_decay, 0.0

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        (h,) = history
        h *= self.param.rms_decay
        h += (1 - self.param.rms_decay) * (g * g)
        g /= xp.sqrt(h) + self.param.delta
        g *= rate


class AdaDelta(Rule):
    name = "AdaDelta"
    slots = 2

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        gradients, steps = history
        momentum, delta = self.param.momentum, self.param.delta
        gradients *= momentum
        gradients += (1 - momentum) * (g * g)
        g *= xp.sqrt((steps + delta) / (gradients + delta))
        steps *= momentum
        steps += (1 - momentum) * (g * g)
        g *= rate


class Adam(Rule):
    name = "Adam"
    slots = 2
    bias_correction = True

    def validate(self) -> None:
        """The bias correction divides by 1 - momentum^t and takes the root of 1 - momentum2^t."""
        beta1, beta2 = self.param.momentum, self.param.momentum2
        if not -1 < beta1 < 1:
            raise PrototxtError(f"momentum of the {self.name} solver must be above -1 and below 1, got {beta1:g}")
        if not -1 <= beta2 <= 1:
            raise PrototxtError(f"momentum2 of the {self.name} solver must lie within -1 and 1, got {beta2:g}")

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        first, second = history
        beta1, beta2 = self.param.momentum, self.param.momentum2
        first *= beta1
        first += (1 - beta1) * g
        second *= beta2
        second += (1 - beta2) * (g * g)
        correction = math.sqrt(1 - beta2 ** (t + 1)) / (1 - beta1 ** (t + 1))
        xp.divide(first, xp.sqrt(second) + self.param.delta, out=g)
        g *= rate * correction


class AdamW(Adam):
    name = "AdamW"
    decoupled_decay = True

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        super().step(xp, g, w, history, rate, decay, t)
        if decay:
            g += rate * decay * w


RULES: dict[str, type[Rule]] = {r.name: r for r in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam, AdamW)}


def make_rule(param: pb.SolverParameter) -> Rule:
    """The rule that `param.type` names. PrototxtError with the nearest name when there is none."""
    try:
        return RULES[param.type](param)
    except KeyError:
        raise PrototxtError(f'unknown solver type "{param.type}"{nearest(param.type, RULES)}') from None
