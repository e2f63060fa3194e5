"""Times batch normalisation kernels against the copy bandwidth of the GPU."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks._harness import BenchmarkError

__all__ = ["copy_bandwidth", "normalization"]

FORWARD_PASSES, BACKWARD_PASSES = 3, 5  # over the activations: reads x, x, writes y; reads dy, x, dy, x, writes dx
WARM = 4  # runs until both directions are captured


@contextmanager
def _events(cupy: Any, stream: Any) -> Iterator[Callable[[], float]]:
    """Time the block by the GPU's clock; gives a function that returns the milliseconds afterwards."""
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record(stream)
    yield lambda: float(cupy.cuda.get_elapsed_time(begin, end))
    end.record(stream)
    end.synchronize()


def copy_bandwidth(megabytes: int = 2048, repeats: int = 20) -> float:
    """Bytes per second that a copy in the GPU's memory reads and writes."""
    cupy = importlib.import_module("cupy")
    source = cupy.zeros(megabytes << 18, "float32")
    target = cupy.zeros(megabytes << 18, "float32")
    target[...] = source
    with _events(cupy, cupy.cuda.get_current_stream()) as elapsed:
        for _ in range(repeats):
            target[...] = source
    moved: float = 2 * source.nbytes * repeats / (elapsed() / 1e3)
    return moved


def _net(shape: Sequence[int], merged: bool, precision: str) -> Any:
    from google.protobuf import text_format

    from dragon.bases.layer import TRAIN
    from dragon.engines import Options
    from dragon.graph.net import Net
    from dragon.proto import dragon_pb2 as pb

    dims = " ".join(f"dim: {d}" for d in shape)
    text = f'force_backward: true layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'
    if merged:
        text += 'layer { name: "bn" type: "BN" bottom: "x" top: "y" }'
    else:
        text += 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "b" }'
        text += 'layer { name: "scale" type: "Scale" bottom: "b" top: "y" scale_param { bias_term: true } }'
    param = pb.NetParameter()
    text_format.Parse(text, param)
    return Net(param, TRAIN, engine="cuda", options=Options(precision=precision), seed=1)


def normalization(shape: Sequence[int], bandwidth: float, repeats: int = 20, precision: str = "fp32") -> dict[str, Any]:
    """Achieved bytes per second of the merged layer over the copy bandwidth, and split over merged time."""
    cupy = importlib.import_module("cupy")
    found: dict[str, Any] = {"shape": list(shape), "precision": precision}
    for form in ("merged", "split"):
        net = _net(shape, form == "merged", precision)
        try:
            net.blobs["x"].data[...] = np.random.default_rng(0).standard_normal(shape, np.float32)
            net.blobs["y"].diff[...] = 1
            for _ in range(WARM):
                net.run_forward()
                net.run_backward()
            executor = net.executor
            with executor.gpu.active():
                for way in ("forward", "backward"):
                    segments = executor.segments(way)
                    if not any(segment.launch_graph() for segment in segments):
                        raise BenchmarkError(f"batch normalisation {way} was not captured: {executor.remarks()}")
                    with _events(cupy, executor.gpu.stream) as elapsed:
                        for _ in range(repeats):
                            for segment in segments:
                                segment.launch_graph()
                    found[f"{form}_{way}_ms"] = elapsed() / repeats
        finally:
            net.close()
    size = math.prod(shape) * (4 if precision == "fp32" else 2)
    for way, passes in (("forward", FORWARD_PASSES), ("backward", BACKWARD_PASSES)):
        found[f"{way}_of_copy"] = passes * size / (found[f"merged_{way}_ms"] / 1e3) / bandwidth
    both = [found[f"{form}_forward_ms"] + found[f"{form}_backward_ms"] for form in ("split", "merged")]
    found["split_over_merged"] = both[0] / both[1]
    return found
