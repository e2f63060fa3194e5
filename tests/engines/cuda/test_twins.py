"""Gradients of a sum that are one array with that of its top, where the coefficient is 1 and blobs share memory."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TRAIN
from dragon.engines.cuda.plan.figures import plan_figures
from dragon.graph.net import Net
from tests.engines.cuda.running import inputs, layer, parse, same
from tests.engines.cuda.training import CONV, FULL, executor_of, pair, same_blobs, same_weights

pytestmark = pytest.mark.usefixtures("cuda")

HEAD = f"""
layer {{ name: "d" bottom: "data" top: "d" {CONV} }}
layer {{ name: "c0" bottom: "d" top: "c0" {CONV} }}
layer {{ name: "c1" bottom: "d" top: "c1" {CONV} }}
layer {{ name: "c2" bottom: "d" top: "c2" {CONV} }}
"""
TAIL = f"""
layer {{ name: "t" bottom: "s" top: "t" type: "TanH" }}
layer {{ name: "f" bottom: "t" top: "f" {FULL} }}
layer {{ name: "loss" bottom: "f" bottom: "label" top: "loss" type: "SoftmaxWithLoss" }}
"""


def sum_of(bottoms: list[str], top: str, coeff: list[float]) -> str:
    given = " ".join(f"coeff: {c}" for c in coeff)
    return layer("Eltwise", f"eltwise_param {{ {given} }}", '" bottom: "'.join(bottoms), top, top)


# the sums between, and which gradients are one array with that of s
CASES = {
    "some": (sum_of(["c0", "c1", "c2"], "s", [1, -0.5, 1]), ["c0", "c2"]),
    "all": (sum_of(["c0", "c1", "c2"], "s", []), ["c0", "c1", "c2"]),
    "none": (sum_of(["c0", "c1", "c2"], "s", [2, -0.5, 3]), []),
    "chain": (sum_of(["c0", "c1"], "a", [1, 2]) + sum_of(["a", "c2"], "s", [1, 0.5]), ["a", "c0"]),
    "Split": (sum_of(["c0", "c1"], "a", [1, 2]) + sum_of(["a", "c2"], "b", []) + sum_of(["a", "b"], "s", [1, 3]), []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_shares_an_array(case: str) -> None:
    text, expected = CASES[case]
    solvers = pair(HEAD + text + TAIL)
    for _ in range(4):
        for solver in solvers:
            solver.step(1)
    same_weights([solver.net for solver in solvers], "after")
    net = solvers[1].net
    lifetimes = executor_of(net).sharing._lifetimes
    assert lifetimes is not None
    names = {blob.diff_storage: name for name, blob in net.blobs.items()}
    twins = {names[storage]: names[other] for storage, other in lifetimes.twins().items()}
    assert [name for name in ("a", "c0", "c1", "c2") if twins.get(name) == "s"] == expected
    same_blobs([solver.net for solver in solvers], "after")


@pytest.mark.parametrize("coeff", ["coeff: 1 coeff: -2 coeff: 1", "coeff: 3 coeff: 1 coeff: -1"])
def test_values_are_those_of_numpy(coeff: str) -> None:
    shape, names = (2, 3, 4, 5), ("x", "v", "w")
    text = inputs(dict.fromkeys(names, shape))
    text += layer("Eltwise", f'bottom: "v" bottom: "w" eltwise_param {{ {coeff} }}')
    random = np.random.default_rng(3)
    same(text, {name: random.standard_normal(shape) for name in names})


def test_in_place_with_a_coefficient() -> None:
    shape = (2, 3, 4, 5)
    text = inputs({"x": shape, "w": shape}) + layer("Power", "power_param { scale: 2 }", "x", "y", "t")
    text += layer("Eltwise", 'bottom: "w" eltwise_param { coeff: 2 coeff: 1 }', "y", "y")
    random = np.random.default_rng(3)
    same(text, {name: random.standard_normal(shape) for name in ("x", "w")})


def test_one_launch_writes_all_of_them() -> None:
    text = inputs({"x": (2, 3), "v": (2, 3), "w": (2, 3)})
    text += layer("Eltwise", 'bottom: "v" bottom: "w" eltwise_param { coeff: 1 coeff: -2 coeff: 1 }')
    net = Net(parse("force_backward: true\n" + text), TRAIN, engine="numpy")
    (found,) = [each for each in plan_figures(net).layers if each.name == "one"]
    assert found.launches == 4  # two forward; the two equal gradients, and the third
