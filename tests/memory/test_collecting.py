"""The search for cycles is off within the block, and afterwards as it was."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import pytest

from dragon.memory.collecting import without_collecting


def test_off_within_the_block_and_on_after_it() -> None:
    assert gc.isenabled()
    with without_collecting():
        assert not gc.isenabled()
        with without_collecting():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_on_after_an_error() -> None:
    with pytest.raises(ValueError, match="x"), without_collecting():
        raise ValueError("x")
    assert gc.isenabled()


def test_stays_off_where_it_was() -> None:
    gc.disable()
    try:
        with without_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_last_of_several_threads_puts_it_back() -> None:
    inside, end = threading.Event(), threading.Event()

    def other() -> None:
        with without_collecting():
            inside.set()
            end.wait()

    thread = threading.Thread(target=other)
    with without_collecting():
        thread.start()
        inside.wait()
    assert not gc.isenabled()
    end.set()
    thread.join()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_forgets_the_blocks_of_other_threads() -> None:
    code = """
import gc, os, threading
from dragon.memory.collecting import without_collecting
inside, end = threading.Event(), threading.Event()
def other():
    with without_collecting():
        inside.set()
        end.wait()
thread = threading.Thread(target=other)
thread.start()
inside.wait()
if (child := os.fork()) == 0:
    os._exit(0 if gc.isenabled() else 1)
status = os.waitpid(child, 0)[1]
end.set()
thread.join()
with without_collecting():
    if (child := os.fork()) == 0:
        os._exit(1 if gc.isenabled() else 0)
assert status == 0 and os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
