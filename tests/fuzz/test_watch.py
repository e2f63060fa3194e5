"""What the fuzzer takes for a process that hangs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.fuzz.watch import watched

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
SECONDS = 0.5  # of sleep that are too many here


def run(code: str, step: Path) -> tuple[int, str, bool]:
    """Exit status, output and whether it was ended, of a Python program that is given the path `step`."""
    ended = watched([sys.executable, "-S", "-c", code, str(step)], step, SECONDS, every=0.05)
    return ended.code, ended.out.strip(), ended.slept


def test_a_process_that_sleeps_for_ever_is_ended(tmp_path: Path) -> None:
    code = "import faulthandler, time; faulthandler.enable(); time.sleep(600)"
    assert run(code, tmp_path / "step") == (-signal.SIGABRT, "", True)


def test_one_that_computes_is_not(tmp_path: Path) -> None:
    code = f"import time\nwhile time.process_time() < {2 * SECONDS}: pass\nprint('done')"
    assert run(code, tmp_path / "step") == (0, "done", False)


def test_one_that_sleeps_between_steps_is_not(tmp_path: Path) -> None:
    code = f"import sys, time\nfor k in range(10):\n open(sys.argv[1], 'w').write(str(k))\n time.sleep({SECONDS / 4})"
    assert run(code, tmp_path / "step") == (0, "", False)


def test_one_that_was_stopped_is_not(tmp_path: Path) -> None:
    """It is continued after longer than it might sleep."""
    stop = "os.kill(os.getpid(), signal.SIGSTOP)"
    code = f"import os, signal, sys; print(os.getpid(), file=open(sys.argv[1], 'w', 1)); {stop}"

    def go_on() -> None:
        while not (tmp_path / "step").exists() or not (text := (tmp_path / "step").read_text()).endswith("\n"):
            time.sleep(0.01)
        time.sleep(2 * SECONDS)
        os.kill(int(text), signal.SIGCONT)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        assert run(code, tmp_path / "step") == (0, "", False)
    finally:
        thread.join()
