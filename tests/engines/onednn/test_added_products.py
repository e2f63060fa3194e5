"""Gradients of inner products that are added to the diffs of the parameters without memory in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.engines.onednn.lowerings import inner_product
from dragon.engines.onednn.plan.builder import Builder
from tests.engines.onednn.comparing import clear, compare, fill, inputs, make_net, set_output_diffs

pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """On processors too where the library has another kernel; memory for gradients is refused."""

    def refused(*_: Any) -> None:
        raise AssertionError("memory for a gradient")

    monkeypatch.setattr(inner_product, "as_fast", lambda gradient: True)
    monkeypatch.setattr(Builder, "weight_diff", refused)


def product(settings: str, specs: str = "", name: str = "ip", bottom: str = "x0") -> str:
    param = f"inner_product_param {{ num_output: 9 {settings} }}"
    return f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {param} {specs} }}\n'


def check(text: str, shape: tuple[int, ...] = (4, 6)) -> None:
    """Two backward passes, whose gradients add up."""
    nets = make_net(inputs(shape) + text, "numpy", dtype=np.float64), make_net(inputs(shape) + text, "onednn")
    fill(nets, 0)
    clear(nets)
    for seed in (0, 1):
        for net in nets:
            net.run_forward()
        set_output_diffs(nets, seed)
        for net in nets:
            net.run_backward()
    compare(*nets, 1e-5)


@pytest.mark.parametrize("frozen", range(4))
@pytest.mark.parametrize("settings", ["", "transpose: true", "bias_term: false", "bias_term: false transpose: true"])
def test_gradients_add_up(settings: str, frozen: int) -> None:
    kinds = 1 if "bias_term" in settings else 2
    check(product(settings, " ".join(f"param {{ lr_mult: {frozen >> i & 1} }}" for i in range(kinds))))


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 5), 2), ((4, 2, 3, 1), 1), ((1, 6), 1)])
def test_rows_of_several_axes_and_images(shape: tuple[int, ...], axis: int) -> None:
    check(product(f"axis: {axis}"), shape)


def test_two_layers_share_a_parameter() -> None:
    shared = 'param { name: "w" } param { name: "b" }'
    check(product("", shared, "a") + product("", shared, "b", "x0"))
