"""Packages that only some features need: what to install where one is missing, for error messages."""

from __future__ import annotations

import sys

__all__ = ["LEVELDB_WHEELS_END", "install_command", "leveldb_advice"]

LEVELDB_WHEELS_END = (3, 13)  # the first Python without a wheel of plyvel-ci; the marker in pyproject.toml says so too


def install_command(extra: str) -> str:
    """The command that installs an extra of pyproject.toml; double quotes serve every shell, Windows' too."""
    return f'pip install "dragon-caffe[{extra}]"'


def leveldb_advice() -> str:
    """What to do where LevelDB's package is missing, on this Python."""
    if sys.version_info < LEVELDB_WHEELS_END:
        return f"a LevelDB needs a package: {install_command('leveldb')}"
    end = ".".join(map(str, LEVELDB_WHEELS_END))
    return (
        f"a LevelDB needs the package plyvel-ci, which has no wheel for Python {end} and later: convert the data to an "
        "LMDB on an older Python, or compile it: pip install plyvel-ci"
    )
