"""`dragon device` where a GPU works, and what chooses the GPU of a training. The GPU is a stand-in."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from dragon.engines import set_default_engine
from dragon.engines.cuda.device import availability
from dragon.proto import dragon_pb2 as pb
from dragon.tools.common.engine_options import EngineChoice
from tests.engines.cuda.emulation import standin
from tests.tools.conftest import Dragon, edit


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in standin.make(devices=2).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delenv("DRAGON_ENGINE", raising=False)
    set_default_engine(None)


@pytest.mark.usefixtures("two_gpus")
def test_device_shows_the_gpus_and_the_versions(dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"CuPy": "14.0.0", "CUDA": "13.2", "driver": "580.95.05", "cuDNN": "9.19.0", "cuDNN's frontend": None}
    monkeypatch.setattr(availability, "versions", lambda: versions)
    lines = dragon("device").out.splitlines()
    assert lines[-4].split() == ["GPU", "name", "compute", "capability", "GiB"]
    assert [line.split() for line in lines[-2:]] == [
        ["0", "emulated", "9.0", "1.5"],
        ["1", "emulated", "9.0", "1.5"],
    ]
    (cuda,) = (line for line in lines if line.startswith("cuda "))
    assert cuda.split(maxsplit=2)[1:] == [
        "yes",
        "CuPy 14.0.0, CUDA 13.2, driver 580.95.05, cuDNN 9.19.0, cuDNN's frontend not found",
    ]
    assert dragon("device", "--gpu", "1").out.splitlines()[-1].split()[0] == "1"
    found = json.loads(dragon("device", "--json").out)
    assert found["gpus"][1] == {"number": 1, "name": "emulated", "compute_capability": "9.0", "gib": "1.5"}


@pytest.mark.usefixtures("two_gpus")
def test_the_solver_chooses_the_gpu_as_in_caffe() -> None:
    engine, options = EngineChoice().resolve(pb.SolverParameter(device_id=1))
    assert (engine, options.device) == ("cuda", 1), "GPU is the default of solver_mode"
    on_cpu = pb.SolverParameter(solver_mode=pb.SolverParameter.CPU)
    assert EngineChoice().resolve(on_cpu)[0] is None
    assert EngineChoice(engine="numpy").resolve(pb.SolverParameter())[0] == "numpy"
    assert EngineChoice().resolve()[0] is None, (
        "dragon test and dragon time, as Caffe's, use the CPU unless --gpu is given"
    )
    set_default_engine("numpy")
    try:
        assert EngineChoice().resolve(pb.SolverParameter())[0] is None
    finally:
        set_default_engine(None)


def test_a_gpu_that_does_not_work_is_one_line(
    work: Path, dragon: Dragon, two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wish of solver_mode falls back to the CPU; --gpu ends with status 2."""
    monkeypatch.delattr(sys.modules["cupy.cuda"], "nvrtc")
    edit(work / "solver.prototxt", "solver_mode: CPU", "solver_mode: GPU")
    command = ("train", "--solver", "solver.prototxt", "--iterations", "1")
    wished = dragon(*command)
    assert wished.code == 0
    (line,) = (line for line in wished.err.splitlines() if "solver_mode is GPU" in line)
    assert "solver_mode is GPU, but CuPy cannot load NVRTC" in line
    assert line.endswith('pip install "dragon-caffe[cuda13]": the CPU is used')
    demanded = dragon(*command, "--gpu", "0")
    assert demanded.code == 2
    assert demanded.error.startswith("--gpu 0: CuPy cannot load NVRTC, which compiles the kernels (")
    assert "\n" not in demanded.error
    assert "cannot load NVRTC" in dragon("device").out


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ("0", "--gpu 0: "),
        ("0,1", "--gpu 0,1: "),
        ("-1", 'takes the number of a GPU, got "-1"'),
        ("0,", 'got "0,"'),
        ("x", 'got "x"'),
    ],
)
def test_device_query_of_gpus_that_are_not_there(
    dragon: Dragon, monkeypatch: pytest.MonkeyPatch, gpu: str, words: str
) -> None:
    monkeypatch.setattr("dragon.tools.device.cuda_problem", lambda: "no card")
    result = dragon("device_query", "-gpu", gpu)
    assert result.code == 2
    assert words in result.error


def test_device_query_of_all_gpus(dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dragon("device_query").code == 0
    monkeypatch.setattr("dragon.tools.device.cuda_problem", lambda: "no card")
    assert dragon("device_query", "-gpu", "all").out.endswith("\nno GPU\n")
    monkeypatch.setattr("dragon.tools.device.cuda_problem", lambda: None)
    monkeypatch.setattr("dragon.tools.device.gpu_count", lambda: 2)
    monkeypatch.setattr("dragon.tools.device._gpu", lambda number: [number, f"Card {number}", "9.0", "80.0"])
    for gpu, cards in (("all", "01"), ("0,1", "01"), ("1", "1")):
        assert [line[0] for line in dragon("device_query", f"-gpu={gpu}").out.splitlines()[-len(cards) :]] == [*cards]
    assert "there is no GPU 2, they are numbered from 0 to 1" in dragon("device_query", "-gpu", "0,2").error


@pytest.mark.usefixtures("reference_engine")
@pytest.mark.parametrize("gpu", ["all", "0,1"])
def test_a_net_runs_on_one_gpu(work: Path, dragon: Dragon, gpu: str) -> None:
    """`dragon train` starts a rank for each of several: tests/tools/test_launch.py."""
    result = dragon("time", "-model", "net.prototxt", "-gpu", gpu)
    assert (result.code, result.error) == (2, f"--gpu {gpu}: a net runs on one GPU, name it by its number")


def test_device(dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    out = dragon("device").out
    assert re.search(rf"^numpy +yes +NumPy {re.escape(np.__version__)}", out, re.MULTILINE)
    assert re.search(r"^onednn +(yes +oneDNN 3\.|no +)", out, re.MULTILINE)
    assert dragon("device_query").out == out
    assert re.search(r"^default engine +auto: (onednn|numpy) here; ", out, re.MULTILINE)
    monkeypatch.setenv("DRAGON_ENGINE", "numpy")
    assert re.search(r"^default engine +numpy by DRAGON_ENGINE$", dragon("device").out, re.MULTILINE)
    monkeypatch.setattr("dragon.tools.device.cuda_problem", lambda: "no driver")
    assert re.search(r"^cuda +no +no driver$", dragon("device").out, re.MULTILINE)
