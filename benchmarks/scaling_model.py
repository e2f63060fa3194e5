"""A cost model of data-parallel training: the time of an iteration on N devices, from a net, a device and a network.

Forward takes a third of the arithmetic and backward two thirds, layer by layer as their multiply-adds say. Gradients
are collected in buckets as backward completes them, and a bucket is reduced while backward goes on below it, one at a
time. What the reductions take beyond the end of backward is lost, and so is what the slowest of N devices takes longer
than the mean.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass

__all__ = ["Cluster", "Net", "all_reduce", "efficiency", "net_of_the_zoo"]


@dataclass(frozen=True)
class Net:
    """name; layers: (values of parameters, multiply-adds of one image's forward pass) of each, in the net's order."""

    name: str
    layers: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Cluster:
    """Machines with `devices` each. latency in seconds for a message, bandwidth in bytes per second, each way.

    Between machines all devices share one link; within one each has its own. jitter: standard deviation of a device's
    time for an iteration, as a part of it.
    """

    devices: int
    latency: float
    bandwidth: float
    inner_latency: float = 10e-6
    inner_bandwidth: float = 10e9
    jitter: float = 0.0


def net_of_the_zoo(name: str) -> Net:
    """A net of the zoo, as `dragon summarize` counts it."""
    command = [sys.executable, "-m", "dragon", "summarize", "--model", name, "--json"]
    found = json.loads(subprocess.check_output(command))
    return Net(name, tuple((layer["learned"], layer["multiply_adds"]) for layer in found["layers"]))


def all_reduce(size: float, ranks: int, cluster: Cluster, hierarchical: bool) -> float:
    """Seconds to add up `size` bytes of N ranks and give all of them the sum.

    Flat: every rank scatters parts and gathers sums, 2 (N - 1) messages and 2 (N - 1) / N of the bytes in and out of it
    (a ring, or Dragon's direct exchange), which between machines all devices of one send through one link, unless a
    ring enters each machine once. Hierarchical: the same within each machine, then among machines on the parts, so that
    a link carries the bytes once, and with the latencies of machines in place of devices.
    """
    if ranks == 1:
        return 0.0
    inner = min(ranks, cluster.devices)
    machines = math.ceil(ranks / cluster.devices)

    def ring(count: int, latency: float, bandwidth: float) -> float:
        return 2 * (count - 1) * latency + 2 * (count - 1) / count * size / bandwidth

    if machines == 1:
        return ring(ranks, cluster.inner_latency, cluster.inner_bandwidth)
    if not hierarchical:
        return ring(ranks, cluster.latency, cluster.bandwidth)
    within = ring(inner, cluster.inner_latency, cluster.inner_bandwidth)
    return within + ring(machines, cluster.latency, cluster.bandwidth)


def efficiency(
    net: Net, seconds: float, ranks: int, cluster: Cluster, *,
    hierarchical: bool = True, bucket: float = 32 << 20, bytes_each: int = 4, overlap: bool = True,
) -> float:  # fmt: skip
    """Throughput of N devices as a part of N times that of one, at the same batch for each.

    seconds: of an iteration on one device. bucket: least bytes of a bucket. bytes_each: of a gradient on the wire.
    """
    total = sum(adds for _, adds in net.layers) or 1
    slower = 1 + cluster.jitter * math.sqrt(2 * math.log(ranks)) if ranks > 1 else 1.0
    clock, link, waiting = seconds / 3, 0.0, 0.0
    last = len(net.layers) - 1
    for k, (values, adds) in enumerate(reversed(net.layers)):
        clock += seconds * 2 / 3 * adds / total
        waiting += values * bytes_each
        if waiting and (waiting >= bucket or k == last):
            start = max(link, clock) if overlap else max(link, seconds)
            link = start + all_reduce(waiting, ranks, cluster, hierarchical)
            waiting = 0
    return seconds / (max(seconds * slower, link + seconds * (slower - 1)))
