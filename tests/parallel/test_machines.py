"""Training on two machines of two ranks each, which four ranks of this machine imitate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.data.synthetic import write_synthetic
from dragon.parallel.ranks import PER_MACHINE
from tests.parallel.test_train import BN, equal, needs_mpi, solver, train, weights

pytestmark = needs_mpi
FIRST = "added up on each of 2 machines first"


@pytest.mark.slow
@pytest.mark.parametrize("middle", ["", BN], ids=["plain", "synchronised BN"])
def test_two_machines_train_as_one_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, middle: str) -> None:
    lmdb = write_synthetic(tmp_path / "drawn", train=170, test=10).train
    monkeypatch.setenv(PER_MACHINE, "2")
    said = {}
    for name, ranks, words in (
        ("alone", 1, []), ("machines", 4, []), ("again", 4, []), ("flat", 4, ["--reduce", "flat"]),
    ):  # fmt: skip
        path = solver(tmp_path / name, lmdb, 20 // ranks, middle, max_iter=6)
        done = train(ranks, path, *words, *(["--sync-bn"] if ranks > 1 and middle else []))
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout + done.stderr
        for one, whole in zip(weights(tmp_path / name, 6), weights(tmp_path / "alone", 6), strict=True):
            assert np.abs(one - whole).max() < 1e-4 * max(np.abs(whole).max(), 0.01)  # a bias before a BN is rounding
    equal(weights(tmp_path / "again", 6), weights(tmp_path / "machines", 6))
    assert FIRST in said["machines"]
    assert FIRST not in said["flat"]
    grouped, flat = (weights(tmp_path / name, 6) for name in ("machines", "flat"))
    assert any((a != b).any() for a, b in zip(grouped, flat, strict=True))  # another order of the sums


def test_sums_that_cannot_be_made(tmp_path: Path) -> None:
    lmdb = write_synthetic(tmp_path / "drawn", train=170, test=10).train
    for name, ranks, words, expected in (
        ("machine", 2, ["--reduce", "machine"], "all 2 ranks are on one machine: sums by machine need several"),
        ("nccl", 2, ["--reduce", "nccl"], "by NCCL: the CUDA engine does not run on all ranks"),
        ("alone", 1, ["--reduce", "flat"], "--reduce needs several ranks"),
    ):
        done = train(ranks, solver(tmp_path / name, lmdb, 10), *words)
        assert done.returncode != 0
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
