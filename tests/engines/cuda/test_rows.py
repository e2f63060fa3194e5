"""Normalisers whose statistics belong to one item, sums of rows, operands that are bottoms: by kernels of ours."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engines.cuda.running import by_kernels, inputs, layer, same

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(81)
SHAPES = [(3, 4, 5, 7), (2, 4, 16), (2, 4, 3, 301), (70, 4)]
AFFINE = "scale_filler { value: 1.3 } bias_filler { value: 0.2 }"
NORMALISERS = {
    "GroupNorm": "group_norm_param { num_groups: 2 " + AFFINE + " }",
    "GroupNorm without blobs": "group_norm_param { num_groups: 4 scale_bias: false }",
    "InstanceNorm": "instance_norm_param { eps: 1e-2 " + AFFINE + " }",
    "InstanceNorm without blobs": "instance_norm_param { eps: 1e-2 }",
    "LayerNorm": "layer_norm_param { axis: 1 " + AFFINE + " }",
    "LayerNorm of the last axis": "layer_norm_param { axis: -1 " + AFFINE + " }",
    "MVN": "mvn_param { eps: 1e-2 }",
    "MVN across channels": "mvn_param { across_channels: true }",
    "MVN of means": "mvn_param { normalize_variance: false }",
    "Normalize": 'norm_param { across_spatial: false scale_filler { type: "constant" value: 20 } }',
    "Normalize items": "norm_param { across_spatial: true channel_shared: true }",
    "Normalize items by channel": "norm_param { across_spatial: true channel_shared: false }",
    "Normalize, one factor": "norm_param { across_spatial: false channel_shared: true }",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NORMALISERS)
def test_normalisers(name: str, shape: tuple[int, ...]) -> None:
    x = (RANDOM.standard_normal(shape) * 2 + 3).astype(np.float32)
    text = inputs({"x": shape}) + layer(name.split()[0].rstrip(","), NORMALISERS[name])
    by_kernels(same(text, {"x": x}, tolerance=2e-4), "one")


@pytest.mark.parametrize("kind", ["LayerNorm", "MVN", "Normalize"])
def test_normalisers_in_place(kind: str) -> None:
    x = RANDOM.standard_normal((3, 4, 5, 7)).astype(np.float32)
    text = (
        inputs({"x": x.shape}) + layer("Power", "power_param { scale: 1 }", top="y", name="copy") + layer(kind, "", "y")
    )
    by_kernels(same(text, {"x": x}, tolerance=2e-4), "one")


@pytest.mark.parametrize("operation", ["SUM", "ASUM", "SUMSQ", "MEAN"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_reduction(operation: str, axis: int) -> None:
    x = RANDOM.standard_normal((5, 4, 301)).astype(np.float32)
    settings = f"reduction_param {{ operation: {operation} axis: {axis} coeff: 1.5 }}"
    by_kernels(same(inputs({"x": x.shape}) + layer("Reduction", settings), {"x": x}, tolerance=1e-4), "one")


@pytest.mark.parametrize("kind", ["Scale", "Bias"])
@pytest.mark.parametrize(("axis", "operand"), [(0, (3, 4)), (1, (4,)), (0, (3, 4, 5, 7)), (2, (5, 7)), (0, ())])
def test_an_operand_that_is_a_bottom(kind: str, axis: int, operand: tuple[int, ...]) -> None:
    x, w = RANDOM.standard_normal((3, 4, 5, 7)), RANDOM.standard_normal(operand)
    settings = f'bottom: "w" {kind.lower()}_param {{ axis: {axis} }}'
    text = inputs({"x": x.shape, "w": operand}) + layer(kind, settings)
    by_kernels(same(text, {"x": x.astype(np.float32), "w": w.astype(np.float32)}, tolerance=1e-4), "one")


def test_a_scale_by_a_bottom_in_place_with_a_bias() -> None:
    x, w = RANDOM.standard_normal((3, 4, 5, 7)), RANDOM.standard_normal((3, 4))
    text = inputs({"x": x.shape, "w": w.shape}) + layer("Power", "power_param { scale: 1 }", top="y", name="copy")
    text += layer("Scale", 'bottom: "w" scale_param { axis: 0 bias_term: true bias_filler { value: 1 } }', "y")
    by_kernels(same(text, {"x": x.astype(np.float32), "w": w.astype(np.float32)}, tolerance=1e-4), "one")


@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (70, 4), (2, 5, 16)])
def test_axpy(shape: tuple[int, ...]) -> None:
    values = {
        "x": RANDOM.standard_normal(shape[:2]),
        "u": RANDOM.standard_normal(shape),
        "v": RANDOM.standard_normal(shape),
    }
    text = inputs({name: value.shape for name, value in values.items()})
    text += layer("Axpy", 'bottom: "u" bottom: "v"')
    by_kernels(same(text, {name: v.astype(np.float32) for name, v in values.items()}, tolerance=1e-4), "one")
