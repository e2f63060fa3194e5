"""Waiting until the readers of stdout and stderr have read what was written."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dragon.tools.common.streams import wait_for_readers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")


@contextmanager
def stderr_to_a_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end of the pipe to read from. Not a fixture: pytest puts its own stderr back before the test."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        print("the end", file=stream)  # stays in the buffer of the stream
        yield reader
    os.close(reader)


def test_a_line_is_read_before_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    with stderr_to_a_pipe(monkeypatch) as reader:
        late = threading.Timer(0.3, lambda: read.append(os.read(reader, 100)))
        late.daemon = True
        late.start()
        began = time.monotonic()
        wait_for_readers(60)
        assert 0.2 < time.monotonic() - began < 30
        late.join(10)
    assert read == [b"the end\n"]


def test_it_waits_no_longer_for_a_reader_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with stderr_to_a_pipe(monkeypatch):
        began = time.monotonic()
        wait_for_readers(0.2)
        assert 0.2 <= time.monotonic() - began < 10


def test_a_file_needs_no_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("here before\n")
    with (tmp_path / "log").open("r+") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        began = time.monotonic()
        wait_for_readers(60)
        assert time.monotonic() - began < 30
