"""`dragon train --gpu 0,1` and `--gpu all` start a rank for each GPU. The command's processes get emulated GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.cuda.conftest import ON_A_GPU
from tests.engines.cuda.emulation.compiler import find_compiler
from tests.parallel.test_train import close, environment, equal, lmdb, needs_mpi, solver, weights

__all__ = ["lmdb"]

pytestmark = [
    needs_mpi,
    pytest.mark.slow,
    pytest.mark.skipif(ON_A_GPU, reason="emulates two GPUs"),
    pytest.mark.skipif(find_compiler() is None, reason="g++ is not installed: kernels cannot be emulated"),
]
# Python runs this when it starts
START = """
import sys
import pytest
from tests.engines.cuda.conftest import emulation
from tests.engines.cuda.emulation import nccl
running = emulation(pytest.MonkeyPatch(), 2)
next(running)
sys.modules["cupy.cuda.nccl"] = nccl.make()
"""


def train(folder: Path, path: Path, *words: object) -> str:
    (folder / "sitecustomize.py").write_text(START)
    known = environment()
    done = subprocess.run(
        [sys.executable, "-m", "dragon", "train", "--solver", str(path), "--no-run", *map(str, words)],
        capture_output=True, text=True, timeout=600, check=False,
        env={**known, "PYTHONPATH": os.pathsep.join([str(folder), known["PYTHONPATH"]])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_each_gpu_gets_a_rank(tmp_path: Path, lmdb: Path) -> None:
    one, two, every = (
        solver(tmp_path / name, lmdb, batch, max_iter=3, snapshot=3)
        for name, batch in (("one", 20), ("two", 10), ("all", 10))
    )
    assert "2 ranks" not in train(tmp_path, one, "--gpu", 1)
    for path, gpu in ((two, "1,0"), (every, "all")):
        said = train(tmp_path, path, "--gpu", gpu)
        assert "2 ranks: 10 images in a batch of each, 20 of all" in said
        assert "are sent by NCCL 2.27.3 while backward runs" in said or "are sent by NCCL 2.27.3 after backward" in said
    close(weights(tmp_path / "two", 3), weights(tmp_path / "one", 3), 1e-4)
    equal(weights(tmp_path / "all", 3), weights(tmp_path / "two", 3))
