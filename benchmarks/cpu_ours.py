"""Worker of the CPU benchmarks for Dragon."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import process_time
from typing import Any
from unittest import mock

from benchmarks._harness import Step, serve
from benchmarks.cpu_nets import SOLVER, describe, export_arrays, inputs, multiply_adds, net_for
from dragon.bases.layer import TEST, TRAIN
from dragon.engines import Options
from dragon.errors import EngineError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.solver.types import get_solver
from dragon.version import __version__

__all__ = ["answer", "export", "facts", "make", "peak_rate", "profile"]


def _options(precision: str, fuse: bool, threads: int | None, winograd: bool = True) -> Options:
    return Options(precision=precision, fuse=fuse, threads=threads, winograd=winograd)


def _solver(net: str, batch: int, options: Options, engine: str) -> Any:
    param = pb.SolverParameter(net_param=net_for(net, batch, TRAIN), **SOLVER)
    solver = get_solver(param, engine=engine, options=options, seed=1)
    _fill(solver.net, net)
    return solver


def _fill(net: Net, name: str) -> None:
    images, labels = inputs(name, net.blobs["data"].shape)
    net.blobs["data"].data[...] = images
    if "label" in net.blobs:
        net.blobs["label"].data[...] = labels


def _save_trained_weights(net: str, weights: str, engine: str) -> None:
    """Train a few steps, so that running statistics are not the initial ones, and save the weights."""
    solver = _solver(net, 16, Options(), engine)
    solver.step(3)
    solver.net.save(weights)


def _deployed(net: str, batch: int, options: Options, engine: str, weights: str | None) -> Net:
    made = Net(net_for(net, batch, TEST), phase=TEST, engine=engine, options=options, seed=1, weights=weights)
    _fill(made, net)
    return made


def make(
    mode: str,
    net: str,
    batch: int,
    precision: str = "fp32",
    fuse: bool = True,
    threads: int | None = None,
    engine: str = "onednn",
    weights: str | None = None,
    winograd: bool = True,
) -> Step:
    """A step of `mode` train (forward, backward, SGD) or infer (images in the blob to scores on the host)."""
    options = _options(precision, fuse, threads, winograd)
    if mode == "infer":
        deployed = _deployed(net, batch, options, engine, weights)
        images = deployed.blobs["data"].data_storage

        def infer() -> object:
            images.overwrite()  # as for the next image; the engine has to read it
            deployed.run_forward()
            return deployed.output_values()

        return infer
    solver = _solver(net, batch, options, engine)
    stored = solver.net.blobs["data"].data_storage

    def train() -> object:
        stored.overwrite()  # as a data layer does
        return solver.step(1)

    return train


def export(mode: str, net: str, batch: int, folder: str, engine: str = "onednn") -> dict[str, str | list[Any]]:
    """Write what a peer needs to start from the same weights; returns the layers and the paths of the files."""
    arrays, weights = str(Path(folder) / "arrays.npz"), str(Path(folder) / "net.caffemodel")
    if mode == "infer":
        _save_trained_weights(net, weights, engine)
        export_arrays(_deployed(net, batch, Options(), engine, weights), arrays)
    else:
        export_arrays(_solver(net, batch, Options(), engine).net, arrays)
    return {
        "layers": describe(net_for(net, batch, TEST if mode == "infer" else TRAIN)),
        "arrays": arrays,
        "weights": weights,
    }


def answer(
    mode: str, net: str, batch: int, precision: str = "fp32", engine: str = "onednn", weights: str | None = None
) -> dict[str, list[float]]:
    """What is compared with a peer: the scores before the first update, and in training the first three losses."""
    if mode == "infer":
        deployed = _deployed(net, batch, _options(precision, True, None), engine, weights)
        deployed.run_forward()
        return {"scores": deployed.output_values()["prob"].ravel().tolist(), "losses": []}
    solver = _solver(net, batch, _options(precision, True, None), engine)
    losses = [float(solver.step(1))]
    last = solver.net.bottom_names_of(len(solver.net.layers) - 1)[0]
    scores = solver.net.blobs[last].peek().ravel().tolist()
    losses += [float(solver.step(1)) for _ in range(2)]
    return {"scores": scores, "losses": losses}


def profile(
    net: str,
    batch: int,
    iterations: int,
    precision: str = "fp32",
    fuse: bool = True,
    threads: int | None = None,
    engine: str = "onednn",
    clock: str = "wall",
) -> list[dict[str, Any]]:
    """Milliseconds of each layer of a training step, with the multiply-adds of forward where there are any."""
    made = _solver(net, batch, _options(precision, fuse, threads), engine).net
    made.forward_backward()
    with _clock(clock):
        times = made.executor.profile(iterations)
    counts = multiply_adds(made)
    return [
        {
            "layer": time.name, "type": time.type, "forward_ms": time.forward_ms, "backward_ms": time.backward_ms,
            "multiply_adds": counts.get(time.name), "note": time.note,
            # the first layer's gradient for the images is not computed
            "passes_back": 1 + any(made.bottom_need_backward[made.layer_index(time.name)]),
        }
        for time in times
    ]  # fmt: skip


def peak_rate(
    precision: str = "fp32", threads: int | None = None, size: int = 256, engine: str = "onednn", clock: str = "wall"
) -> float:
    """GFLOP/s of one large matrix product (size x size x size) on the same engine, as the peak of the processor."""
    net = pb.NetParameter(name="peak")
    net.layer.add(name="a", type="Input", top=["a"]).input_param.shape.add(dim=[size, size])
    product = net.layer.add(name="b", type="InnerProduct", bottom=["a"], top=["b"])
    product.inner_product_param.num_output = size
    made = Net(net, phase=TEST, engine=engine, options=_options(precision, True, threads), seed=1)
    with _clock(clock):
        fastest = min(made.executor.profile(10, backward=False)[1].forward_ms for _ in range(10))
    return 2 * size**3 / fastest / 1e6


@contextmanager
def _clock(name: str) -> Iterator[None]:
    """In the block, let an executor's profile read processor time instead of wall time."""
    with mock.patch("time.perf_counter", process_time) if name == "cpu" else nullcontext():
        yield


def facts() -> dict[str, Any]:
    """Versions and the number of threads."""
    import numpy as np

    from dragon.engines.onednn.library.binding import library
    from dragon.engines.onednn.library.threads import usable_cores

    try:
        onednn = ".".join(map(str, library().version))
    except EngineError as error:
        onednn = str(error)
    return {
        "dragon": __version__, "onednn": onednn, "numpy": np.__version__,
        "python": sys.version.split()[0], "threads": usable_cores(),
    }  # fmt: skip


if __name__ == "__main__":
    serve({"export": export, "answer": answer, "profile": profile, "peak_rate": peak_rate, "facts": facts}, make)
