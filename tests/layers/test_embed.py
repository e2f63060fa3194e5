from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

INDEX = [[0, 2, 2], [4, 1, 2]]
WEIGHT = 'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }'


@pytest.mark.parametrize("bias", ["true", "false"])
def test_value_and_gradient(bias: str) -> None:
    text = f'type: "Embed" embed_param {{ input_dim: 5 num_output: 3 bias_term: {bias} {WEIGHT} }}'
    one = One(text, INDEX)
    y = one.forward()
    weight = one.blobs[0]
    shift = one.blobs[1] if bias == "true" else 0
    for at in np.ndindex(2, 3):
        np.testing.assert_allclose(y[at], weight[INDEX[at[0]][at[1]]] + shift, rtol=1e-6)
    assert check_gradient(text, [INDEX]) == 15 + (3 if bias == "true" else 0)


@pytest.mark.parametrize("index", [5, -1, np.nan])
def test_index_out_of_range(index: float) -> None:
    one = One('type: "Embed" embed_param { input_dim: 5 num_output: 3 }', [0, index])
    with pytest.raises(DataError, match=rf"index {index:g} at position 1: expected 0 to 4"):
        one.forward()


@pytest.mark.parametrize("name", ["num_output", "input_dim"])
def test_sizes_are_needed(name: str) -> None:
    other = "input_dim" if name == "num_output" else "num_output"
    with pytest.raises(PrototxtError, match=f"{name} must be at least 1"):
        One(f'type: "Embed" embed_param {{ {other}: 3 }}', INDEX)
