from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.importing.helpers import Case, c, case, run_case, x

A = x(2, 3, 5, 4)
f = np.float32
CASES = [
    case("Add", A, A, types="Eltwise"),
    case("Sub", A, A, types="Eltwise"),
    case("Mul", A, A, types="Eltwise"),
    case("Div", A, A),
    case("Add", A, np.array(2, f), types="Power"),
    case("Add", A, c(3, 1, 1), types="Bias"),
    case("Add", A, c(1, 3, 1, 1), types="Bias"),
    case("Add", A, c(4)),
    case("Add", A, c(5, 1)),
    case("Add", A, c(2, 3, 5, 4)),
    case("Add", A, c(3, 1, 4)),
    case("Sub", np.array(1, f), A),
    case("Sub", A, c(3, 1, 1)),
    case("Sub", c(3, 1, 1), A),
    case("Mul", A, c(3, 1, 1), types="Scale"),
    case("Mul", np.array(0.5, f), A, types="Power"),
    case("Mul", np.array([0.5], f), A),
    case("Mul", x(2, 3, 5, 1), c(4)),
    case("Mul", x(4), c(3, 1)),
    case("Add", x(4), np.ones((1, 1, 1), f)),
    case("Div", A, np.array(4, f)),
    case("Div", A, 2 + np.abs(c(3, 1, 1))),
    case("Div", np.array(4, f), A),
    case("Div", c(3, 1, 1), A),
    case("Mul", A, x(2, 3, 1, 1), types="Reshape Scale"),
    case("Mul", x(2, 3, 1, 1), A, types="Reshape Scale"),
    case("Mul", x(1, 3, 5, 4), x(1, 3, 1, 1), types="Reshape Scale"),
    case("Mul", A, x(2, 1, 5, 4), types="Tile Eltwise"),
    case("Mul", A, x(3, 1, 1)),
    case("Mul", A, x(1, 3, 1, 1)),
    case("Mul", A, x(4)),
    case("Mul", A, x()),
    case("Mul", A, x(1, 1, 1, 1)),
    case("Mul", x(2, 3, 1, 4), x(1, 3, 5, 1)),
    case("Add", A, x(2, 3, 1, 1), types="Reshape Bias"),
    case("Add", A, x(2, 1, 1, 4)),
    case("Sub", A, x(2, 3, 1, 1)),
    case("Sub", x(2, 3, 1, 1), A),
    case("Div", A, x(2, 3, 1, 1)),
    case("Pow", A, np.array(2, f), types="Power"),
    case("Pow", A, np.array(0.5, f)),
    case("Max", A, A, types="Eltwise"),
    case("Max", A, np.array(0, f), types="ReLU"),
    case("Max", A, np.array(0.5, f), A, x(3, 1, 1)),
    case("Min", A, A),
    case("Min", A, np.array(0.5, f)),
    case("Sum", A, A, A, types="Eltwise"),
    case("Sum", A),
    case("Mean", A, A, x(2, 3, 1, 1)),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
