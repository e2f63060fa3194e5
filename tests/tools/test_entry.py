"""The entry point: an interrupt while the command line is still being loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# the interrupt comes when a module is looked for, as from the keyboard
INTERRUPTED = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "{name}":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from dragon.tools.entry import main
main()
"""


@pytest.mark.parametrize("name", ["click", "numpy", "google.protobuf", "dragon.errors", "dragon.tools.main"])
def test_an_interrupt_while_modules_are_loaded(name: str) -> None:
    run = [sys.executable, "-c", INTERRUPTED.format(name=name), "device"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr.lstrip()) == (130, "", "dragon: interrupted\n")


# when a module is looked for, by a package that makes another error of an interrupt, or when Python ends
SIGNALLED = """
import atexit, os, signal, sys
def interrupt():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("a part of the package is missing")
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "{when}":
            interrupt()
sys.meta_path.insert(0, Interrupt())
if "{when}" == "end":
    atexit.register(interrupt)
if "{when}" == "background":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.meta_path[0].find_spec = lambda name, path=None, target=None: interrupt() if name == "click" else None
from dragon.tools.entry import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
@pytest.mark.parametrize("when", ["click", "numpy", "numpy.linalg", "dragon.tools.main", "end"])
def test_an_interrupt_is_one_line_whoever_catches_it(when: str) -> None:
    run = [sys.executable, "-c", SIGNALLED.format(when=when), "--version"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (130, "dragon: interrupted\n")
    assert ("dragon" in done.stdout) == (when == "end")


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_interrupts_stay_ignored_in_the_background() -> None:
    run = [sys.executable, "-c", SIGNALLED.format(when="background"), "--version"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_loads_nothing_before_the_entry_point() -> None:
    """Otherwise an interrupt could come before the entry point can say so."""
    code = (
        "import dragon.tools.entry, sys; print([m for m in ('numpy', 'click', 'google.protobuf') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr


def test_train_loads_no_comparison_and_no_http() -> None:
    """They take a third of the time in which a training starts, and every rank of it."""
    unneeded = ("dragon.compare.session", "dragon.compare.plan", "http.client", "ssl")
    code = f"import dragon.tools.train, sys; print([m for m in {unneeded} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr
