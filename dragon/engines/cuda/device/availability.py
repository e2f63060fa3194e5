"""Whether a GPU can be used here, what to do where none can, and the versions of what the engine runs on."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from dragon.engines.cuda.device import cudnn, cudnn_frontend
from dragon.engines.cuda.kernels.sources import OPTIONS
from dragon.errors import first_line
from dragon.extras import install_command

__all__ = ["FORKED", "LEAST_CAPABILITY", "capability_problem", "problem", "versions"]

INSTALL = "pip install 'dragon-caffe[cuda13]' (or [cuda12], for a driver of CUDA 12)"
LEAST_CUPY = 13
LEAST_CAPABILITY = (7, 5)  # what NVRTC of CUDA 13 still compiles for
FORKED = (
    "this process was forked from one that uses the GPU: build nets in a process started by "
    'multiprocessing.get_context("spawn")'
)
EMPTY = 'extern "C" __global__ void empty() {}'
DRIVER_FACTS = Path("/proc/driver/nvidia/version")  # Linux


def problem() -> str | None:
    """Why no GPU can be used here, and what to do about it, in one line; None where one can.

    The GPU's memory is not touched. What was found is remembered for this process.
    """
    try:
        cupy = importlib.import_module("cupy")
        importlib.import_module("cupy.cuda")
    except Exception as error:  # a package that does not fit raises errors of other kinds, too
        missing = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
        return f"CuPy {'is not installed' if missing else f'cannot be loaded ({first_line(error)})'}: {INSTALL}"
    return _find_problem(cupy, os.getpid())


@lru_cache(maxsize=1)
def _find_problem(cupy: Any, _process: int) -> str | None:
    """As `problem`, once for each process: after a fork, CUDA no longer works."""
    if int(cupy.__version__.split(".")[0]) < LEAST_CUPY:
        return f"CuPy {cupy.__version__} is too old, {LEAST_CUPY} or newer is needed: {INSTALL}"
    if getattr(cupy.cuda.runtime, "is_hip", False):
        return f"this CuPy is made for AMD's GPUs, the CUDA engine needs one for NVIDIA's: {INSTALL}"
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        if "cudaErrorInitializationError" in str(error):
            return FORKED
        return _driver_problem(cupy) or f"{_no_gpu()} ({first_line(error)}): {_where_to_look()}"
    if not count:
        return f"{_no_gpu()}: {_where_to_look()}"
    too_old = [capability_problem(cupy, number) for number in range(count)]
    return too_old[0] if all(too_old) else _nvrtc_problem(cupy) or _cublas_problem(cupy)


def _driver_problem(cupy: Any) -> str | None:
    """What is wrong with the driver: it is missing, or older than CuPy's CUDA."""
    runtime = cupy.cuda.runtime
    driver, wanted = int(runtime.driverGetVersion()), int(runtime.runtimeGetVersion())
    if not driver:
        return f"{_no_gpu()}: install NVIDIA's driver; a container gets that of its host by docker run --gpus all"
    if driver // 1000 >= wanted // 1000:
        return None
    other = (
        f", or take CuPy for CUDA 12: pip uninstall cupy-cuda{_major(cupy)}x, then {install_command('cuda12')}"
        if driver // 1000 == 12
        else ""
    )
    return (
        f"NVIDIA's driver is made for CUDA {_version(driver)} at most, CuPy for CUDA {_version(wanted)}: "
        f"update the driver{other}"
    )


def _no_gpu() -> str:
    return "there is no GPU: CuPy is installed, but finds none"


def _where_to_look() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return f'CUDA_VISIBLE_DEVICES is "{visible}": unset it, or set it to the number of a GPU'
    return "nvidia-smi lists those that NVIDIA's driver finds"


def capability_problem(cupy: Any, number: int) -> str | None:
    """Why GPU `number` is too old for the kernels; None where it is not."""
    digits = str(cupy.cuda.Device(number).compute_capability)  # "75" is 7.5, "120" is 12.0
    found = int(digits[:-1]), int(digits[-1])
    if found >= LEAST_CAPABILITY:
        return None
    least = ".".join(map(str, LEAST_CAPABILITY))
    return (
        f"GPU {number} has compute capability {found[0]}.{found[1]}, the CUDA engine needs {least} (Turing) or newer: "
        "use another GPU, or the CPU"
    )


def _nvrtc_problem(cupy: Any) -> str | None:
    """Why kernels cannot be compiled, found by an empty one."""
    try:
        nvrtc = cupy.cuda.nvrtc
        program = nvrtc.createProgram(EMPTY, "empty.cu", (), ())
        try:
            nvrtc.compileProgram(program, OPTIONS)
        except Exception as error:
            reason = nvrtc.getProgramLog(program).strip().splitlines() or [first_line(error)]
            return f"NVRTC, which compiles the kernels, does not work ({reason[0]}): {_libraries(cupy)}"
        finally:
            nvrtc.destroyProgram(program)
    except Exception as error:
        return f"CuPy cannot load NVRTC, which compiles the kernels ({first_line(error)}): {_libraries(cupy)}"
    return None


def _cublas_problem(cupy: Any) -> str | None:
    try:
        _ = cupy.cuda.cublas  # loads the library
    except Exception as error:
        return f"CuPy cannot load cuBLAS, which multiplies matrices ({first_line(error)}): {_libraries(cupy)}"
    return None


def _libraries(cupy: Any) -> str:
    return install_command(f"cuda{_major(cupy)}")


def _major(cupy: Any) -> int:
    """The CUDA release that CuPy was made for: 12 or 13."""
    return int(cupy.cuda.runtime.runtimeGetVersion()) // 1000


def _version(number: int) -> str:
    """CUDA's 13020 as 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


# -- versions ----------------------------------------------------------------------------------------------------
def versions() -> dict[str, str | None]:
    """The versions of what the engine runs on, by name; None for what is not there."""
    facts: dict[str, Callable[[Any], str | None]] = {
        "CuPy": lambda cupy: str(cupy.__version__),
        "CUDA": lambda cupy: _version(int(cupy.cuda.runtime.runtimeGetVersion())),
        "NVRTC": lambda cupy: ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "driver": lambda cupy: _driver(),
        "CUDA of the driver": lambda cupy: _version(int(cupy.cuda.runtime.driverGetVersion())),
        "cuDNN": lambda cupy: _cudnn(),
        "cuDNN's frontend": lambda cupy: _frontend(),
    }
    return {name: _or_none(fact) for name, fact in facts.items()}


def _or_none(fact: Callable[[Any], str | None]) -> str | None:
    """A fact about CuPy or its libraries; None where it cannot be found out, for whatever reason."""
    try:
        return fact(importlib.import_module("cupy"))
    except Exception:
        return None


def _driver() -> str | None:
    """The driver's own version, such as 580.95.05; None where the system does not say it."""
    try:
        found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", DRIVER_FACTS.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found[0] if found else None


def _cudnn() -> str | None:
    library = cudnn.load_library()
    if library is None:
        return None
    number = int(library.cudnnGetVersion())  # 91900 is 9.19.0
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _frontend() -> str | None:
    if cudnn_frontend.load_package() is None:
        return None
    try:
        return metadata.version("nvidia-cudnn-frontend")
    except metadata.PackageNotFoundError:
        return "of unknown version"
