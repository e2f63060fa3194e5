"""Tells the lines that mpiexec writes for itself from those of the ranks, whose output passes through it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

__all__ = ["is_own", "without_blocks"]

# lines of Hydra (MPICH, Intel MPI, MVAPICH) about a process that died
_HYDRA = re.compile(
    r"={60,}$|=   |YOUR APPLICATION TERMINATED|This typically refers to a problem|Please see the FAQ page|"
    r"Abort\(\d+\) on node|\[(?:proxy|mpiexec)[:@]"
)
# Open MPI writes blocks of text between two rules, and now and then a byte 0
_RULE = re.compile(rb"-{70,}\s*$")
_OPEN_MPI = re.compile(r"prterun|mpirun|mpiexec|\bPR?RTE|\bORTE|MPI_ABORT|Open MPI|not enough slots|Primary job")
_LONGEST = 60  # lines of a block


def is_own(line: str) -> bool:
    """Whether Hydra has written a line for itself."""
    return bool(_HYDRA.match(line))


def without_blocks(lines: Iterable[bytes], noted: Callable[[str], None]) -> Iterator[bytes]:
    """The lines without Open MPI's own blocks. noted: gets the first paragraph of each, in one line.

    What the ranks of Dragon say of themselves, lines that begin with "dragon", is not held back by a block that has
    begun; other lines are, until it is known whose they are.
    """
    block: list[bytes] = []
    for line in lines:
        raw = line.lstrip(b"\0")
        rule = bool(_RULE.match(raw))
        if raw.startswith(b"dragon") or not (block or rule):
            yield raw
            continue
        block.append(raw)
        if (rule and len(block) > 1) or len(block) > _LONGEST:
            text = b"".join(block[1:-1]).decode(errors="replace").strip()
            if rule and _OPEN_MPI.search(text):
                noted(" ".join(text.split("\n\n")[0].split()))
            else:
                yield from block
            block = []
    yield from block
