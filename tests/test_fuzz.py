"""Damaged files of every kind: only Dragon's own errors come out, each of one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dragon
from dragon.data import LmdbReader, decode_batch, encode_datum, read_mean, write_mean
from dragon.data.image_file import Color
from tests.helpers import toy_solver

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
edits = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8)
cuts = st.one_of(st.none(), st.floats(0, 1))


def damaged(content: bytes, changes: list[tuple[int, int]], cut: float | None) -> bytes:
    """The content with some bytes replaced, and perhaps its end missing."""
    data = bytearray(content)
    for position, value in changes:
        data[position % len(data)] = value
    return bytes(data if cut is None else data[: int(cut * len(data))])


def survives(action: Callable[[], object]) -> None:
    """The action works, or raises an error of ours in one line."""
    message = ""
    try:
        action()
    except dragon.DragonError as error:
        message = str(error)
    assert "\n" not in message


class Files(dict[str, bytes]):
    """Contents by name."""

    def __repr__(self) -> str:
        return "Files"  # a failing example is printed with its arguments


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Whole files of each kind."""
    folder = tmp_path_factory.mktemp("good")
    solver = toy_solver(folder)
    solver.step(2)
    solver.snapshot()
    hdf5 = toy_solver(folder, snapshot_format=0)
    hdf5.step(1)
    hdf5.snapshot()
    write_mean(folder / "mean.binaryproto", np.ones((3, 8, 8)))
    image = np.random.default_rng(0).integers(0, 256, (3, 6, 5), dtype=np.uint8)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return Files(files, datum=encode_datum(image, 3))


@QUICK
@given(changes=edits, cut=cuts)
@pytest.mark.parametrize("name", ["toy_iter_2.solverstate", "toy_iter_1.solverstate.h5"])
def test_solver_state(
    name: str, good: Files, tmp_path: Path, changes: list[tuple[int, int]], cut: float | None
) -> None:
    for other in ("toy_iter_2.caffemodel", "toy_iter_1.caffemodel.h5"):
        (tmp_path / other).write_bytes(good[other])
    (tmp_path / name).write_bytes(damaged(good[name], changes, cut))
    survives(lambda: _SOLVER.restore(tmp_path / name))


@QUICK
@given(changes=edits, cut=cuts)
@pytest.mark.parametrize("name", ["toy_iter_2.caffemodel", "toy_iter_1.caffemodel.h5"])
def test_weights(name: str, good: Files, tmp_path: Path, changes: list[tuple[int, int]], cut: float | None) -> None:
    (tmp_path / name).write_bytes(damaged(good[name], changes, cut))
    survives(lambda: _SOLVER.net.copy_from(tmp_path / name))


@QUICK
@given(changes=edits, cut=cuts)
def test_mean(good: Files, tmp_path: Path, changes: list[tuple[int, int]], cut: float | None) -> None:
    (tmp_path / "mean.binaryproto").write_bytes(damaged(good["mean.binaryproto"], changes, cut))
    survives(lambda: read_mean(tmp_path / "mean.binaryproto"))


@QUICK
@given(changes=edits, cut=cuts)
def test_datum(good: Files, changes: list[tuple[int, int]], cut: float | None) -> None:
    survives(lambda: decode_batch([damaged(good["datum"], changes, cut)], Color.AS_STORED, lambda i: f"record {i}"))


@QUICK
@given(content=st.binary(max_size=200))
def test_lmdb(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    survives(lambda: LmdbReader(tmp_path).read(1))


_SOLVER = toy_solver()
