"""A program: a cable between two network namespaces that delays and loses frames, for kernels without tc's netem.

    python -m tests.parallel.cable NAMESPACE NAMESPACE --delay 2 --jitter 1 --loss 0.02

Each namespace gets a network device `cable0` (TAP); the program carries Ethernet frames from one to the other. A frame
is lost by chance, or arrives `delay` plus or minus `jitter` milliseconds later, so that frames may overtake each other.
It prints "ready" when both devices are there, and at its end (SIGTERM) how many frames it has carried and lost.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

__all__ = ["main"]

_NEW_NET = 0x40000000  # of setns
_SET_INTERFACE = 0x400454CA  # TUNSETIFF of ioctl
_TAP, _NO_INFO = 0x2, 0x1000
_FRAME = 1 << 16


def open_device(namespace: str) -> int:
    """The file of a new device cable0 in a namespace, which the process has entered then. Raises OSError."""
    with open(f"/var/run/netns/{namespace}") as place:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(place.fileno(), _NEW_NET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _SET_INTERFACE, struct.pack("16sH", b"cable0", _TAP | _NO_INFO))
    return device


def carry(devices: Sequence[int], delay: float, jitter: float, loss: float, seed: int) -> tuple[int, int]:
    """Carry frames until SIGTERM; how many arrived and how many were lost. delay, jitter: in seconds."""
    ends: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ends.append(number)

    signal.signal(signal.SIGTERM, end)
    draw = random.Random(seed)
    due: list[tuple[float, int, int, bytes]] = []  # when, a number in order, to which device, what
    count = lost = carried = 0
    print("ready", flush=True)
    while not ends:
        wait = max(0.0, due[0][0] - time.monotonic()) if due else 0.2
        for device in select.select(devices, [], [], min(wait, 0.2))[0]:
            with suppress(BlockingIOError, OSError):  # the device is not up
                read = os.read(device, _FRAME)
                if draw.random() < loss:
                    lost += 1
                    continue
                count += 1
                later = time.monotonic() + delay + draw.uniform(-jitter, jitter)
                heapq.heappush(due, (later, count, devices[1 - devices.index(device)], read))
        while due and due[0][0] <= time.monotonic():
            _, _, to, frame = heapq.heappop(due)
            with suppress(OSError):
                os.write(to, frame)
                carried += 1
    return carried, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("namespaces", nargs=2)
    parser.add_argument("--delay", type=float, default=0, help="milliseconds")
    parser.add_argument("--jitter", type=float, default=0, help="milliseconds")
    parser.add_argument("--loss", type=float, default=0, help="the part of the frames that is lost")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    devices = [open_device(name) for name in given.namespaces]
    carried, lost = carry(devices, given.delay / 1e3, given.jitter / 1e3, given.loss, given.seed)
    print(json.dumps({"carried": carried, "lost": lost}), flush=True)


if __name__ == "__main__":
    main()
