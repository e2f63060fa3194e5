"""How well data-parallel training scales to 1,000 devices: a cost model, beside measurements and published figures.

    python -m benchmarks.scaling                  # tables of the model and of published figures
    python -m benchmarks.scaling --measure        # also times all-reduces on 2 to 8 processes of this machine
    python -m benchmarks.scaling --picture docs/pictures/scaling.svg

docs/scaling.md says what is measured, published and modelled.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.scaling_model import Cluster, efficiency, net_of_the_zoo
from benchmarks.scaling_ranks import SIZES
from dragon.parallel.mpiexec import find_mpiexec, rank_environment

BATCH = 64
# Images/s of training on one P100, batch 64: TensorFlow's benchmarks, tensorflow.org/performance/benchmarks (2017);
# of ResNet-101 a sixteenth of what Horovod's documentation has for 16 GPUs.
P100 = {"resnet50": 219.0, "resnet101": 1656.82 / 16, "vgg16": 154.0}
# CIFAR-10 quick has no published figure: as many multiply-adds per second as ResNet-50 would be 68,000 images/s, and
# a net so small reaches perhaps a tenth of that.
P100["cifar10_quick"] = 6_800.0
# 25 Gbit/s between machines of four GPUs. Latency and jitter are fitted to Horovod's three figures, see `fit`.
RATE = 25e9 / 8
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


@dataclass(frozen=True)
class Published:
    """An efficiency that others have published. seconds: of an iteration on one device; bucket: in bytes."""

    net: str
    ranks: int
    value: float
    source: str
    seconds: float
    bucket: int


HOROVOD = tuple(
    Published(net, ranks, value, f"Horovod, {ranks // 4} machines", BATCH / P100[net], 64 << 20)
    for net, ranks, value in (("vgg16", 128, 0.79), ("vgg16", 512, 0.68), ("resnet101", 512, 0.90))
)
# GoogLeNet by NVCaffe on one to four P100 of one machine, 128 images each: 468, 894 and 1,755 images/s (Dell's white
# paper "Deep Learning Performance with P100 GPUs", 2016). Nothing is fitted to it.
NVCAFFE = tuple(
    Published("googlenet", ranks, rate / ranks / 468, "NVCaffe, one machine", 128 / 468, 32 << 20)
    for ranks, rate in ((2, 894), (4, 1755))
)


def fit() -> Cluster:
    """The latency, the usable part of the link and the jitter that come nearest to Horovod's three figures."""
    nets = {one.net: net_of_the_zoo(one.net) for one in HOROVOD}
    best = (np.inf, Cluster(4, 0.0, RATE))
    for latency in np.geomspace(5e-6, 400e-6, 24):
        for part in np.linspace(0.6, 1.0, 9):
            for jitter in np.linspace(0, 0.05, 26):
                cluster = Cluster(4, float(latency), RATE * float(part), jitter=float(jitter))
                wrong = sum(
                    (efficiency(nets[one.net], one.seconds, one.ranks, cluster, bucket=one.bucket) - one.value) ** 2
                    for one in HOROVOD
                )
                best = min(best, (wrong, cluster), key=lambda found: found[0])
    return best[1]


def measure(counts: tuple[int, ...] = (2, 4, 8)) -> None:
    """Time all-reduces here, fit latency and bandwidth to MPI's of 2 processes, and print all beside the model."""
    rows, costs, times = {}, [], []
    for count in counts:
        command = [*find_mpiexec("the benchmark").command(count), sys.executable, "-m", "benchmarks.scaling_ranks"]
        rows[count] = json.loads(subprocess.check_output(command, env=rank_environment(), timeout=300))
        for size, taken in zip(SIZES, rows[count]["mpi"] if count == min(counts) else (), strict=False):
            costs.append([2 * (count - 1) / taken, 2 * (count - 1) / count * size / taken])  # relative errors count
            times.append(1.0)
    solution = np.linalg.lstsq(np.array(costs), np.array(times), rcond=None)[0]
    latency, inverse = (max(float(value), 1e-12) for value in solution)
    print(f"this machine, by MPI: latency {latency * 1e6:.1f} us, bandwidth {1 / inverse / 1e9:.2f} GB/s")
    print("processes     bytes   MPI ms   model ms   Dragon ms")
    for count, found in rows.items():
        for size, mpi, own in zip(SIZES, found["mpi"], found["dragon"], strict=True):
            model = 2 * (count - 1) * latency + 2 * (count - 1) / count * size * inverse
            print(f"{count:9} {size:9,} {mpi * 1e3:8.3f} {model * 1e3:10.3f} {own * 1e3:11.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    if given.measure:
        measure()
    cluster = fit()
    print(f"\nfitted: latency {cluster.latency * 1e6:.0f} us, {cluster.bandwidth / RATE:.0%} of 25 Gbit/s, ", end="")
    print(f"jitter {cluster.jitter:.1%}")
    for one in (*HOROVOD, *NVCAFFE):
        value = efficiency(net_of_the_zoo(one.net), one.seconds, one.ranks, cluster, bucket=one.bucket)
        print(f"{one.net:10} on {one.ranks:4}: published {one.value:.0%} ({one.source}), model {value:.0%}")
    nets = {name: net_of_the_zoo(name) for name in ("cifar10_quick", "resnet50", "vgg16")}
    curves = {
        (name, hierarchical): [
            efficiency(net, BATCH / P100[name], ranks, cluster, hierarchical=hierarchical) for ranks in COUNTS
        ]
        for name, net in nets.items()
        for hierarchical in (True, False)
    }
    print("\nefficiency by the model" + "".join(f"{count:7,}" for count in COUNTS))
    for (name, hierarchical), values in curves.items():
        print(f"{name:14}{'by machine' if hierarchical else 'flat':9}" + "".join(f"{v:7.0%}" for v in values))
    print("\nResNet-50 on 1,000 by the least size of a bucket, in MiB:")
    for mib in (0.25, 1, 4, 16, 32, 128):
        value = efficiency(nets["resnet50"], BATCH / P100["resnet50"], 1000, cluster, bucket=mib * 2**20)
        print(f"{mib:7} {value:.0%}")
    if given.picture:
        draw(given.picture, curves)


def draw(path: Path, curves: dict[tuple[str, bool], list[float]]) -> None:
    """Write the picture of docs/scaling.md."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "scaling"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    colors = dict(zip(dict.fromkeys(name for name, _ in curves), ("#1b7837", "#2166ac", "#b2182b"), strict=True))
    for (name, hierarchical), values in curves.items():
        label = f"{name}, {'by machine' if hierarchical else 'flat'}"
        axes.semilogx(COUNTS, values, "-" if hierarchical else ":", color=colors[name], label=label)
    for one in HOROVOD:
        axes.plot(one.ranks, one.value, "o", color=colors.get(one.net, "black"), markerfacecolor="none")
        axes.annotate(
            f"Horovod, {one.net}", (one.ranks, one.value), fontsize=7, xytext=(4, 4), textcoords="offset points"
        )
    axes.set(xlabel="devices", ylabel="efficiency", ylim=(0, 1.05), title="A cost model; circles are published figures")
    axes.legend(fontsize=7, loc="lower left")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
