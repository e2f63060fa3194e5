"""Update rules: from a gradient and its history to the step that is subtracted from the weights.

A rule works on whole arrays, in place: `g` is the regularised gradient on entry and the step on return. In the formulas
below h is an array of the history; momentum, momentum2, delta and rms_decay are those of the solver.
Formulas: Sutskever et al. 2013 (momentum, Nesterov), Duchi et al. 2011 (AdaGrad), Tieleman & Hinton 2012 (RMSProp),
Zeiler 2012 (AdaDelta), Kingma & Ba 2015 (Adam), Loshchilov & Hutter 2019 (AdamW), You, Gitman & Ginsburg 2017 (LARS),
You et al. 2020 (LAMB). With the last two, which are for large batches, each learned blob moves by its own norm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import ModuleType
from typing import ClassVar

from dragon.errors import SolverFieldError
from dragon.graph.update import UpdateRule, bias_correction
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.solver.choice import check_choice

__all__ = ["RULES", "Rule", "make_rule"]


Arrays = Sequence[Array]


class Rule(UpdateRule, ABC):
    """An update rule with the settings of one solver definition."""

    local_rate: ClassVar[bool] = False  # the rate of a blob comes from the norms of its weights and gradient
    step_of_norm: ClassVar[bool] = False  # the step of a blob is scaled to rate times the norm of its weights
    keeps: ClassVar[str] = "a momentum"  # what the history is; rules that keep the same go on with each other's
    squares: ClassVar[tuple[int, ...]] = ()  # slots of the history that are never negative

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
        """Decay rates of the first and the second average in the history."""
        return self.param.momentum, self.param.momentum2

    def refuse_momentum(self) -> None:
        """Raise PrototxtError if the definition sets a momentum: this rule has none."""
        if self.param.momentum != 0:
            raise SolverFieldError("momentum", f"momentum cannot be used with the {self.name} solver")

    @abstractmethod
    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        """Replace the gradient `g` by the step, and update the history.

        xp: the arrays' library. w: the weights. rate, decay: learning rate and weight decay of this parameter.
        t: number of earlier updates.
        """


class SGD(Rule):
    """Stochastic gradient descent with momentum: h <- momentum h + rate g; the step is h."""

    name = "SGD"

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        (h,) = history
        h *= self.param.momentum
        g *= rate
        h += g
        g[...] = h


class Nesterov(Rule):
    """Nesterov's momentum: h' = momentum h + rate g; the step is (1 + momentum) h' - momentum h."""

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
    """AdaGrad: h <- h + g^2; the step is rate g / (sqrt(h) + delta)."""

    name = "AdaGrad"
    keeps = "sums of squared gradients"
    squares = (0,)

    def validate(self) -> None:
        self.refuse_momentum()

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        (h,) = history
        h += g * g
        g /= xp.sqrt(h) + self.param.delta
        g *= rate


class RMSProp(Rule):
    """RMSProp: h <- rms_decay h + (1 - rms_decay) g^2; the step is rate g / (sqrt(h) + delta)."""

    name = "RMSProp"
    keeps = "averages of squared gradients"
    squares = (0,)

    def validate(self) -> None:
        self.refuse_momentum()
        if not 0 <= self.param.rms_decay < 1:
            raise SolverFieldError("rms_decay", f"rms_decay must lie in [0, 1), got {self.param.rms_decay:g}")

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
    """AdaDelta, with h1 an average of g^2 and h2 of s^2, s = g sqrt((h2 + delta) / (h1 + delta)); the step is rate s.

    Both averages move by momentum: h <- momentum h + (1 - momentum) new; h1 before s is computed, h2 after.
    """

    name = "AdaDelta"
    slots = 2
    keeps = "averages of squared gradients and of squared steps"
    squares = (0, 1)

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
    """Adam, with h1 an average of g (by momentum) and h2 of g^2 (by momentum2).

    The step is rate c h1 / (sqrt(h2) + delta), c = sqrt(1 - momentum2^(t + 1)) / (1 - momentum^(t + 1)).
    """

    name = "Adam"
    slots = 2
    keeps = "averages of gradients and of squared gradients"
    squares = (1,)
    bias_correction = True

    def validate(self) -> None:
        """Raise PrototxtError unless the bias correction exists: 1 - momentum^t not 0, 1 - momentum2^t not negative."""
        beta1, beta2 = self.param.momentum, self.param.momentum2
        if not -1 < beta1 < 1:
            raise SolverFieldError(
                "momentum", f"momentum of the {self.name} solver must be above -1 and below 1, got {beta1:g}"
            )
        if not -1 <= beta2 <= 1:
            raise SolverFieldError(
                "momentum2", f"momentum2 of the {self.name} solver must lie within -1 and 1, got {beta2:g}"
            )

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        first, second = history
        beta1, beta2 = self.param.momentum, self.param.momentum2
        first *= beta1
        first += (1 - beta1) * g
        second *= beta2
        second += (1 - beta2) * (g * g)
        xp.divide(first, xp.sqrt(second) + self.param.delta, out=g)
        g *= rate * bias_correction(beta1, beta2, t)


class AdamW(Adam):
    """Adam with decoupled weight decay: the step is Adam's plus rate decay w."""

    name = "AdamW"
    decoupled_decay = True

    def step(self, xp: ModuleType, g: Array, w: Array, history: Arrays, rate: float, decay: float, t: int) -> None:
        super().step(xp, g, w, history, rate, decay, t)
        if decay:
            g += rate * decay * w


class LARS(SGD):
    """SGD with a local rate for each learned blob: rate * larc_eta |w| / (|g| + decay |w|), g before weight decay.

    The factor is 1 where w or g is 0. It is `larc` with SGD, but for lr_mult, which counts here.
    """

    name = "LARS"
    local_rate = True


class LAMB(AdamW):
    """LAMB: with r the step of AdamW at rate 1, decay w included, the step is rate |w| / |r| r; rate r where w is 0."""

    name = "LAMB"
    step_of_norm = True


_ALL = (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam, AdamW, LARS, LAMB)
RULES: dict[str, type[Rule]] = {rule.name: rule for rule in _ALL}


def make_rule(param: pb.SolverParameter) -> Rule:
    """The rule that `param.type` names. Raises PrototxtError, with the nearest name, for an unknown one."""
    check_choice("type", param.type, RULES)
    return RULES[param.type](param)
