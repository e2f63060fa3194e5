"""SpatialDropout: whole channels go, as many as the ratio says, and the same ones in backward."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {"SpatialDropout": [(), ("spatial_dropout_param { dropout_ratio: 0.2 }", ((3, 5),))]}
ARRAY_CODE = {"SpatialDropout": "its mask of channels has no kernels"}
X = np.random.default_rng(1).standard_normal((40, 50, 2, 3))
TEXT = 'type: "SpatialDropout" spatial_dropout_param { dropout_ratio: 0.25 }'


@pytest.mark.parametrize("in_place", [False, True])
def test_train(in_place: bool) -> None:
    one = One(TEXT, X, in_place=in_place, dtype=np.float64)
    factor = one.forward() / X
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :, :1, :1], X.shape), rtol=1e-12)
    assert np.unique(factor.round(6)).tolist() == [0, 1.333333]
    assert (factor[:, :, 0, 0] == 0).mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_allclose(one.backward(np.ones_like(X)), factor, rtol=1e-9)
    check_gradient(TEXT, [X[:3, :4]], in_place=in_place)


def test_test_copies() -> None:
    np.testing.assert_array_equal(One(TEXT, X, phase=TEST, dtype=np.float64).forward(), X)
    check_gradient(TEXT, [X[:3, :4]], phase=TEST)


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="dropout_ratio must be at least 0 and less than 1, got 1"):
        One('type: "SpatialDropout" spatial_dropout_param { dropout_ratio: 1 }', X)
    with pytest.raises(ShapeError, match=r"needs a bottom \(N, C, ...\), got shape \(4,\)"):
        One(TEXT, np.zeros(4))
