"""The build backend: setuptools, with one addition to editable installs.

A clone is often called `dragon`. When Python starts in the folder above, that folder comes first on its path and is
taken for a package without `__init__.py`; setuptools' own hook for editable installs is asked after that. A package
with `__init__.py` wins wherever it stands on the path, so a .pth file puts the clone's root there.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parents[1]
PATH_FILE = "dragon_checkout.pth"


def build_editable(
    wheel_directory: str, config_settings: dict[str, object] | None = None, metadata_directory: str | None = None
) -> str:
    """Setuptools' editable wheel and the .pth file; the name of the wheel."""
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    _add(Path(wheel_directory, name), PATH_FILE, f"{ROOT}\n".encode())
    return name


def _add(wheel: Path, name: str, content: bytes) -> None:
    """Add a file to a wheel, and to the wheel's record of its files."""
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    record = next(path for path in files if path.endswith(".dist-info/RECORD"))
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    files[record] = f"{name},sha256={digest},{len(content)}\n".encode() + files[record]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {name: content, **files}.items():
            archive.writestr(path, data)
