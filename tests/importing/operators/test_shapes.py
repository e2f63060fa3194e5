from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.helpers import Case, c, case, ints, run_case, x

A = x(2, 8, 3, 4)
CASES = [
    case("Reshape", A, ints(0, -1), types="Reshape"),
    case("Reshape", A, ints(2, 2, 4, 12)),
    case("Reshape", A, ints(-1)),
    case("Reshape", A, ints(16, 3, 4)),
    case("Reshape", x(2, 3, 1, 1), ints(2, 3)),
    case("Reshape", x(1, 1), ints()),
    case("Squeeze", x(2, 1, 3, 1), ints(1)),
    case("Squeeze", x(2, 1, 3, 1), opset=11, axes=[1, 3]),
    case("Squeeze", x(2, 1, 3, 1)),
    case("Unsqueeze", x(2, 3), ints(0, 2)),
    case("Unsqueeze", x(2, 3), opset=11, axes=[2, 3]),
    case("Flatten", A, types="Flatten"),
    case("Flatten", A, axis=2),
    case("Flatten", A, axis=0),
    case("Flatten", x(2, 3)),
    case("Identity", A, types="Split"),
    case("Dropout", A, types="Split"),
    case("Transpose", A, perm=[0, 2, 3, 1], types="Permute"),
    case("Transpose", x(2, 8, 1, 1), perm=[0, 2, 3, 1], types="Reshape"),
    case("Transpose", A, perm=[0, 3, 1, 2]),
    case("Transpose", A, perm=[2, 0, 3, 1]),
    case("Transpose", A, perm=[3, 2, 1, 0]),
    case("Transpose", x(2, 12, 5, 3), perm=[0, 2, 1, 3]),
    case("Transpose", x(1, 600, 700), perm=[0, 2, 1], bvlc="in 600 pieces: leave out --bvlc"),
    case("Transpose", x(2, 3)),
    case("Expand", x(2, 1, 3), ints(2, 4, 3)),
    case("Expand", x(3), ints(2, 4, 1)),
    case("Tile", x(2, 2, 3), ints(1, 2, 3)),
    case("Concat", A, x(2, 1, 3, 4), axis=1, types="Concat"),
    case("Concat", A, c(2, 8, 3, 2), axis=-1),
    case("DepthToSpace", A, blocksize=2, types="Reshape Permute Reshape"),
    case("DepthToSpace", A, blocksize=2, mode="CRD"),
    case("SpaceToDepth", x(2, 3, 4, 6), blocksize=2),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
