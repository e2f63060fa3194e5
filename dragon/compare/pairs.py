"""Two variants that should compute the same: their differences on one batch, and the time and memory of each."""

from __future__ import annotations

import mmap
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from dragon.bases.layer import TRAIN
from dragon.compare.arithmetic import options_for
from dragon.compare.stats import median_ratio
from dragon.compare.weights import as_inputs, copy_parameters, different_fillers, parameters
from dragon.engines import Options
from dragon.graph.net import Net
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition

__all__ = ["compare_pair", "feed", "first_batch", "peak_memory"]

Batch = dict[str, Array]
NetDefinition = Definition[pb.NetParameter]

_WARM_UP = 2
_MIN_PAIRS, _MAX_PAIRS = 5, 200


def compare_pair(
    first: NetDefinition, second: NetDefinition, seed: int, engine: str, precision: str, seconds: float
) -> dict[str, Any]:
    """Differences and times of two train nets on the first batch, from the same weights.

    Returns "settings", a list of dicts with "differences" and "times" (in milliseconds), "images", the batch size, and
    "own_start", the parameters for which the two name different fillers, and which therefore differ from the start.
    An engine that fuses layers runs once more without fusion. NumPy in float64 comes last, without times: differences
    that remain there are not due to float32.
    """
    batch, shapes = first_batch(first, seed)
    settings: list[tuple[str, str, Options, Any]] = [(engine, engine, options_for(precision), np.float32)]
    if engine != "numpy":
        settings.append((f"{engine}, no fusion", engine, options_for(precision, fuse=False), np.float32))
    results, own = [], []
    for label, name, options, dtype in [*settings, ("NumPy, float64", "numpy", Options(), np.float64)]:
        entry: dict[str, Any] = {"setting": label}
        nets = _built(first.message, second.message, shapes, seed, name, options, dtype, force=True)
        own = different_fillers(*nets)
        entry["differences"] = _differences(*nets, batch)
        if dtype is np.float32:
            nets = _built(first.message, second.message, shapes, seed, name, options, dtype, force=False)
            for net in nets:
                feed(net, batch)
            entry["times"] = _times(*nets, seconds)
        results.append(entry)
    return {"settings": results, "own_start": own, "images": max(s[0] for s in shapes.values() if s)}


def first_batch(definition: NetDefinition, seed: int) -> tuple[Batch, dict[str, tuple[int, ...]]]:
    """The first batch of a net's data layers, by blob name, and the shapes of all its blobs."""
    net = Net(definition, phase=TRAIN, engine="numpy", seed=seed)
    try:
        batch: Batch = {}
        for node in net.nodes:
            if node.layer.is_source:
                net.run_forward(node.index, node.index)
                batch |= {name: top.peek().copy() for name, top in zip(node.top_names, node.tops, strict=True)}
        return batch, {name: blob.shape for name, blob in net.blobs.items()}
    finally:
        net.close()


def _built(
    first: pb.NetParameter, second: pb.NetParameter, shapes: dict[str, tuple[int, ...]], seed: int, engine: str,
    options: Options, dtype: Any, force: bool,
) -> tuple[Net, Net]:  # fmt: skip
    nets = []
    for definition in (first, second):
        fed = as_inputs(definition, shapes, TRAIN)
        fed.force_backward = force
        nets.append(Net(fed, phase=TRAIN, engine=engine, seed=seed, dtype=dtype, options=options))
    copy_parameters(nets[0], nets[1])
    return nets[0], nets[1]


def feed(net: Net, batch: Batch) -> None:
    """Set those blobs of a net that a batch has."""
    for name, values in batch.items():
        if name in net.blobs:
            net.blobs[name].data[...] = values


# -- differences ---------------------------------------------------------------------------------------------
def _differences(a: Net, b: Net, batch: Batch) -> dict[str, Any]:
    """The largest absolute difference of outputs and of gradients, each with its blob and that blob's largest value."""
    for net in (a, b):
        feed(net, batch)
        net.clear_param_diffs()
        net.forward_backward()
    outputs = {name: (a.blobs[name], b.blobs[name]) for name in _outputs(a) if name in b.blobs}
    # labels have no gradient
    inputs = {name: (a.blobs[name], b.blobs[name]) for name in a.inputs if a.blobs[name].peek_diff().any()}
    mine, theirs = parameters(a), parameters(b)
    learned = {name: (mine[name], theirs[name]) for name in mine}
    rows = [_difference(name, x.peek_diff(), y.peek_diff()) for name, (x, y) in learned.items()]
    return {
        "outputs": _worst(_difference(name, x.peek(), y.peek()) for name, (x, y) in outputs.items()),
        "input_gradients": _worst(_difference(name, x.peek_diff(), y.peek_diff()) for name, (x, y) in inputs.items()),
        "parameter_gradients": _worst(rows),
        "by_parameter": rows,
    }


def _outputs(net: Net) -> list[str]:
    """Names of the blobs that a loss reads first, and of the losses; without a loss, of the net's outputs."""
    names: dict[str, None] = {}
    for node in net.nodes:
        if node.layer.is_loss:
            names |= dict.fromkeys([node.bottom_names[0], *node.top_names])
    return list(names) or net.outputs


def _difference(name: str, x: Array, y: Array) -> dict[str, Any]:
    y = y.reshape(x.shape)
    largest = float(np.abs(x).max(initial=0))
    return {"name": name, "difference": float(np.abs(x.astype(np.float64) - y).max(initial=0)), "of": largest}


def _worst(rows: Any) -> dict[str, Any] | None:
    listed = list(rows)
    return max(listed, key=lambda row: float(row["difference"])) if listed else None


# -- cost ----------------------------------------------------------------------------------------------------
def _times(a: Net, b: Net, seconds: float) -> dict[str, Any]:
    """Median forward and backward times of both nets in milliseconds, measured in alternating order."""

    def time_step(net: Net) -> tuple[float, float]:
        begin = time.perf_counter()
        net.run_forward()
        middle = time.perf_counter()
        net.run_backward()
        return (middle - begin) * 1e3, (time.perf_counter() - middle) * 1e3

    for _ in range(_WARM_UP):
        time_step(a), time_step(b)
    taken: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    until = time.perf_counter() + seconds
    while len(taken[0]) < _MIN_PAIRS or (time.perf_counter() < until and len(taken[0]) < _MAX_PAIRS):
        order = (0, 1) if len(taken[0]) % 2 else (1, 0)
        for which in order:
            taken[which].append(time_step((a, b)[which]))
    result: dict[str, Any] = {"pairs": len(taken[0])}
    for what, pick in (("forward", lambda t: t[0]), ("backward", lambda t: t[1]), ("both", sum)):
        first, second = ([float(pick(t)) for t in times] for times in taken)
        result[what] = {
            "first_ms": statistics.median(first),
            "second_ms": statistics.median(second),
            "ratio": median_ratio(first, second),
        }
    return result


def peak_memory(definition: NetDefinition, seed: int, engine: str, precision: str) -> dict[str, Any]:
    """Memory of one train net: what it adds to the peak of this fresh process, and its blobs, both in MiB."""
    batch, shapes = first_batch(definition, seed)
    before = _resident()
    fed = as_inputs(definition.message, shapes, TRAIN)
    net = Net(fed, phase=TRAIN, engine=engine, seed=seed, options=options_for(precision))
    feed(net, batch)
    for _ in range(3):
        net.clear_param_diffs()
        net.forward_backward()
    after = _peak()
    blobs: dict[int, Blob] = {id(blob.data_storage): blob for blob in net.blobs.values()}
    activations = sum(2 * blob.count * blob.dtype.itemsize for blob in blobs.values())
    return {
        "process_mib": None if before is None or after is None else (after - before) / 2**20,
        "blobs_mib": activations / 2**20,
    }


def _resident() -> int | None:
    """Resident bytes of this process; None if the system does not report them."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
    except OSError:
        return None


def _peak() -> int | None:
    """Peak resident bytes of this process; None if the system does not report them."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
