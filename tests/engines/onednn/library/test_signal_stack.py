"""Signals while the library's stack pointer refers to the heap, and which threads have a stack for handlers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="stacks for signals are set up on Linux"),
    pytest.mark.usefixtures("device"),
]

# An inner product of long rows, of whose time the library spends most with its stack pointer in the heap.
PRODUCT = """
import signal, time
import dragon
from dragon.engines import Options
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

TEXT = '''
layer { name: "data" type: "Input" top: "x" top: "t"
        input_param { shape { dim: [20, 9216] } shape { dim: 20 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 64 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" top: "loss" }
'''
definition = parse_text(TEXT, pb.NetParameter())
net = dragon.Net(definition, dragon.TRAIN, engine="onednn", options=Options(threads=1))
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
net.run_forward()
net.run_backward()  # after which the library's work memory comes from the middle of the heap
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end = time.monotonic() + 60
while len(seen) < 300 and time.monotonic() < end:
    net.run_forward()
net.run_backward()  # after which the library's work memory comes from the middle of the heap
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(seen) >= 300)
"""

THREADS = """
import ctypes, threading
from dragon.engines.onednn.library import signal_stack
from dragon.engines.onednn.library.threads import set_threads

def start():
    now = signal_stack._Stack()
    assert signal_stack._libc().sigaltstack(None, ctypes.byref(now)) == 0
    return now.start if not now.flags & signal_stack._DISABLED else None

def run():
    before = start()
    set_threads(1)
    first = start()
    set_threads(1)
    found.append((before, first, start()))

found = []
run()
thread = threading.Thread(target=run)
thread.start()
thread.join()
(a0, a1, a2), (b0, b1, b2) = found
assert a0 is None and b0 is None, found
assert a1 and a1 == a2 and b1 and b1 == b2 and a1 != b1, found
known = []
def late():
    mine = ctypes.create_string_buffer(1 << 18)
    signal_stack._libc().sigaltstack(ctypes.byref(signal_stack._Stack(ctypes.addressof(mine), 0, 1 << 18)), None)
    set_threads(1)
    known.append(start() == ctypes.addressof(mine))
    now = signal_stack._Stack(None, signal_stack._DISABLED, 0)
    signal_stack._libc().sigaltstack(ctypes.byref(now), None)
thread = threading.Thread(target=late)
thread.start()
thread.join()
print(known == [True])
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONFAULTHANDLER"}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_a_signal_writes_no_heap() -> None:
    done = run(PRODUCT)
    assert (done.returncode, done.stdout) == (0, "True\n"), (done.returncode, done.stderr)


def test_each_thread_has_one_stack_and_keeps_another() -> None:
    done = run(THREADS)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
