from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.helpers import Case, case, ints, run_case, x

A = x(2, 3, 5, 4)
CASES = [
    case("ReduceMean", A, axes=[2, 3], types="Pooling"),
    case("ReduceMean", A, axes=[-1, -2], keepdims=0, types="Pooling Reshape"),
    case("ReduceMean", A, ints(2, 3), opset=18),
    case("ReduceMean", A, axes=[1], types="Convolution"),
    case("ReduceMean", A, axes=[1, 2], types="Reshape Convolution Reshape"),
    case("ReduceMean", A, axes=[0], keepdims=0),
    case("ReduceMean", A, axes=[0, 2]),
    case("ReduceMean", A, axes=[3]),
    case("ReduceMean", A),
    case("ReduceSum", A, ints(3), keepdims=0),
    case("ReduceSum", A, ints(1)),
    case("ReduceSum", x(2, 3, 4, 5, 6), ints(1, 2), keepdims=0),
    case("ReduceSum", x(2, 3, 1, 1), ints(1)),
    case("ReduceL1", A, axes=[2, 3]),
    case("ReduceL1", A, axes=[1]),
    case("ReduceL2", A, axes=[3]),
    case("ReduceL2", A, axes=[1], types="Power Convolution Power"),
    case("ReduceSumSquare", A, axes=[3]),
    case("ReduceMax", A, axes=[2, 3]),
    case("ReduceMax", A, axes=[3], keepdims=0),
    case("ReduceMax", A),
    case("ReduceMax", A, axes=[1], types="Reshape Pooling Reshape"),
    case("ReduceMax", A, axes=[0, 1]),
    case("ReduceMin", A, axes=[1], keepdims=0),
    case("ReduceMin", A, axes=[2, 3], keepdims=0),
    case("ArgMax", A, axis=1, types="ArgMax"),
    case("ArgMax", A, axis=-1, keepdims=0),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
