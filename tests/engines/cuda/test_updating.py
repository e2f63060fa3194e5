"""The update on the GPU, and the rules for which there is no kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from dragon.engines.cuda.updating import DeviceUpdate
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.rules import RULES, SGD
from dragon.solver.types import get_solver
from tests.engines import needs

pytestmark = pytest.mark.usefixtures("cuda")

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 6 } data_filler { type: "gaussian" }
  shape { dim: 4 } data_filler { type: "constant" } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


BY_NORMS = [name for name, rule in RULES.items() if rule.local_rate or rule.step_of_norm]


class Halved(SGD):
    """SGD by a step half as long: it has the name of a rule that has a kernel."""

    def step(self, xp: Any, g: Any, w: Any, history: Sequence[Any], rate: float, decay: float, t: int) -> None:
        super().step(xp, g, w, history, rate / 2, decay, t)


def solver(engine: str, **settings: Any) -> Any:
    net = pb.NetParameter()
    parse_text(NET, net)
    usual: dict[str, Any] = {"base_lr": 0.1, "lr_policy": "fixed", "momentum": 0.9, "weight_decay": 0.01}
    return get_solver(pb.SolverParameter(net_param=net, **(usual | settings)), engine=engine, seed=3)


@pytest.mark.parametrize("name", [name for name in RULES if name not in BY_NORMS])
def test_each_rule_has_a_kernel(name: str) -> None:
    momentum = {} if name not in ("AdaGrad", "RMSProp") else {"momentum": 0.0}
    mine, other = (solver(engine, type=name, **momentum) for engine in ("cuda", "numpy"))
    assert DeviceUpdate.supports(mine.updater)
    for one in (mine, other):
        one.step(4)
    for a, b in zip(mine.net.learnable, other.net.learnable, strict=True):
        np.testing.assert_allclose(a.blob.data, b.blob.data, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "settings",
    [*({"larc": True, "larc_policy": policy} for policy in ("scale", "clip")), *({"type": name} for name in BY_NORMS)],
)
def test_layer_wise_rates_are_left_to_the_solver(settings: dict[str, Any]) -> None:
    mine, other = (solver(engine, larc_eta=0.02, **settings) for engine in ("cuda", "numpy"))
    assert not DeviceUpdate.supports(mine.updater)
    for one in (mine, other):
        one.step(4)
    for a, b in zip(mine.net.learnable, other.net.learnable, strict=True):
        np.testing.assert_allclose(a.blob.data, b.blob.data, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("engine", ["cuda", "onednn"])
def test_a_rule_derived_from_one_is_left_to_the_solver(engine: str) -> None:
    if engine == "onednn":
        needs.onednn()
    mine, other, plain = (solver(name) for name in (engine, "numpy", "numpy"))
    for one in (mine, other):
        one.updater.rule = Halved(one.param)
    assert not DeviceUpdate.supports(mine.updater)
    for one in (mine, other, plain):
        one.step(4)
    for a, b, c in zip(mine.net.learnable, other.net.learnable, plain.net.learnable, strict=True):
        np.testing.assert_allclose(a.blob.data, b.blob.data, rtol=2e-5, atol=2e-6)
        assert np.abs(a.blob.data - c.blob.data).max() > 1e-4


def test_the_coefficients_are_those_of_now() -> None:
    updater = solver("numpy", type="RMSProp", momentum=0.0, rms_decay=0.75).updater
    assert updater.coefficients.decay1 == 0.75
    updater.param.weight_decay = 0.5
    assert updater.coefficients.weight_decay == 0.5
