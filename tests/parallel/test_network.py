"""Ranks on two machines, imitated by network namespaces with a cable between them, slow and lossy.

The cable is a pair of the kernel's (veth), limited or disturbed by `tc`, or a program that carries the frames, for
kernels without netem. It needs root on Linux, `ip`, and for each kind of cable that the kernel has it; where something
is missing the test is skipped and says what.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dragon.data.synthetic import write_synthetic
from tests.parallel.kills import MIDDLE
from tests.parallel.test_train import ROOT, environment, equal, needs_mpi, solver, train, weights

pytestmark = [pytest.mark.slow, needs_mpi]

CABLES = {
    "as it is": [],
    "of 100 Mbit/s": ["tbf", "rate", "100mbit", "burst", "32k", "latency", "50ms"],
    "with 2 ms and 2 % loss": ["netem", "delay", "2ms", "1ms", "loss", "2%"],
}
PROGRAM = ["--delay", "2", "--jitter", "1", "--loss", "0.02"]
# started in the place of ssh: options, a machine's address, a command
START = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
address=$1; shift
[ "$address" = 10.77.0.1 ] && name=NAME-1 || name=NAME-2
exec ip netns exec $name sh -c "$*"
"""


def ip(*words: str) -> None:
    """Run `ip`, and skip the test where it fails."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def machines() -> Iterator[str]:
    """Two namespaces, NAME-1 and NAME-2; the NAME."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need Linux, root and the program ip")
    name = f"dragon{os.getpid()}"
    try:
        for k in (1, 2):
            ip("netns", "add", f"{name}-{k}")
            ip("-n", f"{name}-{k}", "link", "set", "lo", "up")
        yield name
    finally:
        for k in (1, 2):
            subprocess.run(["ip", "netns", "del", f"{name}-{k}"], capture_output=True, check=False)


def plug_in(name: str) -> None:
    """Give the devices cable0 of both namespaces the addresses 10.77.0.1 and 10.77.0.2."""
    for k in (1, 2):
        ip("-n", f"{name}-{k}", "addr", "add", f"10.77.0.{k}/24", "dev", "cable0")
        ip("-n", f"{name}-{k}", "link", "set", "cable0", "up")
    time.sleep(1.5)  # until both ends are up: UCX does not wait


@contextmanager
def carried_by_a_program(name: str) -> Iterator[subprocess.Popen[str]]:
    """The program tests/parallel/cable.py between the namespaces."""
    words = [sys.executable, "-m", "tests.parallel.cable", f"{name}-1", f"{name}-2", *PROGRAM]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                assert process.stderr is not None
                pytest.skip(f"a network device of a program (TAP): {process.stderr.read().strip().splitlines()[-1]}")
            yield process
        finally:
            process.kill()


def sent(name: str) -> int:
    """Bytes that the first machine has sent."""
    path = "/sys/class/net/cable0/statistics/tx_bytes"
    return int(subprocess.check_output(["ip", "netns", "exec", f"{name}-1", "cat", path]))


@pytest.mark.parametrize("cable", CABLES)
def test_two_machines_train_as_one(tmp_path: Path, machines: str, cable: str) -> None:
    ends = f"{machines}-1", f"{machines}-2"
    ip("link", "add", "cable0", "netns", ends[0], "type", "veth", "peer", "name", "cable0", "netns", ends[1])
    plug_in(machines)
    if CABLES[cable]:
        for end in ends:
            command = ["tc", "-n", end, "qdisc", "add", "dev", "cable0", "root", *CABLES[cable]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"tc {' '.join(CABLES[cable])}: {done.stderr.strip()}")
    compare(tmp_path, machines)


def test_two_machines_with_a_cable_that_loses_frames(tmp_path: Path, machines: str) -> None:
    with carried_by_a_program(machines) as cable:
        plug_in(machines)
        compare(tmp_path, machines)
        cable.terminate()
        said = json.loads(cable.communicate(timeout=60)[0])
    assert said["carried"] > 100
    assert 0 < said["lost"] < said["carried"] / 10


def compare(folder: Path, name: str) -> None:
    """Train on one machine and on the two, and compare the weights bit for bit."""
    start, hosts = folder / "start", folder / "hosts"
    start.write_text(START.replace("NAME", name))
    start.chmod(0o755)
    hosts.write_text("10.77.0.1:1\n10.77.0.2:1\n")
    lmdb = write_synthetic(folder / "drawn", train=170, test=10).train
    settings = {"max_iter": 12, "snapshot": 12, "base_lr": 0.0001}
    here, there = (solver(folder / place, lmdb, 10, MIDDLE, **settings) for place in ("here", "there"))
    assert train(2, here).returncode == 0
    cabled = environment(
        HYDRA_HOST_FILE=str(hosts), HYDRA_LAUNCHER="rsh", HYDRA_LAUNCHER_EXEC=str(start),
        HYDRA_IFACE="cable0", UCX_TLS="tcp,self", UCX_NET_DEVICES="cable0",
    )  # fmt: skip
    command = ["ip", "netns", "exec", f"{name}-1", sys.executable, "-m", "dragon", "train", "--engine", "numpy"]
    done = subprocess.run(
        [*command, "--solver", str(there), "--no-run", "--ranks", "2"],
        capture_output=True, text=True, env=cabled, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    equal(weights(folder / "there", 12), weights(folder / "here", 12))
    assert sent(name) > 12 * 4 * 1000  # half of the gradients of each iteration, at least
