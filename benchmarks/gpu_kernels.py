"""Times batch normalisation kernels against the copy bandwidth of the GPU.

Several arrays of a shape take turns, so that an array is not in the cache when its turn comes, however small it is.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks._harness import BenchmarkError
from dragon.engines.cuda.device.counting import Shaped
from dragon.engines.cuda.device.gpu import open_gpu
from dragon.engines.cuda.lowerings import channel_slices
from dragon.engines.cuda.lowerings.channel_slices import slices
from dragon.engines.cuda.lowerings.channels import Channels

__all__ = ["copy_bandwidth", "equal_copy", "normalization"]

FORWARD_PASSES, BACKWARD_PASSES = 3, 5  # over the activations: reads x, x, writes y; reads dy, x, dy, x, writes dx
WARM = 4  # runs until both directions are captured
ROTATED = 256 << 20  # bytes of the arrays that take turns: far more than a cache has
MOST_ROTATED = 8
PATTERN = 1 << 20  # random numbers, which are repeated


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


def _rotated(size: int) -> int:
    """How many arrays of this many bytes take turns."""
    return max(1, min(MOST_ROTATED, -(-ROTATED // size)))


def equal_copy(size: int, repeats: int = 20) -> float:
    """Bytes per second that copies of `size` bytes read and write in a graph, the most that arrays of this size can."""
    cupy = importlib.import_module("cupy")
    pairs = [(cupy.zeros(size, "int8"), cupy.zeros(size, "int8")) for _ in range(_rotated(size))]
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        for source, target in pairs:
            target[...] = source
        graph = stream.end_capture()
        graph.launch(stream)
        with _events(cupy, stream) as elapsed:
            for _ in range(repeats):
                graph.launch(stream)
    return 2 * size * len(pairs) * repeats / (elapsed() / 1e3)


def _net(shape: Sequence[int], merged: bool, precision: str, copies: int) -> Any:
    from google.protobuf import text_format

    from dragon.bases.layer import TRAIN
    from dragon.engines import Options
    from dragon.graph.net import Net
    from dragon.proto import dragon_pb2 as pb

    dims = " ".join(f"dim: {d}" for d in shape)
    text = "force_backward: true "
    for k in range(copies):
        text += f'layer {{ name: "x{k}" type: "Input" top: "x{k}" input_param {{ shape {{ {dims} }} }} }}'
        if merged:
            text += f'layer {{ name: "bn{k}" type: "BN" bottom: "x{k}" top: "y{k}" }}'
        else:
            text += f'layer {{ name: "bn{k}" type: "BatchNorm" bottom: "x{k}" top: "b{k}" }}'
            text += f'layer {{ name: "scale{k}" type: "Scale" bottom: "b{k}" top: "y{k}" '
            text += "scale_param { bias_term: true } }"
    param = pb.NetParameter()
    text_format.Parse(text, param)
    return Net(param, TRAIN, engine="cuda", options=Options(precision=precision), seed=1)


def _fits(shape: Sequence[int], precision: str) -> bool:
    """Whether the channels of this shape fit into shared memory."""
    dtype = np.dtype("float32" if precision == "fp32" else "uint16")
    device = open_gpu(0)
    n, c, *axes = shape
    return slices(device, Channels.of(device, n, c, math.prod(axes)), 1, Shaped(shape, dtype)) is not None


def normalization(shape: Sequence[int], bandwidth: float, repeats: int = 20, precision: str = "fp32") -> dict[str, Any]:
    """Times of a layer, and achieved bytes per second of the merged one.

    The latter are given over `bandwidth`, that of a long copy, and over that of a copy of the same size. Where one
    launch may normalise the shape, `forward_of_several` and `backward_of_several` are the times over those of several.
    """
    cupy = importlib.import_module("cupy")
    size = math.prod(shape) * (4 if precision == "fp32" else 2)
    equal, copies = equal_copy(size, repeats), _rotated(size)
    found: dict[str, Any] = {"shape": list(shape), "precision": precision, "equal_copy_bytes_per_second": equal}
    values = np.resize(np.random.default_rng(0).standard_normal(PATTERN, np.float32), math.prod(shape)).reshape(shape)
    forms = {"merged": channel_slices.MOST_ROUNDS, "split": channel_slices.MOST_ROUNDS, "several": 0}
    if not _fits(shape, precision):
        del forms["several"]
    usual = channel_slices.MOST_ROUNDS
    for form, channel_slices.MOST_ROUNDS in forms.items():
        net = _net(shape, form != "split", precision, copies)
        try:
            for k in range(copies):
                net.blobs[f"x{k}"].data[...] = values
                net.blobs[f"y{k}"].diff[...] = values
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
                    found[f"{form}_{way}_ms"] = elapsed() / repeats / copies
        finally:
            channel_slices.MOST_ROUNDS = usual
            net.close()
    for way, passes in (("forward", FORWARD_PASSES), ("backward", BACKWARD_PASSES)):
        moved = passes * size / (found[f"merged_{way}_ms"] / 1e3)
        found[f"{way}_of_copy"], found[f"{way}_of_equal_copy"] = moved / bandwidth, moved / equal
        if "several" in forms:
            found[f"{way}_of_several"] = found[f"merged_{way}_ms"] / found[f"several_{way}_ms"]
    both = [found[f"{form}_forward_ms"] + found[f"{form}_backward_ms"] for form in ("split", "merged")]
    found["split_over_merged"] = both[0] / both[1]
    return found
