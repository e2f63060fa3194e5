"""Fillers: their distributions, and errors that name the blob."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.bases.fillers import FILLERS, fill
from dragon.errors import PrototxtError, ShapeError
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

SHAPE = (200, 30, 5, 5)


def filled(shape: tuple[int, ...] = SHAPE, **settings: object) -> Array:
    out = np.full(shape, np.nan)
    fill(out, pb.FillerParameter(**settings), Stream(1, "test"), "weight")  # type: ignore[arg-type]
    assert np.isfinite(out).all()
    return out


def close(value: float, expected: float, count: int, scale: float) -> bool:
    """Within five standard errors."""
    return bool(abs(value - expected) < 5 * scale / math.sqrt(count))


def test_constant() -> None:
    assert (filled(value=3.5) == 3.5).all()


def test_uniform() -> None:
    out = filled(type="uniform", min=-2, max=4)
    assert out.min() >= -2
    assert out.max() < 4
    assert close(out.mean(), 1, out.size, 6 / math.sqrt(12))


def test_gaussian() -> None:
    out = filled(type="gaussian", mean=1, std=0.5)
    assert close(out.mean(), 1, out.size, 0.5)
    assert close(out.std(), 0.5, out.size, 0.5)


def test_sparse_gaussian_keeps_the_expected_number_of_inputs() -> None:
    out = filled((100, 1000), type="gaussian", std=1, sparse=10)
    assert close(np.count_nonzero(out) / out.size, 10 / 100, out.size, math.sqrt(0.1 * 0.9))


def test_positive_unitball() -> None:
    out = filled(type="positive_unitball")
    assert out.min() >= 0
    assert np.allclose(out.reshape(200, -1).sum(axis=1), 1)


@pytest.mark.parametrize(("norm", "n"), [("FAN_IN", 750), ("FAN_OUT", 5000), ("AVERAGE", 2875)])
def test_xavier_and_msra(norm: str, n: int) -> None:
    xavier = filled(type="xavier", variance_norm=norm)
    assert abs(xavier).max() <= math.sqrt(3 / n)
    assert close(xavier.var() * n, 1, xavier.size, 1)
    msra = filled(type="msra", variance_norm=norm)
    assert close(msra.std() / math.sqrt(2 / n), 1, msra.size, 1)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_bilinear_is_the_interpolation_kernel(size: int) -> None:
    out = filled((2, 1, size, size), type="bilinear")
    centre = (size - 1) / 2
    factor = math.ceil(size / 2)
    ramp = 1 - abs(np.arange(size) - centre) / factor
    assert np.allclose(out, ramp[:, None] * ramp)


def test_errors_name_the_blob_and_the_nearest_filler() -> None:
    with pytest.raises(PrototxtError, match=r'weight: unknown filler type "gausian".*"gaussian"'):
        filled(type="gausian")
    with pytest.raises(ShapeError, match="weight: a bilinear filler"):
        filled((2, 3), type="bilinear")
    with pytest.raises(PrototxtError, match="sparse"):
        filled(type="uniform", sparse=2)
    assert len(FILLERS) == 7


def test_alpha_of_msra_is_the_slope_of_the_relu() -> None:
    plain, sloped = filled(type="msra"), filled(type="msra", alpha=0.75)
    np.testing.assert_allclose(sloped, plain / 1.25, rtol=1e-5)  # sqrt(1 + 0.75^2) = 1.25
