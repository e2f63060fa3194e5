"""Copies beside computing: memory that is used again, pinned memory that is dropped, handles that stay."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from dragon.engines.cuda.device import cudnn, cudnn_frontend
from dragon.engines.cuda.device.gpu import Gpu, open_gpu
from dragon.engines.cuda.device.pinned import Pinned
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.cublas import Cublas
from tests.engines.cuda.emulation.cudnn import Cudnn
from tests.engines.cuda.emulation.frontend import Package
from tests.engines.cuda.running import fill, inputs, layer, make
from tests.engines.cuda.test_engine import TEXT, VALUES

pytestmark = pytest.mark.usefixtures("emulated")
COUNT = 4096


@pytest.fixture
def gpu(emulated: None) -> Gpu:
    return open_gpu(0)


def batches(number: int) -> Any:
    return [np.full(COUNT, k + 1, np.float32) for k in range(number)]


def test_a_feed_takes_memory_that_a_stream_still_uses(gpu: Gpu) -> None:
    with gpu.active():
        target, kept = gpu.zeros(COUNT, np.float32), gpu.zeros(COUNT, np.float32)
        recycled = gpu.empty(COUNT, np.float32)
        with standin.delayed():
            recycled.fill(7)
            kept[...] = recycled
            standin.Memory.recycled[:] = [recycled.a]  # what the pool hands out once an array is dropped
            feed = gpu.feed(target)
            standin.Memory.recycled.clear()
            feed.send(batches(1)[0])
            gpu.stream.synchronize()
        assert (kept.get() == 7).all()
        assert (target.get() == 1).all()


def test_a_feed_keeps_batches_apart_while_nothing_has_run_yet(gpu: Gpu) -> None:
    with gpu.active():
        target, seen = gpu.zeros(COUNT, np.float32), gpu.zeros((5, COUNT), np.float32)
        feed, rows = gpu.feed(target), [seen[k] for k in range(5)]
        with standin.delayed():
            for row, values in zip(rows, batches(5), strict=True):
                feed.send(values)
                values[...] = -1
                row[...] = target
            gpu.stream.synchronize()
        assert seen.get()[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_a_feed_that_is_dropped_first_ends_its_copies(gpu: Gpu) -> None:
    with gpu.active():
        target = gpu.zeros(COUNT, np.float32)
        feed = gpu.feed(target)
        feed.send(batches(1)[0])
        del feed
        gpu.stream.synchronize()
        assert (target.get() == 1).all()


def test_pinned_memory_outlives_a_copy_to_the_host(gpu: Gpu) -> None:
    with gpu.active():
        source = gpu.zeros(COUNT, np.float32)
        host = Pinned(gpu, COUNT, np.float32)
        host.fetch(source, gpu.stream)
        del host
        gpu.stream.synchronize()


def test_a_report_that_nobody_reads_ends_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(TEXT, "cuda")
    fill(net, VALUES)
    net.forward_backward()
    executor: Any = net.executor

    run = executor.ranges.run

    def interrupted(way: str, start: int, end: int) -> None:
        if way == "backward":
            raise KeyboardInterrupt
        run(way, start, end)

    monkeypatch.setattr(executor.ranges, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.forward_backward()
    executor.gpu.stream.synchronize()


def test_a_gpu_and_its_handles_outlive_nets(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()
    before = Cublas.handles
    package, library = Package(), Cudnn()
    package.refused = {"wgrad"}
    monkeypatch.setattr(cudnn_frontend, "load_package", lambda: package)
    monkeypatch.setattr(cudnn, "load_library", lambda: library)
    convolution = layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }")
    text = inputs({"x": (2, 3, 6, 6)}) + convolution + layer(
        "InnerProduct", "inner_product_param { num_output: 3 }", "y", "z", "two"
    )  # fmt: skip
    stream, descriptors = gpu.stream, 0
    for _ in range(3):
        net = make(f"force_backward: true {text}", "cuda")
        for _ in range(3):  # as it is, captured, replayed
            net.run_forward()
            net.run_backward()
        assert Cublas.handles == before + 1
        assert package.handles == 1
        descriptors = descriptors or len(library.made)
        assert len(library.made) == descriptors > 1
        assert gpu._workspace is not None
        del net
        gc.collect()
        assert len(library.made) == descriptors
        assert gpu._workspace is None
    assert open_gpu(0) is gpu
    assert gpu.stream is stream


def test_the_workspace_lasts_while_one_net_does() -> None:
    gpu, nets = open_gpu(0), [make(TEXT, "cuda") for _ in range(2)]
    nets[0].run_forward()
    with gpu.active():
        gpu.workspace(1, np.float32)
    for expected in (False, True):
        nets.pop()
        gc.collect()
        assert (gpu._workspace is None) == expected
