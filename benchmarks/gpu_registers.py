"""Registers / bytes of stack of CUDA kernels for several architectures, from what NVRTC makes of them with
the options that CuPy gives it. Needs no GPU.

    python -m benchmarks.gpu_registers [FILE ...]

FILE is the name of a kernel file without its ending; default: those of batch normalisation. Of kernels with 64
registers a multiprocessor runs four blocks of 256 threads at a time. A stack means that variables lie in memory.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._harness import table
from dragon.engines.cuda.device.precision import BFLOAT16
from dragon.engines.cuda.kernels import sources
from tests.engines.cuda.nvrtc import Nvrtc, find, options

__all__ = ["Resources", "main", "resources"]

FILES = ("batch_norm", "channels")
ONE_BLOCK = ("batch_norm_at_once",)  # of 512 threads on a multiprocessor, which may have 128 registers each
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
TYPES: dict[str, Any] = {"fp32": np.float32, "bf16": BFLOAT16}
SYMBOLS = 2  # a section's type, in ELF
SYMBOL = struct.Struct("<IBBHQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
WITH_SIZE = 4  # an attribute's format in .nv.info: the size of its value follows
FRAME, REGISTERS = (
    0x11,
    0x2F,
)  # attributes of .nv.info: a function's number, and the bytes of its stack or its registers


@dataclass
class Resources:
    """registers: of a thread. stack: its bytes, for variables that have no register."""

    registers: int = 0
    stack: int = 0


def resources(code: bytes) -> dict[str, Resources]:
    """What each kernel of a compiled file (ELF of 64 bits) takes."""
    (at,) = struct.unpack_from("<Q", code, 0x28)
    size, count, names = struct.unpack_from("<HHH", code, 0x3A)
    sections = [SECTION.unpack_from(code, at + k * size) for k in range(count)]

    def text(section: int, offset: int) -> str:
        begin = sections[section][4] + offset
        return code[begin : code.index(b"\0", begin)].decode()

    symbols: list[str] = []
    for _, kind, _, _, offset, length, link, *_ in sections:
        if kind == SYMBOLS:
            symbols = [text(link, name) for name, *_ in SYMBOL.iter_unpack(code[offset : offset + length])]
    found: dict[str, Resources] = {}
    for name, _, _, _, offset, length, *_ in sections:
        if text(names, name) != ".nv.info":
            continue
        end = offset + length
        while offset < end:
            form, attribute, bytes_after = struct.unpack_from("<BBH", code, offset)
            offset += 4
            if form != WITH_SIZE:
                continue
            if attribute in (FRAME, REGISTERS):
                number, value = struct.unpack_from("<II", code, offset)
                one = found.setdefault(symbols[number], Resources())
                if attribute == FRAME:
                    one.stack = value
                else:
                    one.registers = value
            offset += bytes_after
    return {name: one for name, one in found.items() if one.registers}


def main(files: Sequence[str] = ()) -> int:
    """Print the table; the exit status."""
    unknown = [name for name in files if name not in sources.names()]
    path = find()
    if unknown or path is None:
        what = f"no kernel file {unknown[0]!r}: there are {', '.join(sources.names())}" if unknown else ""
        print(f"gpu_registers: {what or 'nvidia-cuda-nvrtc is not installed'}", file=sys.stderr)
        return 2
    nvrtc, rows = Nvrtc(path), []
    for name in files or (*FILES, *ONE_BLOCK):
        for precision, dtype in TYPES.items():
            columns = []
            for architecture in ARCHITECTURES:
                code, _ = nvrtc.compile(sources.source(name), f"{name}.cu", options(dtype, architecture))
                columns.append(resources(code))
            for kernel in sorted(columns[0]):
                shown = [f"{one[kernel].registers} / {one[kernel].stack}" for one in columns]
                rows.append([f"`{kernel}`", precision, *shown])
    print(table(["kernel", "precision", *ARCHITECTURES], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
