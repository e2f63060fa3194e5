"""The Git commit of a working directory, read from its files: no program is started."""

from __future__ import annotations

import re
from pathlib import Path

from dragon.files.reading import read_text

__all__ = ["git_commit"]

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def git_commit(folder: Path) -> str | None:
    """The hash of the commit that is checked out in the repository around `folder`; None without one."""
    top = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    if top is None:
        return None
    try:
        own = _git_folder(top / ".git")
        head = read_text(own / "HEAD").strip()
        commit = _resolve(own, head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    except (OSError, ValueError):  # not readable, or no text
        return None
    return commit if _HASH.fullmatch(commit) else None


def _git_folder(path: Path) -> Path:
    """The folder that `.git` is, or that it names if it is a file, as in a worktree or a submodule."""
    return path if path.is_dir() else path.parent / read_text(path).strip().removeprefix("gitdir: ")


def _resolve(own: Path, reference: str) -> str:
    """The commit of a branch; "" for one without commits."""
    shared = own / "commondir"
    common = own / read_text(shared).strip() if shared.is_file() else own
    for place in (own, common):
        if (place / reference).is_file():
            return read_text(place / reference).strip()
    packed = common / "packed-refs"
    lines = read_text(packed).splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {reference}")), "")
