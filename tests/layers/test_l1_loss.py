"""L1Loss, plain and with FlowNet's settings, against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

IMAGE = (2, 6, 5, 4)
FLOWNET = "l1_loss_param { l2_per_location: true normalize_by_num_entries: true epsilon: 0.05 plateau: 0.5 }"
CATALOGUE = {
    "L1Loss": [
        ("", ((3, 5), (3, 5))),
        ("loss_weight: 0.25", (IMAGE, IMAGE)),
        (FLOWNET, (IMAGE, IMAGE)),
        ("l1_loss_param { l2_per_location: true l2_prescale_by_channels: true }", (IMAGE, IMAGE)),
        ("l1_loss_param { plateau: 0.25 }", (IMAGE,)),
    ]
}
ARRAY_CODE = {"L1Loss l1_loss_param": "FlowNet's settings have no kernels"}
RNG = np.random.default_rng(1)
A, B = RNG.standard_normal((2, 2, 3, 4, 5))


def test_plain() -> None:
    expected = sum(abs(a - b) for a, b in zip(A.ravel(), B.ravel(), strict=True)) / 2
    assert float(One('type: "L1Loss"', A, B).forward()) == pytest.approx(expected, rel=1e-6)
    check_gradient('type: "L1Loss"', [A, B])


def test_one_bottom_is_the_difference() -> None:
    both = One('type: "L1Loss"', A, B, dtype=np.float64).forward()
    assert float(One('type: "L1Loss"', A - B, dtype=np.float64).forward()) == pytest.approx(float(both))
    check_gradient('type: "L1Loss"', [A - B])


@pytest.mark.parametrize("plateau", [0, 0.8])
@pytest.mark.parametrize("by_entries", [False, True])
@pytest.mark.parametrize("prescale", [None, False, True])
def test_as_flownet_has_it(prescale: bool | None, by_entries: bool, plateau: float) -> None:
    known = RNG.uniform(size=A.shape) < 0.8
    target = np.where(known, B, np.nan)
    text = (
        f"l2_per_location: {prescale is not None} l2_prescale_by_channels: {bool(prescale)} "
        f"normalize_by_num_entries: {by_entries} epsilon: 0.05 plateau: {plateau}"
    )
    text = f'type: "L1Loss" l1_loss_param {{ {text.lower()} }}'
    total = 0.0
    for n, i, j in np.ndindex(2, 4, 5):
        d = [A[n, c, i, j] - B[n, c, i, j] for c in range(3) if known[n, c, i, j]]
        if prescale is None:
            total += sum(abs(v) for v in d if abs(v) >= plateau)
        else:
            square = sum(v * v for v in d) / (3 if prescale else 1)
            total += math.sqrt((square if square >= plateau**2 else 0) + 0.05)
    one = One(text, A, target, dtype=np.float64)
    assert float(one.forward()) == pytest.approx(total / (known.sum() / 3 if by_entries else 2), rel=1e-6)
    assert (one.backward(1.0)[~known] == 0).all()
    check_gradient(text, [A, B])


def test_a_nan_counts_without_settings() -> None:
    assert np.isnan(One('type: "L1Loss"', A, np.where(A > 2, np.nan, B)).forward())


def test_without_epsilon_equal_values_have_no_gradient() -> None:
    target = B.copy()
    target[0] = A[0]
    one = One('type: "L1Loss" l1_loss_param { l2_per_location: true epsilon: 0 }', A, target, dtype=np.float64)
    one.forward()
    dx = one.backward(1.0)
    assert (dx[0] == 0).all()
    assert np.isfinite(dx).all()
    assert (dx[1] != 0).all()


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="epsilon must not be negative, got -1"):
        One('type: "L1Loss" l1_loss_param { l2_per_location: true epsilon: -1 }', A, B)
    with pytest.raises(ShapeError, match=r"bottoms must have one shape \(N, ...\): expected \(2, 3, 4, 5\)"):
        One('type: "L1Loss"', A, B[:, :2])
    with pytest.raises(ShapeError, match=r"need a bottom \(N, C, ...\), got shape \(4,\)"):
        One('type: "L1Loss" l1_loss_param { l2_per_location: true }', np.zeros(4))
