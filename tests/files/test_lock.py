"""A lock is held by one at a time, and by nobody who has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dragon.files.lock import LockedError, locked

HOLD = """
import sys, time
from pathlib import Path
from dragon.files.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_at_a_time_and_none_left(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path):
        with pytest.raises(LockedError) as caught, locked(path):
            pass
        assert caught.value.owner == os.getpid()
        assert path.exists()
    assert not path.exists()
    with locked(path):
        pass


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LockedError) as caught, locked(path):
            pass
        assert caught.value.owner == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked(path):
            pass


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "no" / ".lock"):
        pass
