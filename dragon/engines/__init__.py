"""Engines: how a net is run. `make_executor` chooses one for a net; an engine is a property of a net."""

from __future__ import annotations

import importlib
import logging
import os
from typing import TYPE_CHECKING

from dragon.engines.base import Executor, Options
from dragon.errors import EngineError, nearest

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = [
    "ENGINES",
    "Executor",
    "Options",
    "cuda_problem",
    "default_engine",
    "gpu_count",
    "gpu_name",
    "make_executor",
    "set_default_engine",
]

ENGINES = ("auto", "numpy", "onednn", "cuda")

log = logging.getLogger("dragon")
_default: str | None = None
_noticed: set[str] = set()


def set_default_engine(name: str | None) -> None:
    """Set the engine of nets that name none (`set_mode_cpu`, `--engine`). None: DRAGON_ENGINE, else auto.

    EngineError for an unknown name.
    """
    global _default
    if name is not None:
        _check(name)
    _default = name


def default_engine() -> str:
    """The name of the engine of a net that names none. EngineError where DRAGON_ENGINE is unknown."""
    return _default or _check(os.environ.get("DRAGON_ENGINE", "auto") or "auto")


def _check(name: str) -> str:
    if name not in ENGINES:
        raise EngineError(f'unknown engine "{name}"{nearest(name, ENGINES)}; known: {", ".join(ENGINES)}')
    return name


def _notice(message: str) -> None:
    """Log a line once in a process."""
    if message not in _noticed:
        _noticed.add(message)
        log.warning(message)


def cuda_problem() -> str | None:
    """Why nets cannot run on a GPU here; None where they can."""
    try:
        probe = importlib.import_module("dragon.engines.cuda").problem
    except (ImportError, AttributeError):
        return "this version has no CUDA engine"
    problem: str | None = probe()
    return problem


def _check_cuda() -> None:
    problem = cuda_problem()
    if problem:
        raise EngineError(
            f"the CUDA engine cannot run: {problem}; to run on the CPU leave out --gpu and --engine cuda, or call "
            "set_mode_cpu() in place of set_mode_gpu()"
        )


def gpu_count() -> int:
    """How many GPUs this machine has. Raises EngineError where nets cannot run on one."""
    _check_cuda()
    return int(importlib.import_module("cupy").cuda.runtime.getDeviceCount())


def gpu_name(number: int) -> str:
    """The name of a GPU, such as "NVIDIA H200". Raises EngineError where nets cannot run on one."""
    _check_cuda()
    properties = importlib.import_module("cupy").cuda.runtime.getDeviceProperties(number)
    return str(properties["name"].decode())


def make_executor(name: str | None, net: Net, options: Options | None = None) -> Executor:
    """The executor of `net` for an engine name. EngineError when an engine asked for by name is not available."""
    options = options or Options()
    wanted = _check(name) if name else default_engine()
    if wanted == "cuda":
        _check_cuda()
        executor: Executor = importlib.import_module("dragon.engines.cuda").CudaExecutor(net, options)
        return executor
    from dragon.engines.numpy_engine import NumpyExecutor

    if wanted in ("auto", "onednn"):
        try:
            from dragon.engines.onednn import OneDNNExecutor

            return OneDNNExecutor(net, options)
        except EngineError as error:
            if wanted == "onednn":
                raise
            reason = error
        try:
            executor = NumpyExecutor(net, options)
        except EngineError as error:
            gpu = "; fp16 needs --engine cuda" if options.precision == "fp16" else ""
            raise EngineError(f"{reason}; {error}{gpu}") from None
        _notice(f"the NumPy engine is used: {reason}")
        return executor
    return NumpyExecutor(net, options)
