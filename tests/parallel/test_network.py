"""Ranks on two machines, imitated by network namespaces with a cable (veth) between them, slow and lossy by `tc`.

It needs root on Linux, `ip`, and for each kind of cable that the kernel has it; where something is missing the test is
skipped and says what.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragon.data.synthetic import write_synthetic
from tests.parallel.kills import MIDDLE
from tests.parallel.test_train import environment, equal, needs_mpi, solver, train, weights

pytestmark = [pytest.mark.slow, needs_mpi]

CABLES = {
    "as it is": [],
    "of 100 Mbit/s": ["tbf", "rate", "100mbit", "burst", "32k", "latency", "50ms"],
    "with 2 ms and 0.5 % loss": ["netem", "delay", "2ms", "1ms", "loss", "0.5%"],
}
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
    """Two namespaces, NAME-1 and NAME-2, with the addresses 10.77.0.1 and 10.77.0.2; the NAME."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need Linux, root and the program ip")
    name = f"dragon{os.getpid()}"
    try:
        for k in (1, 2):
            ip("netns", "add", f"{name}-{k}")
        ends = f"{name}-1", f"{name}-2"
        ip("link", "add", "cable0", "netns", ends[0], "type", "veth", "peer", "name", "cable0", "netns", ends[1])
        for k in (1, 2):
            ip("-n", f"{name}-{k}", "addr", "add", f"10.77.0.{k}/24", "dev", "cable0")
            ip("-n", f"{name}-{k}", "link", "set", "lo", "up")
            ip("-n", f"{name}-{k}", "link", "set", "cable0", "up")
        time.sleep(1.5)  # until both ends are up: UCX does not wait
        yield name
    finally:
        for k in (1, 2):
            subprocess.run(["ip", "netns", "del", f"{name}-{k}"], capture_output=True, check=False)


def sent(name: str) -> int:
    """Bytes that the first machine has sent."""
    path = "/sys/class/net/cable0/statistics/tx_bytes"
    return int(subprocess.check_output(["ip", "netns", "exec", f"{name}-1", "cat", path]))


@pytest.mark.parametrize("cable", CABLES)
def test_two_machines_train_as_one(tmp_path: Path, machines: str, cable: str) -> None:
    if CABLES[cable]:
        for k in (1, 2):
            command = ["tc", "-n", f"{machines}-{k}", "qdisc", "add", "dev", "cable0", "root", *CABLES[cable]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"tc {' '.join(CABLES[cable])}: {done.stderr.strip()}")
    start, hosts = tmp_path / "start", tmp_path / "hosts"
    start.write_text(START.replace("NAME", machines))
    start.chmod(0o755)
    hosts.write_text("10.77.0.1:1\n10.77.0.2:1\n")
    lmdb = write_synthetic(tmp_path / "drawn", train=170, test=10).train
    settings = {"max_iter": 12, "snapshot": 12, "base_lr": 0.0001}
    here, there = (solver(tmp_path / name, lmdb, 10, MIDDLE, **settings) for name in ("here", "there"))
    assert train(2, here).returncode == 0
    cabled = environment(
        HYDRA_HOST_FILE=str(hosts), HYDRA_LAUNCHER="rsh", HYDRA_LAUNCHER_EXEC=str(start),
        HYDRA_IFACE="cable0", UCX_TLS="tcp,self", UCX_NET_DEVICES="cable0",
    )  # fmt: skip
    command = ["ip", "netns", "exec", f"{machines}-1", sys.executable, "-m", "dragon", "train", "--engine", "numpy"]
    done = subprocess.run(
        [*command, "--solver", str(there), "--no-run", "--ranks", "2"],
        capture_output=True, text=True, env=cabled, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    equal(weights(tmp_path / "there", 12), weights(tmp_path / "here", 12))
    assert sent(machines) > 12 * 4 * 1000  # half of the gradients of each iteration, at least
