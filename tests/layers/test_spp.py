from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(3).standard_normal((2, 3, 7, 6))


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("height", [1, 2, 3])
def test_value_and_gradient(height: int, pool: str) -> None:
    text = f'type: "SPP" spp_param {{ pyramid_height: {height} pool: {pool} }}'
    y = One(text, X).forward()
    parts = []
    for level in range(height):
        bins = 2**level
        k = [math.ceil(n / bins) for n in (7, 6)]
        before = [(size * bins - n + 1) // 2 for size, n in zip(k, (7, 6), strict=True)]
        for n, c, i, j in np.ndindex(2, 3, bins, bins):
            starts = [i * k[0] - before[0], j * k[1] - before[1]]
            rows, columns = (
                slice(max(0, start), min(start + size, limit))
                for start, size, limit in zip(starts, k, (7, 6), strict=True)
            )
            area = math.prod(
                min(start + size, limit + b) - start
                for start, size, limit, b in zip(starts, k, (7, 6), before, strict=True)
            )
            window = X[n, c, rows, columns]
            parts.append((n, level, c, i, j, window.max() if pool == "MAX" else window.sum() / area))
    expected = [[p[5] for p in sorted(parts) if p[0] == n] for n in range(2)]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    check_gradient(text, [X], most=40)


def test_every_size_has_as_many_values() -> None:
    one = One('type: "SPP" spp_param { pyramid_height: 3 }', X)
    assert one.forward().shape == one.forward(np.ones((2, 3, 11, 13))).shape == (2, 63)


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="pyramid_height must be at least 1"):
        One('type: "SPP"', X)
    with pytest.raises(ShapeError, match="level 2 needs 4 x 4 bins"):
        One('type: "SPP" spp_param { pyramid_height: 4 }', X[:, :, :3, :3])


def test_stochastic_pooling_draws_from_the_streams_of_the_layer() -> None:
    """So that it goes on after a resume, and does not begin again where the size changes."""
    text, x = 'type: "SPP" spp_param { pyramid_height: 2 pool: STOCHASTIC }', np.abs(X)
    one, resumed = One(text, x), One(text, x)
    first = one.forward().copy()
    assert one.layer.rng.draws == 2  # a draw for each level
    for _ in range(3):
        resumed.forward()
    resumed.layer.rng = copy.copy(one.layer.rng)  # as a snapshot's restoring replaces the stream
    np.testing.assert_array_equal(one.forward(), resumed.forward())
    one.forward(x[:, :, :5])
    assert not np.array_equal(one.forward(x), first)


def test_stochastic_pooling_follows_the_phase() -> None:
    one = One('type: "SPP" spp_param { pyramid_height: 2 pool: STOCHASTIC }', np.abs(X))
    one.forward()
    one.layer.phase = TEST
    expected = One('type: "SPP" spp_param { pyramid_height: 2 pool: STOCHASTIC }', np.abs(X), phase=TEST).forward()
    np.testing.assert_array_equal(one.forward(), expected)
