"""Add and Mul with bottoms that are repeated along axes, and SPP, by kernels of ours."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engines.cuda.running import by_kernels, inputs, layer, same

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(101)
SHAPES = {
    "one shape": ((3, 4, 5, 7), (3, 4, 5, 7)),
    "of channels": ((3, 4, 5, 7), (3, 4, 1, 1)),
    "of images": ((3, 4, 5, 7), (3, 1, 1, 1), (1, 4, 5, 7)),
    "of rows": ((3, 4, 5, 7), (4, 1, 7), (7,)),
    "of every second axis": ((3, 4, 5, 7), (3, 1, 5, 1), (1, 4, 1, 7)),
    "one number": ((2, 301), (1,), (1, 1)),
}


@pytest.mark.parametrize("kind", ["Add", "Mul"])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
def test_add_and_mul(kind: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    values = {name: RANDOM.standard_normal(shape) for name, shape in zip("xuv", shapes, strict=False)}
    more = " ".join(f'bottom: "{name}"' for name in list(values)[1:])
    text = inputs({name: value.shape for name, value in values.items()}) + layer(kind, more)
    by_kernels(same(text, {name: v.astype(np.float32) for name, v in values.items()}, tolerance=1e-4), "one")


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_spatial_pyramid(pool: str) -> None:
    x = RANDOM.standard_normal((3, 5, 9, 11)).astype(np.float32)
    text = inputs({"x": x.shape}) + layer("SPP", f"spp_param {{ pyramid_height: 3 pool: {pool} }}")
    by_kernels(same(text, {"x": x}), "one")
