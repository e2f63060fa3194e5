from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

XS = np.random.default_rng(6).standard_normal((3, 2, 3))
SETTINGS = ["", "operation: PROD", "operation: PROD stable_prod_grad: false", "operation: MAX"]


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("setting", SETTINGS)
def test_value_and_gradient(setting: str, n: int) -> None:
    text = f'type: "Eltwise" eltwise_param {{ {setting} }}'
    xs = XS[:n]
    expected = xs.prod(0) if "PROD" in setting else xs.max(0) if "MAX" in setting else xs.sum(0)
    np.testing.assert_allclose(One(text, *xs).forward(), expected, rtol=1e-5)
    assert check_gradient(text, list(xs)) == n * 6


def test_coefficients() -> None:
    text = 'type: "Eltwise" eltwise_param { coeff: 2 coeff: -0.5 coeff: 1 }'
    np.testing.assert_allclose(One(text, *XS).forward(), 2 * XS[0] - 0.5 * XS[1] + XS[2], rtol=1e-5)
    check_gradient(text, list(XS))


def test_product_with_zero_needs_the_stable_gradient() -> None:
    one = One('type: "Eltwise" eltwise_param { operation: PROD }', [0.0, 2.0], [3.0, 4.0])
    one.forward()
    assert one.backward([1, 1]).tolist() == [3, 4]
    assert one.bottom[1].diff.tolist() == [0, 2]


def test_equal_maxima() -> None:
    one = One('type: "Eltwise" eltwise_param { operation: MAX }', [1.0], [1.0], [1.0])
    one.forward()
    one.backward([5])
    assert [float(b.diff[0]) for b in one.bottom] == [0, 5, 0]


def test_sum_in_place() -> None:
    one = One('type: "Eltwise" eltwise_param { coeff: 3 coeff: 2 }', XS[0], XS[1], in_place=True)
    np.testing.assert_allclose(one.forward(), 3 * XS[0] + 2 * XS[1], rtol=1e-5)
    one.backward(XS[2])
    np.testing.assert_allclose(one.bottom[1].diff, 2 * XS[2], rtol=1e-6)
    np.testing.assert_allclose(one.bottom[0].diff, 3 * XS[2], rtol=1e-6)


def test_messages() -> None:
    with pytest.raises(ShapeError, match=r"bottom 1 must have the shape of bottom 0: expected \(2, 3\), got \(3,\)"):
        One('type: "Eltwise"', XS[0], XS[0, 0])
    with pytest.raises(PrototxtError, match="expected one coeff for each of 2 bottoms, got 1"):
        One('type: "Eltwise" eltwise_param { coeff: 1 }', *XS[:2])
    with pytest.raises(PrototxtError, match="coeff is for operation SUM only"):
        One('type: "Eltwise" eltwise_param { operation: PROD coeff: 1 coeff: 1 }', *XS[:2])
    with pytest.raises(PrototxtError, match="in place only as a SUM"):
        One('type: "Eltwise" eltwise_param { operation: PROD }', *XS[:2], in_place=True)
    with pytest.raises(PrototxtError, match="takes at least 2 bottom blobs, got 1"):
        One('type: "Eltwise"', XS[0])
