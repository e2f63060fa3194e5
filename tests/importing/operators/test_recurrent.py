from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.helpers import Array, Case, c, case, run_case, x

A = x(4, 2, 3)


def weights(directions: int) -> list[Array]:
    return [c(directions, 20, 3), c(directions, 20, 5), c(directions, 40)]


CASES = [
    case("LSTM", A, *weights(1), hidden_size=5),
    case("LSTM", A, *weights(1)[:2], hidden_size=5, outputs=2),
    case("LSTM", A, *weights(1), hidden_size=5, outputs=3),
    case("LSTM", A, *weights(1), hidden_size=5, direction="reverse"),
    case("LSTM", A, *weights(2), hidden_size=5, direction="bidirectional", outputs=3),
    case("LSTM", A, *weights(1), None, c(1, 2, 5), c(1, 2, 5, seed=1), hidden_size=5, outputs=3),
    case("LSTM", A, *weights(1), None, x(1, 2, 5), x(1, 2, 5), hidden_size=5, outputs=3),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.id)
def test_case(one: Case, tmp_path: Path) -> None:
    run_case(one, tmp_path)
