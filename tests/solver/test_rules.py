"""Update rules against their papers' formulas in plain scalar arithmetic, several steps in a row."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.solver.rules import RULES, make_rule

RATE, DECAY = 0.1, 0.01
State = dict[str, float]


def sgd(g: float, s: State, t: int, w: float) -> float:
    s["h"] = 0.9 * s.get("h", 0) + RATE * g
    return s["h"]


def nesterov(g: float, s: State, t: int, w: float) -> float:
    old = s.get("h", 0)
    s["h"] = 0.9 * old + RATE * g
    return 1.9 * s["h"] - 0.9 * old


def adagrad(g: float, s: State, t: int, w: float) -> float:
    s["h"] = s.get("h", 0) + g * g
    return RATE * g / (math.sqrt(s["h"]) + 1e-8)


def rmsprop(g: float, s: State, t: int, w: float) -> float:
    s["h"] = 0.95 * s.get("h", 0) + 0.05 * g * g
    return RATE * g / (math.sqrt(s["h"]) + 1e-8)


def adadelta(g: float, s: State, t: int, w: float) -> float:
    s["g"] = 0.9 * s.get("g", 0) + 0.1 * g * g
    step = g * math.sqrt((s.get("s", 0) + 1e-8) / (s["g"] + 1e-8))
    s["s"] = 0.9 * s.get("s", 0) + 0.1 * step * step
    return RATE * step


def adam(g: float, s: State, t: int, w: float) -> float:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    correction = math.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1))
    return RATE * correction * s["m"] / (math.sqrt(s["v"]) + 1e-8)


def adamw(g: float, s: State, t: int, w: float) -> float:
    return adam(g, s, t, w) + RATE * DECAY * w


EXPECTED: dict[str, tuple[Callable[[float, State, int, float], float], dict[str, float]]] = {
    "SGD": (sgd, {"momentum": 0.9}),
    "Nesterov": (nesterov, {"momentum": 0.9}),
    "AdaGrad": (adagrad, {}),
    "RMSProp": (rmsprop, {"rms_decay": 0.95}),
    "AdaDelta": (adadelta, {"momentum": 0.9}),
    "Adam": (adam, {"momentum": 0.9}),
    "AdamW": (adamw, {"momentum": 0.9}),
    "LARS": (sgd, {"momentum": 0.9}),  # the rates that come from norms are in test_layerwise.py
    "LAMB": (adamw, {"momentum": 0.9}),
}


@pytest.mark.parametrize("name", sorted(RULES))
def test_five_steps(name: str) -> None:
    scalar, settings = EXPECTED[name]
    rule = make_rule(pb.SolverParameter(type=name, delta=1e-8, **settings))  # type: ignore[arg-type]
    history = [np.zeros(1) for _ in range(rule.slots)]
    w, reference = np.array([0.5]), 0.5
    state: State = {}
    for t, gradient in enumerate([1.0, -2.0, 0.5, 3.0, -0.1]):
        g = np.array([gradient])
        rule.step(np, g, w, history, RATE, DECAY, t)
        w -= g
        reference -= scalar(gradient, state, t, reference)
        assert w[0] == pytest.approx(reference, rel=1e-5, abs=1e-6), f"step {t}"


def test_unknown_type_and_settings_a_rule_cannot_take() -> None:
    with pytest.raises(PrototxtError, match=r'"Adma".*"Adam"'):
        make_rule(pb.SolverParameter(type="Adma"))
    with pytest.raises(PrototxtError, match="momentum cannot be used with the AdaGrad"):
        make_rule(pb.SolverParameter(type="AdaGrad", momentum=0.9))
    with pytest.raises(PrototxtError, match="rms_decay"):
        make_rule(pb.SolverParameter(type="RMSProp", rms_decay=1.5))


@pytest.mark.parametrize("rule", ["Adam", "AdamW", "LAMB"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("momentum", 1), ("momentum", -1), ("momentum", math.nan), ("momentum2", 1.5), ("momentum2", -2)],
)
def test_momentum_that_the_bias_correction_cannot_take(rule: str, field: str, value: float) -> None:
    param = pb.SolverParameter(type=rule)
    setattr(param, field, value)
    with pytest.raises(PrototxtError, match=f"{field} of the {rule} solver must"):
        make_rule(param)
