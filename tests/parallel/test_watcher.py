"""The process that waits for a rank: what it does with signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.imports import ROOT
from tests.parallel.test_train import environment, needs_mpi


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_signal_behind_the_end_of_the_rank_is_no_error() -> None:
    """The watcher of one of several ranks stays a second longer, and the launcher may interrupt it then."""
    watcher = [sys.executable, str(ROOT / "dragon/parallel/watcher.py"), "mark", "2", "RANK", "INT:INT"]
    code = "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN); os.write(2, b'ends'); os._exit(3)"
    with subprocess.Popen([*watcher, sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        read = b""
        while not (b"ends" in read and b'"pid": ' in read and b"}" in read):  # its note comes when it passes signals on
            read += os.read(process.stderr.fileno(), 100)
        found = re.search(rb'"pid": (\d+)', read)
        assert found is not None
        with suppress(ProcessLookupError):
            while True:  # until the watcher has taken its status
                os.kill(int(found[1]), 0)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == -signal.SIGKILL
    assert b"Traceback" not in rest


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.parametrize(
    ("pairs", "sent", "noted"),
    [
        ("TERM:TERM,USR1:INT", signal.SIGUSR1, {"status": 7}),
        ("TERM:KILL", signal.SIGTERM, {}),
        ("HUP:HUP", None, {"signal": 15}),
    ],
)
def test_what_a_signal_becomes(pairs: str, sent: int | None, noted: dict[str, int]) -> None:
    """A rank that its watcher has ended is not noted as killed; one that anybody else has killed is."""
    code = (
        "import os, signal\nsignal.signal(signal.SIGINT, lambda *_: os._exit(7))\nos.write(2, b'runs')\nsignal.pause()"
    )
    watcher = [sys.executable, str(ROOT / "dragon/parallel/watcher.py"), "mark", "2", "RANK", pairs]
    with subprocess.Popen(
        [*watcher, sys.executable, "-c", code], stderr=subprocess.PIPE, env={**os.environ, "RANK": "1"}
    ) as process:
        assert process.stderr is not None
        read = b""
        while not (b"runs" in read and b'"pid": ' in read and b"}" in read):
            read += os.read(process.stderr.fileno(), 100)
        found = re.search(rb'"pid": (\d+)', read)
        assert found is not None
        if sent is None:
            os.kill(int(found[1]), signal.SIGTERM)
        else:
            process.send_signal(sent)
        notes = [json.loads(line) for line in process.stderr.read().decode().split("mark") if "{" in line]
    assert process.returncode == -signal.SIGKILL
    assert len(notes) == bool(noted)
    for note in notes:
        assert noted.items() <= note.items()
        assert note["rank"] == 1


@needs_mpi
def test_an_error_before_mpi_is_there_ends_with_status_2() -> None:
    """The status of mpiexec is then that of the watcher, which a signal has ended."""
    done = subprocess.run(
        [sys.executable, "-m", "dragon", "train", "--ranks", "2"],
        capture_output=True, text=True, check=False, timeout=60, cwd=ROOT, env=environment(),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "dragon: error: Missing option '--solver'. Or name a net of the zoo, or a run: --resume runs/lenet/1"
    ]
