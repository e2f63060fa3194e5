"""Builds the emulated form of a kernel file with g++, once for each text, and calls its kernels."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.engines.cuda.kept import cache_folder, key

HEADER = Path(__file__).with_name("emulation.h")
EMULATOR = Path(__file__).with_name("emulator.cpp")
COMMON = ("-std=c++17", "-fPIC", "-w", "-fno-strict-aliasing", "-fno-exceptions", "-U_FORTIFY_SOURCE")
FLAGS = (
    *COMMON, "-O1", "-ffp-contract=off", "-fno-asynchronous-unwind-tables",
    "-fsanitize=thread,alignment,bounds,integer-divide-by-zero", "-fno-sanitize-recover=all",
    "--param=tsan-instrument-func-entry-exit=0",
)  # fmt: skip
EMULATOR_FLAGS = (*COMMON, "-O2", "-fno-ipa-ra")  # a function that switches fibres changes all registers
LINK = ("-shared", "-nostdlib", "-Wl,-Bsymbolic")  # no library of a sanitizer: the emulator stands in for them
LIBRARIES = ("-lm", "-lc")
SIXTEEN = {"float16": "float16", "bfloat16": "uint16"}  # of the kernels' 16-bit types, as NumPy has them
SIZES = {"int": 4, "Index": 4, "unsigned int": 4, "float": 4, "double": 8, "word": 8, "unsigned long long": 8,
         "Divisor": 8}  # fmt: skip


class LaunchError(RuntimeError):
    """The kernel did what a card would not allow, or would punish."""


@dataclass(frozen=True)
class Parameter:
    type: str
    name: str
    constant: bool = False  # a pointer to const

    @property
    def is_pointer(self) -> bool:
        return self.type.endswith("*")


def find_compiler() -> str | None:
    return shutil.which("g++")


class Range(ctypes.Structure):
    _fields_ = (("start", ctypes.c_size_t), ("stop", ctypes.c_size_t), ("argument", ctypes.c_int))


class Order:
    """In which order blocks, and the threads of a block, come to run."""

    backwards = False


class Library:
    """One built file: its kernels with their parameters."""

    def __init__(self, path: Path, kernels: dict[str, tuple[Parameter, ...]], real: str, stored: str) -> None:
        self.loaded = ctypes.CDLL(str(path))
        self.kernels = kernels
        self.real = real
        self.dtypes = {"real*": {"float": "float32", "double": "float64"}[real]}  # by a pointer's type
        self.dtypes["stored*"] = SIXTEEN[stored] if stored else self.dtypes["real*"]

    def size_of(self, parameter: Parameter) -> int:
        return 8 if parameter.is_pointer else SIZES[self.real if parameter.type == "real" else parameter.type]

    def launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], values: list[bytes],
               ranges: list[tuple[int, int, int]], shared: int = 0) -> None:  # fmt: skip
        """values: each argument's bytes. ranges: (start, stop, argument) of memory that the kernel may touch.

        shared: bytes of dynamic shared memory.
        """
        room = [ctypes.create_string_buffer(value, max(8, len(value))) for value in values]
        pointers = (ctypes.c_void_p * len(room))(*[ctypes.addressof(r) for r in room])
        sizes = (ctypes.c_uint * 7)(*[*grid, 1, 1][:3], *[*block, 1, 1][:3], shared)
        table = (Range * max(1, len(ranges)))(*[Range(*r) for r in ranges])
        ctypes.c_int.in_dll(self.loaded, "emulation_backwards").value = Order.backwards
        function = self.loaded[f"launch_{name}"]
        function.restype = ctypes.c_char_p
        problem = function(sizes, pointers, table, len(ranges))
        if problem:
            raise LaunchError(f"{name}: {problem.decode()}")


@functools.cache
def build(source: str, real: str, stored: str = "") -> Library:
    """Compile the text of a kernel file for one type of number, and perhaps another one for activations."""
    compiler = find_compiler()
    if compiler is None:
        raise RuntimeError("g++ is missing")
    command = [compiler, *FLAGS, f"-DREAL={real}", *([f"-DSTORED={stored}"] if stored else [])]
    target = cache_folder() / f"{key(source, *_own_texts(), *command)}.so"
    text = target.with_suffix(".ii")
    if not target.exists() or not text.exists():
        work = Path(tempfile.mkdtemp(dir=target.parent))
        try:
            (work / "k.cpp").write_text(f'#include "{HEADER}"\n#line 1 "kernel.cu"\n{source}')
            _run([*command, "-E", str(work / "k.cpp"), "-o", str(work / "k.ii")])
            whole = (work / "k.ii").read_text()
            (work / "k.ii").write_text(whole + _trampolines(_kernels(whole)))
            _run([*command, "-c", str(work / "k.ii"), "-o", str(work / "k.o")])
            objects = [str(work / "k.o"), str(_emulator(compiler))]
            _run([compiler, *LINK, *objects, *LIBRARIES, "-o", str(work / "k.so")])
            os.replace(work / "k.ii", text)
            os.replace(work / "k.so", target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return Library(target, _kernels(text.read_text()), real, stored)


@functools.cache
def _own_texts() -> tuple[str, ...]:
    return tuple(path.read_text() for path in (HEADER, EMULATOR, Path(__file__)))


@functools.cache
def _emulator(compiler: str) -> Path:
    """The object file of the emulator, with which each kernel file is linked."""
    target = cache_folder() / f"{key(*_own_texts(), compiler)}.o"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            made = Path(work, "emulator.o")
            _run([compiler, *EMULATOR_FLAGS, "-c", str(EMULATOR), "-o", str(made)])
            os.replace(made, target)
    return target


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[:4000])


def _kernels(text: str) -> dict[str, tuple[Parameter, ...]]:
    text = re.sub(r"^# .*$", "", text, flags=re.MULTILINE)
    found = {}
    for name, inside in re.findall(r'extern "C"\s+void\s+(\w+)\(([^)]*)\)\s*\{', text):
        if not name.startswith(("__", "launch_")):
            found[name] = tuple(_parameter(part) for part in inside.split(","))
    return found


def _parameter(text: str) -> Parameter:
    words = " ".join(text.replace("*", " * ").split())
    kind, _, name = words.removeprefix("const ").rpartition(" ")
    return Parameter(kind.replace(" *", "*"), name, words.startswith("const "))


def _trampolines(kernels: dict[str, tuple[Parameter, ...]]) -> str:
    lines = ["\n"]
    for name, parameters in kernels.items():
        values = ", ".join(f"*({p.type}*)a[{i}]" for i, p in enumerate(parameters))
        names = ", ".join(f'"{p.name}"' for p in parameters)
        lines.append(
            f'__attribute__((no_sanitize("thread"), no_sanitize("undefined"))) static void call_{name}(void** a) '
            f"{{ {name}({values}); }}\n"
            f"static const char* const names_{name}[] = {{{names}}};\n"
            f'extern "C" __attribute__((no_sanitize("thread"))) const char* launch_{name}(const unsigned* sizes, '
            f"void** values, const emu::Range* ranges, int n) "
            f"{{ return emu::launch(call_{name}, names_{name}, sizes, values, ranges, n); }}\n"
        )
    return "".join(lines)
