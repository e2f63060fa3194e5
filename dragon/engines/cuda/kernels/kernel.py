"""Kernel: a function of a .cu file, with the names and C types of its parameters. Called by keyword, it is launched.

Each NAME.cu has its kernels declared in the NAME.py beside it. A declaration is the parameter list of the source, to
the letter; tests/engines/cuda/test_kernels.py compares the two. A call with a wrong name or type is a TypeError before
anything is launched. A graph that is replayed calls no kernel again, so it pays nothing for the checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from dragon.engines.cuda.device.precision import arithmetic
from dragon.errors import nearest

__all__ = [
    "MOST",
    "RANDOM_WORDS",
    "THREADS",
    "VECTOR_BYTES",
    "WARP",
    "Blocks",
    "Elements",
    "Kernel",
    "Launcher",
    "Parameter",
    "declared",
    "divisor",
]  # fmt: skip

THREADS = 256  # of a block, as in common.cuh
WARP = 32
RANDOM_WORDS = 8  # 32-bit random numbers that one thread computes, as in random.cuh
MOST = 2**31 - 1  # elements of an array: kernels count with 32 bits
VECTOR_BYTES = 16  # of one access where the argument `vectors` is set

# what an array has to be, by the pointer's type; that of `real*` and `stored*` depends on what a kernel is compiled for
_POINTED = {
    "int*": "int32", "unsigned char*": "uint8", "float*": "float32", "double*": "float64", "word*": "uint64",
    "Entry*": "uint64", "Chunk*": "uint32",
}  # fmt: skip
_INTEGERS = {
    "int": (np.int32, -(2**31), MOST), "Index": (np.uint32, 0, MOST), "word": (np.uint64, 0, 2**64 - 1),
}  # fmt: skip
_DIVISOR = "Divisor"  # of division.cuh: takes an int
_FLOATS = {"float": np.float32, "double": np.float64}
_NULL = np.uint64(0)
OF_A_LAUNCH = ("grid", "shared_bytes")  # what Kernel.__call__ takes beside a kernel's parameters


class Launcher(Protocol):
    """The part of a device that a kernel uses."""

    multiprocessors: int
    shared_bytes: int

    def grid(self, work: int) -> int:
        """The number of blocks for `work` threads."""
        ...

    def launch(
        self, kernel: Kernel, dtype: DTypeLike, grid: tuple[int, ...], arguments: tuple[Any, ...], shared: int = 0
    ) -> None:
        """Run the kernel, compiled for activations of `dtype`, with these arguments; shared: see Kernel."""
        ...


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel: its name, its C type without `const`, and whether that was there (`constant`)."""

    name: str
    type: str
    constant: bool = False

    @property
    def is_pointer(self) -> bool:
        """Whether the argument is an array."""
        return self.type.endswith("*")

    def __str__(self) -> str:
        return f"{'const ' if self.constant else ''}{self.type} {self.name}"


class Rule(Protocol):
    """How many blocks a launch has."""

    def blocks(self, device: Launcher, arguments: Mapping[str, Any], dtype: DTypeLike) -> int:
        """The number of blocks for these arguments; 0 where there is nothing to compute."""
        ...


@dataclass(frozen=True)
class Elements(Rule):
    """Threads loop over the elements (GRID_LOOP in common.cuh), whose number is the argument `of`.

    each: elements that a thread computes at a time, times those of a 16-byte access if the argument `vectors` is set.
    together: threads that compute one element.
    """

    of: str = "count"
    each: int = 1
    together: int = 1

    def blocks(self, device: Launcher, arguments: Mapping[str, Any], dtype: DTypeLike) -> int:
        work = arguments[self.of] * self.together
        lanes = VECTOR_BYTES // np.dtype(dtype).itemsize if arguments.get("vectors") else 1
        return device.grid(-(-work // (self.each * lanes))) if work else 0


@dataclass(frozen=True)
class Blocks(Rule):
    """`number` blocks; with `of`, as many as that argument says, at most as many as fill the GPU: they loop."""

    of: str = ""
    number: int = 1

    def blocks(self, device: Launcher, arguments: Mapping[str, Any], dtype: DTypeLike) -> int:
        return max(1, min(arguments[self.of], 16 * device.multiprocessors)) if self.of else self.number


_declared: dict[tuple[str, str], Kernel] = {}


def declared() -> Iterable[Kernel]:
    """All kernels that the imported modules declare."""
    return _declared.values()


class Kernel:
    """A kernel of FILE.cu.

    signature: its parameters as the source lists them. rule: how many blocks a launch has; None: each call gives the
    number, or two for a grid of two dimensions (`grid`). threads: of a block, where FILE.cu has another number than
    common.cuh.
    """

    def __init__(
        self, file: str, name: str, signature: str, rule: Rule | None = None, *, threads: int = THREADS
    ) -> None:
        self.file = file
        self.name = name
        self.parameters = tuple(_parameter(part) for part in signature.split(","))
        self.threads = threads
        self._rule = rule
        self._names = [parameter.name for parameter in self.parameters]
        for taken in OF_A_LAUNCH:
            if taken in self._names:
                raise ValueError(f"{file}.cu: kernel {name} cannot have a parameter {taken!r}: a launch has one")
        if _declared.setdefault((file, name), self) is not self:
            raise ValueError(f"{file}.cu: kernel {name} is declared twice")

    def __repr__(self) -> str:
        return f"{self.file}.cu: {self.name}({', '.join(map(str, self.parameters))})"

    def __call__(
        self, device: Launcher, dtype: DTypeLike, /, *, grid: int | tuple[int, ...] | None = None,
        shared_bytes: int = 0, **arguments: Any,
    ) -> None:  # fmt: skip
        """Launch it, compiled for activations of `dtype`.

        A pointer takes an array of its type, or None for a null pointer; `int`, `Index` and `word` take an int or a
        bool in their range; `Divisor` takes an int from 0 to MOST, 0 where nothing is divided; `real`, `float` and
        `double` take a float. shared_bytes: of a block's dynamic shared memory, at most the device's `shared_bytes`.
        TypeError for anything else, and for a parameter that is missing or unknown.
        """
        if arguments.keys() != set(self._names):
            raise TypeError(self._wrong_names(arguments))
        if (grid is None) == (self._rule is None):
            raise TypeError(f"{self.name}: its launch rule says the grid" if grid else f"{self.name}: grid is missing")
        exact = tuple(self._exact(parameter, arguments[parameter.name], dtype) for parameter in self.parameters)
        if self._rule is not None:
            grid = self._rule.blocks(device, arguments, dtype)
        blocks = (grid,) if isinstance(grid, int) else grid
        if blocks and all(blocks):
            device.launch(self, dtype, blocks, exact, shared_bytes)

    def _wrong_names(self, given: Mapping[str, Any]) -> str:
        for name in given:
            if name not in self._names:
                return f"{self.name} has no parameter {name!r}{nearest(name, self._names)}"
        return f"{self.name}: arguments missing: {', '.join(name for name in self._names if name not in given)}"

    def _exact(self, parameter: Parameter, value: Any, dtype: DTypeLike) -> Any:
        """The argument as the compiled kernel takes it."""
        kind = parameter.type
        if parameter.is_pointer:
            wanted = _POINTED.get(kind) or (np.dtype(dtype) if kind == "stored*" else arithmetic(dtype))
            if value is None:
                return _NULL
            if getattr(value, "dtype", None) == wanted:
                return value
        elif kind in _INTEGERS:
            exact, least, most = _INTEGERS[kind]
            if isinstance(value, (int, np.integer)) and least <= value <= most:
                return exact(value)
        elif kind == _DIVISOR:
            if isinstance(value, (int, np.integer)) and 0 <= value <= MOST:
                return divisor(int(value))
        elif isinstance(value, (float, np.floating)):
            return (_FLOATS.get(kind) or arithmetic(dtype).type)(value)
        shown = f"an array of {value.dtype}" if hasattr(value, "shape") and parameter.is_pointer else repr(value)
        known = f", {np.dtype(wanted).name}" if parameter.is_pointer else ""
        raise TypeError(f"{self.name}: parameter {parameter}{known}: got {shown}")


@cache
def divisor(value: int) -> np.uint64:
    """The 8 bytes of a Divisor (division.cuh) that divides by `value`, from 0 to MOST; 0 makes one that is not used."""
    if not value:
        return _NULL
    shift = (value - 1).bit_length()
    magic = -(-(1 << (31 + shift)) // value)
    return np.uint64(magic << 32 | value)


def _parameter(text: str) -> Parameter:
    words = text.split()
    constant = words[0] == "const"
    return Parameter(words[-1], " ".join(words[constant:-1]), constant)
