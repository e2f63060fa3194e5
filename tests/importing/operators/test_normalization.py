from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.importing.helpers import Case, c, case, run_case, x

A = x(2, 4, 5, 3)
P = [c(4, seed=1), c(4, seed=2), c(4, seed=3), np.abs(c(4, seed=4)) + np.float32(0.1)]
CASES = [
    case("BatchNormalization", A, *P, types="BatchNorm Scale"),
    case("BatchNormalization", A, *P, epsilon=1e-3),
    case("BatchNormalization", x(3, 4), *P),
    case("BatchNormalization", x(3, 4, 5), *P, opset=9),
    case("InstanceNormalization", A, *P[:2], epsilon=1e-2, types="InstanceNorm"),
    case("InstanceNormalization", x(2, 4, 7), *P[:2]),
    case("GroupNormalization", A, *P[:2], opset=21, num_groups=2, epsilon=1e-2, types="GroupNorm"),
    case("GroupNormalization", A, c(2), c(2, seed=1), opset=18, num_groups=2),
    case("LayerNormalization", A, c(3), c(3, seed=1)),
    case("LayerNormalization", A, c(4, 5, 3), axis=1, epsilon=1e-2, types="LayerNorm"),
    case("LRN", A, size=3, alpha=0.1, beta=0.6, bias=2.0, types="LRN"),
    case("MeanVarianceNormalization", A, axes=[2, 3]),
    case("MeanVarianceNormalization", A, axes=[1, 2, 3]),
    case("LpNormalization", A, axis=1, types="Normalize"),
    case("LpNormalization", x(3, 7), axis=-1, types="Normalize"),
    case("LpNormalization", A, axis=2),
    case("LpNormalization", A, axis=3),
    case("LpNormalization", x(2, 3, 4), axis=1),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
