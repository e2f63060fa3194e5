"""What compilers gave, kept beside pytest's own cache under a hash of everything that they were given."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """Where it is kept, so that a second run need not compile again."""
    folder = Path(__file__).parents[3] / ".pytest_cache" / "cuda_emulation"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp())
    return folder


def key(*parts: str) -> str:
    """A name for what these texts give."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def version(program: str | Path) -> str:
    """What changes when a compiler is exchanged: its file, with the size and time of that."""
    path = Path(program).resolve()
    found = path.stat()
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def once(name: str, work: Callable[[], bytes]) -> bytes:
    """The bytes that work gave when it was done under this name (`key`) for the first time; errors are not kept."""
    path = cache_folder() / f"{name}.kept"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        found = work()
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(found)
    os.replace(file.name, path)
    return found
