"""`dragon device`: shows which engines can run here, and on which processors."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import click
import numpy as np

from dragon.engines import cuda_problem, default_engine, gpu_count
from dragon.errors import EngineError
from dragon.tools.common.engine_options import gpu_numbers
from dragon.tools.common.json_output import json_option
from dragon.tools.common.tables import table

__all__ = ["command", "instruction_sets"]

_FLAGS = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_bf16", "amx_int8", "asimd", "sve",
)  # fmt: skip


@click.command("device")
@click.option("--gpu", metavar="N,...|all", help="Show only these GPUs; an error where one is not there.")
@json_option
def command(gpu: str | None) -> dict[str, Any]:
    """Show the engines (NumPy, oneDNN, CUDA) and their versions, the default one, the processor and the GPUs.

    Where the CUDA engine cannot run, its line says what is missing.

    \b
    Example: dragon device
    """
    gpus = list(map(_gpu, _wanted(gpu)))
    rows = [["numpy", "yes", _numpy()], ["onednn", *_onednn()], ["cuda", *_cuda()]]
    click.echo(f"processor         {_processor()}")
    click.echo(f"cores             {_cores()} usable of {os.cpu_count()}")
    click.echo(f"instruction sets  {', '.join(instruction_sets()) or 'unknown'}")
    click.echo(f"default engine    {_default()}")
    click.echo("")
    click.echo(table(["engine", "runs", "details"], rows, left=(0, 1, 2)))
    if gpu is not None or gpus:
        click.echo("")
        click.echo(table(["GPU", "name", "compute capability", "GiB"], gpus) if gpus else "no GPU")
    return {
        "processor": _processor(), "cores": {"usable": _cores(), "all": os.cpu_count()},
        "instruction_sets": instruction_sets(), "default_engine": default_engine(),
        "engines": [{"name": name, "runs": runs == "yes", "details": details} for name, runs, details in rows],
        "gpus": [dict(zip(("number", "name", "compute_capability", "gib"), gpu_row, strict=True)) for gpu_row in gpus],
    }  # fmt: skip


def _wanted(text: str | None) -> list[int]:
    """The numbers of the GPUs to show. Raises UsageError for bad text, EngineError for a GPU that does not exist."""
    problem = cuda_problem()
    if text is None or text == "all":
        return [] if problem else list(range(gpu_count()))
    numbers = gpu_numbers(text)
    if problem:
        raise EngineError(f"--gpu {text}: {problem}")
    if max(numbers) >= gpu_count():
        raise EngineError(
            f"--gpu {text}: there is no GPU {max(numbers)}, they are numbered from 0 to {gpu_count() - 1}"
        )
    return numbers


def _gpu(number: int) -> list[object]:
    import cupy

    facts = cupy.cuda.runtime.getDeviceProperties(number)
    memory = f"{facts['totalGlobalMem'] / 2**30:.1f}"
    return [number, facts["name"].decode(), f"{facts['major']}.{facts['minor']}", memory]


def _default() -> str:
    """The engine of commands without --engine, and what auto selects here."""
    name = default_engine()
    chosen = " by DRAGON_ENGINE" if os.environ.get("DRAGON_ENGINE") else ""
    if name != "auto":
        return f"{name}{chosen}"
    cpu = "onednn" if _onednn()[0] == "yes" else "numpy"
    return f"auto{chosen}: {cpu} here; cuda runs when asked for (--gpu 0, or solver_mode: GPU of a solver)"


def _cpuinfo(key: str) -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """The instruction sets of this CPU that matter for speed, by the names of /proc/cpuinfo."""
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return [flag for flag in _FLAGS if flag in flags]


def _cores() -> int:
    from dragon.engines.onednn.library.threads import usable_cores

    try:
        return usable_cores()
    except (OSError, AttributeError):
        return os.cpu_count() or 1


def _numpy() -> str:
    config = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {}) if isinstance(config, dict) else {}
    return f"NumPy {np.__version__}, {blas.get('name', 'unknown BLAS')} {blas.get('version', '')}".rstrip()


def _onednn() -> tuple[str, str]:
    try:
        from dragon.engines.onednn.library.binding import library
        from dragon.engines.onednn.library.device import Device

        found = library()
        device = Device()
        bf16 = "bf16 in hardware" if device.native_bf16 else "no bf16 in hardware"
        int8 = "int8 in hardware" if device.has_vnni else "no int8 in hardware"
        return "yes", f"oneDNN {'.'.join(map(str, found.version))}, {bf16}, {int8}"
    except EngineError as error:
        return "no", str(error)


def _cuda() -> tuple[str, str]:
    problem = cuda_problem()
    if problem:
        return "no", problem
    from dragon.engines.cuda.device.availability import versions

    found = versions()
    return "yes", ", ".join(f"{name} {found[name] or 'not found'}" for name in found)
