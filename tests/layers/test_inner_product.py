from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

FILLERS = 'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }'
X = np.random.default_rng(4).standard_normal((2, 3, 4))


@pytest.mark.parametrize("options", ["", "transpose: true", "axis: 2", "axis: -1 bias_term: false", "axis: 0"])
def test_gradient(options: str) -> None:
    check_gradient(f'type: "InnerProduct" inner_product_param {{ num_output: 5 {options} {FILLERS} }}', [X])


@pytest.mark.parametrize("transpose", ["false", "true"])
def test_values(transpose: str) -> None:
    text = f'type: "InnerProduct" inner_product_param {{ num_output: 5 transpose: {transpose} {FILLERS} }}'
    one = One(text, X, dtype=np.float64)
    weight, bias = one.blobs
    assert weight.shape == ((12, 5) if transpose == "true" else (5, 12))
    weight = weight if transpose == "true" else weight.T
    np.testing.assert_allclose(one.forward(), X.reshape(2, 12) @ weight + bias)


def test_batch_may_change_but_inputs_may_not() -> None:
    one = One('type: "InnerProduct" inner_product_param { num_output: 5 }', X)
    assert one.forward(np.ones((7, 12))).shape == (7, 5)
    with pytest.raises(ShapeError, match=r"has weights for 12 inputs, got a bottom of shape \(2, 3, 5\)"):
        one.forward(np.ones((2, 3, 5)))
    with pytest.raises(PrototxtError, match="num_output must be at least 1"):
        One('type: "InnerProduct"', X)
