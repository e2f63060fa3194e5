"""`mpirun -n N dragon train`: K ranks train as one process does with a batch K times as large."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.data.synthetic import write_synthetic
from dragon.parallel.mpiexec import rank_environment
from dragon.parallel.ranks import RANK_NAMES
from dragon.proto import dragon_pb2 as pb
from dragon.tools.observers.metrics import read_records

ROOT = Path(__file__).parents[2]
WITHOUT_PLOTS = Path(__file__).with_name("without_plots")
MPIEXEC = Path(sys.executable).with_name("mpiexec")
needs_mpi = pytest.mark.skipif(not find_spec("mpi4py") or not MPIEXEC.exists(), reason="needs mpi4py and mpich")
pytestmark = needs_mpi

NET = """
layer {{ name: "d" type: "Data" top: "x" top: "l" data_param {{ source: "{lmdb}" batch_size: {batch} backend: LMDB }}
  transform_param {{ scale: 0.01 mirror: true crop_size: 24 brightness: 0.2 }} }}
layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {{
  num_output: 8 kernel_size: 5 stride: 4 weight_filler {{ type: "msra" }} }} }}
{middle}
layer {{ name: "dr" type: "Dropout" bottom: "c" top: "c" }}
layer {{ name: "i" type: "InnerProduct" bottom: "c" top: "i" inner_product_param {{
  num_output: 10 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "i" bottom: "l" top: "loss" }}
"""
BN = 'layer { name: "bn" type: "BN" bottom: "c" top: "c" }'
Weights = list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def lmdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("data") / "drawn", train=170, test=10).train


def solver(folder: Path, lmdb: Path, batch: int, middle: str = "", **settings: object) -> Path:
    folder.mkdir()
    (folder / "net.prototxt").write_text(NET.format(lmdb=lmdb, batch=batch, middle=middle))
    fields = {
        "net": '"net.prototxt"', "base_lr": 0.05, "lr_policy": '"fixed"', "momentum": 0.9, "max_iter": 9,
        "snapshot": 3, "snapshot_prefix": f'"{folder}/m"', "random_seed": 3, "display": 1, **settings,
    }  # fmt: skip
    path = folder / "solver.prototxt"
    path.write_text("\n".join(f"{name}: {value}" for name, value in fields.items()))
    return path


def on_ranks(ranks: int, *words: object) -> list[str]:
    """The command that runs Python with these words on each rank."""
    program = [sys.executable, *map(str, words)]
    return program if ranks == 1 else [str(MPIEXEC), "-n", str(ranks), *program]


def command(ranks: int, *words: object) -> list[str]:
    return on_ranks(ranks, "-m", "dragon", "train", *words)


def run(ranks: int, *words: object, env: dict[str, str] | None = None, timeout: int = 120) -> str:
    """Run Python with these words on each rank; what it printed. env: None for that of `environment()`."""
    done = subprocess.run(
        on_ranks(ranks, *words),
        capture_output=True, text=True, env=env or environment(), timeout=timeout, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(plots: bool = False, /, **more: str) -> dict[str, str]:
    """That of a process of one thread which imports this Dragon. plots: with matplotlib, half of a short training."""
    path = [ROOT] if plots else [WITHOUT_PLOTS, ROOT]
    return {
        **rank_environment(), "PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1", **more,
    }  # fmt: skip


def ranks_of(mark: str) -> dict[int, int]:
    """Processes by rank of the program with this mark in its environment."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            values = (path / "environ").read_bytes().split(b"\0")
            watches = b"watcher.py" in (path / "cmdline").read_bytes()
        except OSError:
            continue
        known = dict(value.split(b"=", 1) for value in values if b"=" in value)
        rank = next((int(known[name.encode()]) for name in RANK_NAMES if name.encode() in known), None)
        if known.get(b"DRAGON_TEST_MARK") == mark.encode() and rank is not None and not watches:
            found[rank] = int(path.name)
    return found


def train(
    ranks: int, path: Path, *words: object, engine: str = "numpy", cwd: Path | None = None, plots: bool = False
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(ranks, "--solver", path, "--no-run", "--engine", engine, *words),
        capture_output=True, text=True, env=environment(plots), timeout=300, check=False, cwd=cwd,
    )  # fmt: skip
    return done


def weights(folder: Path, iteration: int) -> Weights:
    net = pb.NetParameter()
    net.ParseFromString((folder / f"m_iter_{iteration}.caffemodel").read_bytes())
    return [np.array(blob.data, np.float32) for layer in net.layer for blob in layer.blobs]


def close(one: Weights, other: Weights, tolerance: float = 2e-5) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


def equal(one: Weights, other: Weights) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_ranks_train_as_one_with_a_larger_batch(tmp_path: Path, lmdb: Path, engine: str) -> None:
    alone, two, again = (tmp_path / name for name in ("alone", "two", "again"))
    done = train(1, solver(alone, lmdb, 20), engine=engine)
    assert done.returncode == 0, done.stderr
    done = train(2, solver(two, lmdb, 10), engine=engine, plots=True)
    assert done.returncode == 0, done.stderr
    assert (two / "curves.png").is_file()
    assert "2 ranks: 10 images in a batch of each, 20 of all" in done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("Optimization Done") == 1
    close(weights(two, 9), weights(alone, 9))
    shown = [record for record in read_records(two / "metrics.jsonl") if "read_ms" in record]
    assert [record["iteration"] for record in shown] == [*range(9)]
    assert all(len(record[name]) == 2 for record in shown for name in ("read_ms", "compute_ms", "wait_ms"))
    assert not any("read_ms" in record for record in read_records(alone / "metrics.jsonl"))
    assert train(2, solver(again, lmdb, 20), "--divide-batch", engine=engine).returncode == 0
    equal(weights(again, 9), weights(two, 9))


def test_another_number_of_ranks_goes_on(tmp_path: Path, lmdb: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(1, solver(whole, lmdb, 18)).returncode == 0
    path = solver(parts, lmdb, 18)
    for ranks, until in ((2, 3), (3, 6), (1, 9)):
        before = parts / f"m_iter_{until - 3}.solverstate"
        words = [*(["--snapshot", before] if until > 3 else []), *(["--divide-batch"] if ranks > 1 else [])]
        done = train(ranks, path, "--iterations", until, *words)
        assert done.returncode == 0, done.stderr
    close(weights(parts, 9), weights(whole, 9))


def test_running_statistics_are_averaged(tmp_path: Path, lmdb: Path) -> None:
    two, one = tmp_path / "two", tmp_path / "one"
    assert train(2, solver(two, lmdb, 10, BN, max_iter=1, snapshot=1)).returncode == 0
    assert train(1, solver(one, lmdb, 20, BN, max_iter=1, snapshot=1)).returncode == 0
    mean, expected = (weights(folder, 1)[4] for folder in (two, one))
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)  # means of halves, averaged


@pytest.mark.parametrize(
    ("batch", "ranks", "said"),
    [(9, 2, "batch_size 9 cannot be divided among 2 ranks"), (10, 1, "--divide-batch needs several ranks")],
)
def test_what_cannot_be_divided(tmp_path: Path, lmdb: Path, batch: int, ranks: int, said: str) -> None:
    done = train(ranks, solver(tmp_path / "run", lmdb, batch), "--divide-batch")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_loss_that_is_infinite_on_one_rank_ends_all(tmp_path: Path, lmdb: Path) -> None:
    done = train(2, solver(tmp_path / "run", lmdb, 10, base_lr=1e30))
    assert done.returncode != 0
    assert done.stderr.count("dragon: error: iteration") == 1


def test_rank_0_has_the_time_to_say_why_all_end(tmp_path: Path, lmdb: Path) -> None:
    path = solver(tmp_path / "run", lmdb, 10, base_lr=1e30)
    late = "import time, dragon\nclass Late(dragon.Observer):\n    def on_end(self, solver): time.sleep(5)\n"
    (tmp_path / "late.py").write_text(late)
    done = train(2, path, "--observer", "late:Late", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("dragon: error: iteration") == 1, done.stderr


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_killed_rank_ends_the_others(tmp_path: Path, lmdb: Path) -> None:
    path = solver(tmp_path / "run", lmdb, 10, max_iter=1_000_000, snapshot=0)
    running = subprocess.Popen(
        command(2, "--solver", path, "--no-run", "--engine", "numpy"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=environment(DRAGON_TEST_MARK=str(tmp_path)),
    )  # fmt: skip
    try:
        assert running.stdout is not None
        while "Iteration 2 " not in running.stdout.readline():
            assert running.poll() is None
        os.kill(ranks_of(str(tmp_path))[1], signal.SIGKILL)
        said, _ = running.communicate(timeout=60)
        assert running.returncode != 0
        assert "KILLED BY SIGNAL: 9" in said or "signal 9" in said
        deadline = time.monotonic() + 30
        while ranks_of(str(tmp_path)):
            assert time.monotonic() < deadline
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
