"""benchmarks/ranks.py: it runs, and wrong input is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ranks import main
from dragon.data.synthetic import write_synthetic
from tests.parallel.test_train import NET, needs_mpi


@needs_mpi
@pytest.mark.slow
def test_a_small_net(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lmdb = write_synthetic(tmp_path / "drawn", train=40, test=10).train
    net = tmp_path / "net.prototxt"
    net.write_text(NET.format(lmdb=lmdb, batch=7, middle=""))
    assert main(["--model", str(net), "--batch", "10", "--turns", "1", "--steps", "2"]) == 0
    said = capsys.readouterr().out
    assert "efficiency: " in said
    assert "| 16,384 KiB" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--batch", "9"], "9 cannot be divided among 2 ranks"),
        (["--ranks", "1"], "--ranks must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_divided(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err


@needs_mpi
def test_a_net_that_cannot_be_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(NET.format(lmdb=tmp_path / "missing", batch=7, middle=""))
    assert main(["--model", str(net)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "missing" in said
    assert "does not exist" in said
