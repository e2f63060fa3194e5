"""Whether a GPU can be used: each thing that may be missing is one line that says what to do."""

from __future__ import annotations

import os
import sys
import types
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pytest

from dragon.bases.layer import TRAIN
from dragon.engines import Options, cuda_problem
from dragon.engines.cuda.device import availability, cudnn, cudnn_frontend, gpu
from dragon.engines.cuda.device.availability import problem, versions
from dragon.errors import EngineError
from dragon.graph.net import Net
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.running import inputs, parse

NET = inputs({"x": (2, 3)}) + 'layer { name: "y" type: "TanH" bottom: "x" top: "y" }'


def cupy(monkeypatch: pytest.MonkeyPatch, devices: int = 1) -> Any:
    """An emulated CuPy with so many GPUs, for a test to damage."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "_gpus", {})
    made = standin.make(devices)
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made["cupy"]


def no_device(name: str) -> Any:
    def fail() -> int:
        raise standin.CUDARuntimeError(f"{name}: a sentence of CUDA's\nand another")

    return fail


def found() -> str:
    """The problem, which is one line, the same when asked again and when a net is made."""
    text = problem()
    assert text is not None
    assert "\n" not in text
    assert (problem(), cuda_problem()) == (text, text)
    with pytest.raises(EngineError) as caught:
        Net(parse(NET), TRAIN, engine="cuda")
    assert str(caught.value).startswith(f"the CUDA engine cannot run: {text}; to run on the CPU leave out --gpu")
    return text


def test_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy(monkeypatch)
    assert problem() is None


def test_the_answer_is_remembered_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    module, asked = cupy(monkeypatch), iter(range(9))
    monkeypatch.setattr(module.cuda.runtime, "getDeviceCount", lambda: 1 + next(asked))
    assert (problem(), problem(), next(asked)) == (None, None, 1), "asked once"
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert (problem(), next(asked)) == (None, 3), "asked again"
    assert standin.counts["programs of NVRTC"] == 0, "each is destroyed"


def test_a_forked_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    module = cupy(monkeypatch)
    assert problem() is None
    monkeypatch.setattr(module.cuda.runtime, "getDeviceCount", no_device("cudaErrorInitializationError"))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert found() == availability.FORKED


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModuleNotFoundError("No module named 'cupy'", name="cupy"), "is not installed"),
        (ImportError("libcuda.so.1: cannot open\nmore"), "cannot be loaded (libcuda.so.1: cannot open)"),
        (AttributeError("numpy has no x"), "cannot be loaded (numpy has no x)"),
        (OSError(""), "cannot be loaded (OSError)"),
    ],
)
def test_cupy_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    cupy(monkeypatch)

    def imported(name: str) -> Any:
        if name == "cupy":
            raise error
        return import_module(name)

    monkeypatch.setattr(availability, "importlib", types.SimpleNamespace(import_module=imported))
    assert found() == f"CuPy {reason}: {availability.INSTALL}"


def test_cupy_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy(monkeypatch), "__version__", "12.3.0")
    assert found() == f"CuPy 12.3.0 is too old, 13 or newer is needed: {availability.INSTALL}"


def test_cupy_for_other_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy(monkeypatch).cuda.runtime, "is_hip", True, raising=False)
    assert found().startswith("this CuPy is made for AMD's GPUs")


def drivers(monkeypatch: pytest.MonkeyPatch, driver: int, wanted: int, error: str) -> None:
    runtime = cupy(monkeypatch).cuda.runtime
    monkeypatch.setattr(runtime, "getDeviceCount", no_device(error))
    monkeypatch.setattr(runtime, "driverGetVersion", lambda: driver)
    monkeypatch.setattr(runtime, "runtimeGetVersion", lambda: wanted)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    drivers(monkeypatch, 0, 13020, "cudaErrorInsufficientDriver")
    text = found()
    assert text.startswith("there is no GPU: CuPy is installed, but finds none: install NVIDIA's driver")
    assert "docker run --gpus all" in text


@pytest.mark.parametrize(
    ("driver", "wanted", "words"),
    [
        (12080, 13020, "is made for CUDA 12.8 at most, CuPy for CUDA 13.2: update the driver, or take CuPy for "
                       'CUDA 12: pip uninstall cupy-cuda13x, then pip install "dragon-caffe[cuda12]"'),
        (11040, 12090, "is made for CUDA 11.4 at most, CuPy for CUDA 12.9: update the driver"),
    ],
)  # fmt: skip
def test_a_driver_that_is_older_than_cupy(
    monkeypatch: pytest.MonkeyPatch, driver: int, wanted: int, words: str
) -> None:
    drivers(monkeypatch, driver, wanted, "cudaErrorInsufficientDriver")
    assert found() == f"NVIDIA's driver {words}"


def test_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    drivers(monkeypatch, 13000, 13020, "cudaErrorNoDevice")
    assert found() == (
        "there is no GPU: CuPy is installed, but finds none (cudaErrorNoDevice: a sentence of CUDA's): "
        "nvidia-smi lists those that NVIDIA's driver finds"
    )


@pytest.mark.parametrize("visible", ["", "-1"])
def test_all_cards_are_hidden(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    drivers(monkeypatch, 13000, 13020, "cudaErrorNoDevice")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert found().endswith(f'): CUDA_VISIBLE_DEVICES is "{visible}": unset it, or set it to the number of a GPU')


def test_no_card_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy(monkeypatch, devices=0)
    assert found().endswith("finds none: nvidia-smi lists those that NVIDIA's driver finds")


def test_a_card_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy(monkeypatch)
    monkeypatch.setattr(standin.Device, "compute_capability", "70")
    assert found().startswith("GPU 0 has compute capability 7.0, the CUDA engine needs 7.5 (Turing) or newer: use ")
    for enough in ("75", "90", "120"):
        cupy(monkeypatch)
        monkeypatch.setattr(standin.Device, "compute_capability", enough)
        assert problem() is None


def test_one_card_of_two_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy(monkeypatch, devices=2)
    monkeypatch.setattr(standin.Device, "compute_capability", property(lambda self: ("61", "90")[self.id]))
    assert problem() is None
    with pytest.raises(EngineError, match=r"^the CUDA engine cannot run: GPU 0 has compute capability 6\.1, "):
        Net(parse(NET), TRAIN, engine="cuda", options=Options(device=0))


class Failing:
    """What CuPy has in place of a library that cannot be loaded: an error when it is looked up."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __get__(self, *_: object) -> Any:
        raise self.error


def without(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """A CuPy that raises the error when it is asked for a library."""
    module = cupy(monkeypatch)
    known = {k: v for k, v in vars(module.cuda).items() if k != name}
    monkeypatch.setattr(module, "cuda", type("cuda", (), {name: Failing(error)})())
    for key, value in known.items():
        if not key.startswith("__"):
            setattr(module.cuda, key, value)


def test_no_nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "nvrtc", RuntimeError('Failure finding "libnvrtc.so.13": No such file\n  listdir(...)'))
    assert found() == (
        'CuPy cannot load NVRTC, which compiles the kernels (Failure finding "libnvrtc.so.13": No such file): '
        'pip install "dragon-caffe[cuda13]"'
    )


def test_nvrtc_without_its_builtins(monkeypatch: pytest.MonkeyPatch) -> None:
    module = cupy(monkeypatch)

    def fail(program: int, options: tuple[str, ...]) -> None:
        raise RuntimeError("NVRTC_ERROR_BUILTIN_OPERATION_FAILURE (7)")

    monkeypatch.setattr(module.cuda.runtime, "runtimeGetVersion", lambda: 12090)
    log = "nvrtc: error: failed to open libnvrtc-builtins.so.12.9.\n  Make sure that"
    monkeypatch.setattr(module.cuda, "nvrtc", type("Nvrtc", (standin.Nvrtc,), {
        "compileProgram": staticmethod(fail), "getProgramLog": staticmethod(lambda program: log),
    }))  # fmt: skip
    before = standin.counts["programs of NVRTC"]
    assert found() == (
        "NVRTC, which compiles the kernels, does not work (nvrtc: error: failed to open libnvrtc-builtins.so.12.9.): "
        'pip install "dragon-caffe[cuda12]"'
    )
    assert standin.counts["programs of NVRTC"] == before


def test_no_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "cublas", ImportError("libcublas.so.13: cannot open shared object file"))
    assert found() == (
        "CuPy cannot load cuBLAS, which multiplies matrices (libcublas.so.13: cannot open shared object file): "
        'pip install "dragon-caffe[cuda13]"'
    )


def test_a_card_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    module = cupy(monkeypatch)

    def stream(**_: object) -> Any:
        raise standin.CUDARuntimeError("cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable")

    monkeypatch.setattr(module.cuda, "Stream", stream)
    with pytest.raises(EngineError) as caught:
        Net(parse(NET), TRAIN, engine="cuda")
    assert str(caught.value) == (
        "the CUDA engine cannot run: GPU 0 cannot be opened (cudaErrorDevicesUnavailable: CUDA-capable device(s) "
        "is/are busy or unavailable): nvidia-smi shows which programs use it"
    )


def test_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cupy(monkeypatch)
    facts = tmp_path / "version"
    facts.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (builder@host)\n"
        "GCC version:  gcc version 13.3.0\n"
    )
    monkeypatch.setattr(availability, "DRIVER_FACTS", facts)
    library = types.SimpleNamespace(cudnnGetVersion=lambda: 91900)
    monkeypatch.setattr(cudnn, "load_library", lambda: library)
    monkeypatch.setattr(cudnn_frontend, "load_package", lambda: types.ModuleType("cudnn"))
    monkeypatch.setattr(metadata, "version", lambda name: {"nvidia-cudnn-frontend": "1.28.0"}[name])
    assert versions() == {
        "CuPy": "14.0.0", "CUDA": "13.2", "NVRTC": "13.0", "driver": "580.95.05", "CUDA of the driver": "13.0",
        "cuDNN": "9.19.0", "cuDNN's frontend": "1.28.0",
    }  # fmt: skip
    monkeypatch.setattr(availability, "DRIVER_FACTS", tmp_path / "none")
    monkeypatch.setattr(cudnn, "load_library", lambda: None)
    monkeypatch.setattr(cudnn_frontend, "load_package", lambda: None)
    assert [name for name, version in versions().items() if version is None] == ["driver", "cuDNN", "cuDNN's frontend"]
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert set(versions().values()) == {None}
