from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.helpers import Case, c, case, run_case, x

CASES = [
    case("Gemm", x(3, 5), c(4, 5), c(4), transB=1, types="InnerProduct"),
    case("Gemm", x(3, 5), c(5, 4), alpha=0.5),
    case("Gemm", x(3, 5), c(5, 4), c(1, 4), beta=2.0),
    case("Gemm", x(3, 5), c(5, 4), c(1)),
    case("Gemm", x(3, 5), c(5, 4), c(3, 1)),
    case("Gemm", x(3, 5), c(5, 4), c(3, 4)),
    case("Gemm", x(5, 3), c(5, 4), c(4), transA=1),
    case("MatMul", x(3, 5), c(5, 4), types="InnerProduct"),
    case("MatMul", x(2, 3, 5), c(5, 4), types="InnerProduct"),
    case("MatMul", x(2, 3, 5), c(5)),
    case("MatMul", c(4, 3), x(2, 3, 5)),
    case("MatMul", x(2, 4, 3), x(2, 3, 1), types="Reshape Tile Eltwise Reduction Reshape"),
    case("MatMul", x(2, 1, 4, 3), x(2, 1, 3, 1)),
    case("MatMul", x(2, 1, 3), x(2, 3, 5)),
    case("MatMul", x(2, 3), x(3, 1)),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
