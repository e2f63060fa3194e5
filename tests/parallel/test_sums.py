"""Sums over ranks: their order, flat and by machine, on processes of MPI that count as machines."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.errors import UsageError
from dragon.parallel.ranks import PER_MACHINE, Ranks
from dragon.parallel.sums import add_groups, add_up
from dragon.parallel.wire import WIRES
from tests.parallel.sums import SIZES, vector
from tests.parallel.test_train import environment, needs_mpi, run

# ranks, ranks on a machine: two equal machines, three of different sizes, one rank alone on the last
CASES = [(4, 2), (5, 2), (4, 3)]


AddUp = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def added_up(tmp_path_factory: pytest.TempPathFactory) -> AddUp:
    """What ranks have gathered, by their number, how many are on a machine and the way.

    They are started once for each `number`.
    """

    @cache
    def add_up(ranks: int, per_machine: int, way: str, number: int = 1) -> dict[str, Any]:
        path = tmp_path_factory.mktemp("sums") / "sums.npz"
        run(ranks, "-m", "tests.parallel.sums", path, way, env=environment(**{PER_MACHINE: str(per_machine)}))
        with np.load(path) as file:
            return dict(file)

    return add_up


def machines(ranks: int, per_machine: int) -> list[list[int]]:
    return [[*range(first, min(first + per_machine, ranks))] for first in range(0, ranks, per_machine)]


def ordered(groups: list[list[int]], rows: dict[int, NDArray[Any]]) -> NDArray[Any]:
    """The ranks of each group one after another, then the groups."""
    return reduce(np.add, [reduce(np.add, [rows[rank] for rank in group]) for group in groups])


@needs_mpi
@pytest.mark.parametrize(("ranks", "per_machine"), CASES)
def test_ranks_of_a_machine_are_added_up_first(added_up: AddUp, ranks: int, per_machine: int) -> None:
    groups = machines(ranks, per_machine)
    found = added_up(ranks, per_machine, "machine")
    assert found["groups"].item() == str(groups)
    assert found["same"]
    for size in SIZES:
        rows = {rank: vector(size, rank) for rank in range(ranks)}
        np.testing.assert_array_equal(found[f"fp32 {size}"], ordered(groups, rows) / np.float32(ranks))
        doubles = {rank: vector(size, rank, np.float64) for rank in range(ranks)}
        np.testing.assert_array_equal(found[f"total {size}"], ordered(groups, doubles))


@needs_mpi
def test_another_run_gives_the_same_bits(added_up: AddUp) -> None:
    """On three machines of different sizes, of which the last sends its rank's own vector."""
    found, again = (added_up(5, 2, "machine", number) for number in (1, 2))
    for name, value in found.items():
        np.testing.assert_array_equal(again[name], value)


@needs_mpi
def test_flat_sums_go_by_rank_and_are_the_same_to_rounding(added_up: AddUp) -> None:
    flat, grouped = (added_up(4, 2, way) for way in ("flat", "machine"))
    assert flat["groups"].item() == "[[0, 1, 2, 3]]"
    assert flat["same"]
    for size in SIZES:
        rows = {rank: vector(size, rank) for rank in range(4)}
        np.testing.assert_array_equal(flat[f"fp32 {size}"], ordered([[0, 1, 2, 3]], rows) / np.float32(4))
        sizes = sum(np.abs(row) for row in rows.values())
        assert (np.abs(flat[f"fp32 {size}"] - grouped[f"fp32 {size}"]) <= 2**-22 * sizes).all()
    assert not np.array_equal(flat[f"fp32 {SIZES[-1]}"], grouped[f"fp32 {SIZES[-1]}"])  # another order, other bits


@needs_mpi
@pytest.mark.parametrize(("ranks", "per_machine"), CASES)
@pytest.mark.parametrize(("wire", "error"), [("bf16", 2**-8), ("fp16", 2**-11)])
def test_16_bits_between_machines(added_up: AddUp, ranks: int, per_machine: int, wire: str, error: float) -> None:
    """What a machine sends is rounded once, and the mean once more, each by at most `error`."""
    found = added_up(ranks, per_machine, "machine")
    for size in SIZES:
        rows = [vector(size, rank, np.float64) for rank in range(ranks)]
        sums = sum(np.abs(sum(rows[rank] for rank in group)) for group in machines(ranks, per_machine))
        off = np.abs(found[f"{wire} {size}"] - sum(rows) / ranks)
        # numbers that fp16 cannot have beside the largest one of the blob lose bits
        assert (off <= 2 * error * sums / ranks + 1e-6 * max(np.abs(row).max() for row in rows)).all()
        assert off.max() > 0 or size < 4_000


class Alone(Ranks):
    """Rank 0 of several, without MPI; `on` are the machines of the ranks."""

    def __init__(self, on: list[list[int]]) -> None:
        self.rank, self.size, self.waited = 0, sum(map(len, on)), 0.0
        self._on = on

    def agree(self, value: Any) -> Any:
        return value

    def machines(self, environment: Any = None) -> list[list[int]]:
        return self._on


@needs_mpi
def test_the_number_of_rank_0_counts(tmp_path: Path) -> None:
    """A launcher may hand the environment to the ranks beside it only; those without it would wait for the others."""
    code = (
        "import os; from mpi4py import MPI; from tests.parallel import sums\n"
        f"if MPI.COMM_WORLD.rank: del os.environ['{PER_MACHINE}']\n"
        "sums.main()"
    )
    run(4, "-c", code, tmp_path / "a.npz", "auto", env=environment(**{PER_MACHINE: "2"}))
    with np.load(tmp_path / "a.npz") as file:
        assert file["groups"].item() == "[[0, 1], [2, 3]]"


@pytest.mark.parametrize(
    ("on", "way", "expected"),
    [
        ([[0, 1], [2, 3]], "auto", [[0, 1], [2, 3]]), ([[0, 1], [2, 3]], "flat", [[0, 1, 2, 3]]),
        ([[0, 1], [2, 3]], "nccl", [[0, 1], [2, 3]]), ([[0, 1, 2]], "auto", [[0, 1, 2]]),
        ([[0], [1], [2]], "auto", [[0, 1, 2]]), ([[0, 1], [2]], "auto", [[0, 1, 2]]),
        ([[0, 1], [2]], "machine", [[0, 1], [2]]),
    ],
)  # fmt: skip
def test_when_sums_are_made_by_machine(on: list[list[int]], way: str, expected: list[list[int]]) -> None:
    ranks = Alone(on)
    ranks.add_up_by(way)
    assert [list(group) for group in ranks.groups] == expected


def test_what_cannot_be_added_up_by_machine() -> None:
    with pytest.raises(UsageError, match="all 3 ranks are on one machine"):
        Alone([[0, 1, 2]]).add_up_by("machine")
    for wrong in ("0", "two", "-1"):
        with pytest.raises(UsageError, match=f"{PER_MACHINE} must be a number of ranks, at least 1, got '{wrong}'"):
            Ranks.machines(Alone([[0, 1]]), {PER_MACHINE: wrong})


@pytest.mark.parametrize("size", [0, 1, 1 << 14, (1 << 14) + 1, 50_000])
def test_a_row_may_be_the_sum(size: int) -> None:
    for place in range(3):
        rows = [vector(size, rank) for rank in range(3)]
        expected = (rows[0] + rows[1] + rows[2]) / np.float32(3)
        add_up(rows, rows[place], 3)
        np.testing.assert_array_equal(rows[place], expected)


def test_rows_of_16_bits_are_added_up_in_float32() -> None:
    wire = WIRES["bf16"]
    assert wire is not None
    rows = [wire.pack(vector(40_000, rank)) for rank in range(3)]
    whole = reduce(np.add, [wire.unpack(row) for row in rows]) / np.float32(3)
    out = np.empty(40_000, np.uint16)
    add_up(rows, out, 3, wire)
    np.testing.assert_array_equal(out, wire.pack(whole))


def test_groups_of_rows() -> None:
    rows = np.stack([vector(100, rank) for rank in range(5)])
    out = np.empty(100, np.float32)
    add_groups(rows, [[0, 1, 2], [3, 4]], out, 5)
    np.testing.assert_array_equal(out, ordered([[0, 1, 2], [3, 4]], dict(enumerate(rows))) / np.float32(5))
