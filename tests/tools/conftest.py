"""A small net with everything that a resume must get right, and ways to run `dragon`, in this process or another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.data import write_synthetic
from dragon.graph.net import Net
from dragon.tools.common.arguments import normalise
from dragon.tools.main import run
from dragon.tools.observers import curves

NET = """
name: "small"
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 24 scale: 0.01 mean_value: 128 }
  data_param { source: "data/synthetic_train_lmdb" batch_size: 8 backend: LMDB }
}
layer {
  name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 24 scale: 0.01 mean_value: 128 }
  data_param { source: "data/synthetic_test_lmdb" batch_size: 8 backend: LMDB }
}
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 5 stride: 4 bias_term: false weight_filler { type: "xavier" } }
}
layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer {
  name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } }
}
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt"
test_iter: 2
test_interval: 10
base_lr: 0.01
lr_policy: "step"
stepsize: 7
gamma: 0.5
momentum: 0.9
weight_decay: 0.001
average_loss: 3
display: 5
max_iter: 20
snapshot: 5
snapshot_prefix: "out/x"
solver_mode: CPU
random_seed: 3
"""


SPLIT = """layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }"""

DEPLOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param {
  num_output: 3 bias_term: false } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}


@dataclass
class Result:
    """What a command line ended with."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error line, after a check that it is a single one without a traceback."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("dragon: error: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("dragon: error: ")


Dragon = Callable[..., Result]


@pytest.fixture(autouse=True)
def _curves_are_empty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings write an empty curves.png unless a test asks for `pictures`: drawing takes most of their time."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(curves, "draw_curves", lambda path, *rest: path.write_bytes(b""))


@pytest.fixture
def pictures() -> None:
    """Trainings draw curves.png."""


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_synthetic(folder, train=60, test=24)
    return folder


@pytest.fixture
def work(tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with net.prototxt, solver.prototxt and data/; it is the current one."""
    shutil.copytree(drawn, tmp_path / "data")
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reference_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets run on the reference engine unless a test names another."""
    monkeypatch.setenv("DRAGON_ENGINE", "numpy")


@pytest.fixture
def trained(work: Path) -> Path:
    """net.prototxt with BatchNorm and Scale, and net.caffemodel after three training batches."""
    edit(work / "net.prototxt", 'layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }', SPLIT)
    net = Net("net.prototxt", TRAIN, seed=1)
    for _ in range(3):
        net.run_forward()
    net.params["scale"][0].data[...] = [0.5, 1, 2, 3]
    net.params["scale"][1].data[...] = [1, 0, -1, 2]
    net.save("net.caffemodel")
    net.close()
    return work


@pytest.fixture
def coloured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures, their list, and a net that tells their colours; blue first, as Caffe's nets see them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRAGON_ENGINE", "numpy")
    (tmp_path / "im").mkdir()
    lines = []
    for i, (name, colour) in enumerate(COLOURS.items()):
        pixels = np.full((10, 20, 3), colour, np.uint8)
        pixels[:, 10:] //= 2
        PIL.Image.fromarray(pixels).save(tmp_path / "im" / f"{name} one.png")
        lines.append(f"{name} one.png {i}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    (tmp_path / "words.txt").write_text("BLUE\nGREEN\nRED\n")
    net = Net("deploy.prototxt", TEST)
    net.params["ip"][0].data[...] = np.eye(3) * 0.1
    net.save("net.caffemodel")
    return tmp_path


@pytest.fixture
def dragon(capsys: pytest.CaptureFixture[str]) -> Dragon:
    """Run a command line in this process."""

    def call(*args: str) -> Result:
        capsys.readouterr()
        code = run(*normalise(args))
        return Result(code, *capsys.readouterr())

    return call


def edit(path: Path, old: str, new: str) -> None:
    """Replace what must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


DRIVER = """
import sys
{before}
from dragon.tools.main import main
main(sys.argv[1:])
"""
# in a process of its own, importing matplotlib would be the larger part
NO_PICTURES = """
from dragon.tools.observers import curves
curves.draw_curves = lambda path, *rest: path.write_bytes(b"")
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(work: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start a command line as a process of its own; Python code may come before it."""
    running: list[subprocess.Popen[str]] = []

    def call(*args: str, before: str = "") -> subprocess.Popen[str]:
        root = str(Path(__file__).resolve().parents[2])
        env = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        if args[0] == "train" and "pictures" not in request.fixturenames:
            before += NO_PICTURES
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER.format(before=before), *args],
            cwd=work,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield call
    for process in running:
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait()
