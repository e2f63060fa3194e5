"""Ways to compute a product are timed, and the fastest is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TRAIN
from dragon.engines import Options
from dragon.engines.cuda.device import gpu as gpus
from dragon.engines.cuda.device import timing
from dragon.engines.cuda.device.gpu import Gpu, open_gpu
from dragon.graph.net import Net
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation import timing as fixed_times
from tests.engines.cuda.emulation.cudnn import EXACT, SLOW, Cudnn
from tests.engines.cuda.emulation.frontend import PLANS, Package
from tests.engines.cuda.running import close, fill, inputs, layer, parse, same
from tests.engines.cuda.test_16_bit_kernels import check, rounded
from tests.engines.cuda.test_layers import IMAGES

FILLER = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.3 }'
WINDOW = f"convolution_param {{ num_output: 6 kernel_size: 3 {FILLER} }}"
POINTWISE = f"convolution_param {{ num_output: 6 kernel_size: 1 group: 2 {FILLER} }}"
BEST, FIRST = 1, 0  # of the emulated plans


def net_of(settings: str) -> str:
    return inputs({"x": IMAGES.shape}) + layer("Convolution", settings)


@pytest.fixture
def gpu(emulated: None) -> Gpu:
    found = open_gpu(0)
    found.timed_plans = True
    return found


def run(settings: str, **options: Any) -> Net:
    """A net that has run in both directions."""
    net = Net(
        parse("force_backward: true\n" + net_of(settings)), TRAIN, engine="cuda", options=Options(**options), seed=5
    )
    fill(net, {"x": IMAGES})
    net.clear_param_diffs()
    net.run_forward()
    net.blobs["y"].diff[...] = np.linspace(-1, 1, net.blobs["y"].count).reshape(net.blobs["y"].shape)
    net.run_backward()
    return net


def test_the_fastest_plan_is_used(package: Package) -> None:
    same(net_of(WINDOW), {"x": IMAGES})
    assert [graph.index for graph in package.built] == [BEST] * 3
    assert all(2 not in graph.built for graph in package.built), "it wants too much workspace"


def test_without_timing_the_first_plan_is(package: Package) -> None:
    run(WINDOW, timed_plans=False)
    assert [graph.index for graph in package.built] == [FIRST] * 3


def test_a_plan_that_does_not_run_is_left_out(package: Package) -> None:
    package.failing = {BEST}
    same(net_of(WINDOW), {"x": IMAGES})
    assert [graph.index for graph in package.built] == [FIRST] * 3


@pytest.mark.parametrize(("compiled", "index"), [({BEST}, FIRST), ({FIRST}, BEST), ({FIRST, BEST}, FIRST)])
def test_plans_that_are_compiled_are_timed_only_where_they_come_first(
    compiled: set[int], index: int, package: Package
) -> None:
    package.compiled = compiled
    run(WINDOW)
    assert [graph.index for graph in package.built] == [index] * 3
    assert all(graph.built == {FIRST, 3, *({BEST} - (compiled - {FIRST}))} for graph in package.built)


def test_a_choice_lasts_as_long_as_the_process(package: Package) -> None:
    run(WINDOW)
    gpus._gpus.clear()
    package.plans = [(1, size) for _, size in PLANS]
    run(WINDOW)
    assert [graph.index for graph in package.built] == [BEST] * 6


def test_both_choices_live_side_by_side(package: Package) -> None:
    nets = [run(WINDOW, timed_plans=timed) for timed in (True, False, True, False)]
    assert [graph.index for graph in package.built] == [BEST] * 3 + [FIRST] * 3
    close("y", nets[1].blobs["y"].peek(), nets[0].blobs["y"].peek(), 1e-6)


@pytest.mark.parametrize(("timed", "algorithm"), [(True, EXACT), (False, SLOW)])
def test_algorithms_of_the_c_interface(
    timed: bool, algorithm: int, emulated: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragon.engines.cuda.device.cudnn.load_library", Cudnn)
    run(WINDOW, timed_plans=timed)
    assert standin.counts[f"algorithm {algorithm}"] == standin.counts["cudnn"] == 3


def test_cudnn_may_win_a_pointwise_product(package: Package) -> None:
    package.plans = [(0, 64)]
    same(net_of(POINTWISE), {"x": IMAGES})
    kinds = sorted("+".join(kind for kind, *_ in graph.nodes) for graph in package.built)
    assert kinds == ["dgrad", "fprop+bias", "wgrad"]
    assert not standin.counts["gemm"]


def test_cublas_may_win_any_product(package: Package) -> None:
    package.plans = [(1000, 64)]
    same(net_of(WINDOW), {"x": IMAGES})
    assert not package.built
    assert standin.counts["gemm"]


@pytest.mark.parametrize(("timed", "by_image"), [(True, True), (False, False)])
def test_the_gradient_of_a_pointwise_weight(timed: bool, by_image: bool, emulated: None) -> None:
    """By one product for each image, whose results are added, or by one of all images with their channels first."""
    net = run(POINTWISE, timed_plans=timed)
    assert bool(standin.counts["launches of add_images"]) == by_image
    assert bool(standin.counts["launches of channels_first"]) != by_image
    dy = np.linspace(-1, 1, net.blobs["y"].count).reshape(net.blobs["y"].shape)
    x, groups = IMAGES.astype(np.float64), 2
    expected = np.concatenate([
        np.einsum("nkhw,nchw->kc", a, b) for a, b in zip(np.split(dy, groups, 1), np.split(x, groups, 1), strict=True)
    ])  # fmt: skip
    weight = net.params["one"][0]
    close("weight", weight.peek_diff(), expected.reshape(weight.shape), 2e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_gradient_of_a_pointwise_weight_in_16_bits(precision: str, emulated: None) -> None:
    text = net_of(POINTWISE) + layer("TanH", "", "y", "z", "two")
    check(text, {"x": rounded(IMAGES, precision)}, precision, 8, channels_last=False)
    assert standin.counts["launches of add_images"]


# -- the timing itself ---------------------------------------------------------------------------------------------
def works(*arrays: Any) -> None:
    arrays[0].fill(1)


def returns_false(*arrays: Any) -> bool:
    return False


def fails(*arrays: Any) -> None:
    raise ValueError("no such plan\nmore about it")


def cannot_be_captured(*arrays: Any) -> None:
    arrays[0].get()


@pytest.mark.parametrize("bad", [returns_false, fails, cannot_be_captured])
def test_ways_that_cannot_be_used(bad: Callable[..., Any], gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "milliseconds", fixed_times.really)
    with gpu.active():
        assert gpu.fastest("key", [((3,), np.float32)], lambda: [("bad", bad), ("good", works)]) == "good"
        assert gpu.fastest("other", [((3,), np.float32)], lambda: [("bad", bad)]) is None
        assert not gpu.stream.is_capturing()


def test_the_fastest_way_by_the_clock(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "milliseconds", fixed_times.really)

    def slow(array: Any) -> None:
        for _ in range(3000):
            array.fill(1)

    with gpu.active():
        assert gpu.fastest("key", [((3,), np.float32)], lambda: [("slow", slow), ("fast", works)]) == "fast"


def test_nothing_is_timed_in_a_capture_or_without_memory(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [("slow", fails), ("fast", works)]
    with gpu.active():
        gpu.stream.begin_capture(0)
        assert gpu.fastest("key", [((3,), np.float32)], lambda: ways) is None
        gpu.stream.end_capture()
        assert gpu.fastest("key", [((3,), np.float32)], lambda: ways) == "fast", "the capture was no choice"
        monkeypatch.setattr(standin.Memory, "limit", 1)
        assert gpu.fastest("other", [((3,), np.float32)], lambda: ways) is None


def test_the_workspace_of_slow_ways_is_given_back(gpu: Gpu) -> None:
    with gpu.active():
        before = gpu.workspace(10, np.float32)
        gpu.fastest("key", [], lambda: [("big", lambda: gpu.workspace(1 << 20, np.float32)), ("none", lambda: None)])
        assert gpu.workspace(10, np.float32).data.ptr == before.data.ptr


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("channels", "multiple", "padded"), [(3, 4, 4), (3, 8, 8), (9, 4, 12), (9, 8, 16), (4, 8, 8)])
def test_few_channels_may_be_padded(
    channels: int, multiple: int, padded: int, fused: bool, precision: str, package: Package
) -> None:
    package.slow_channels = lambda number: 500 if number % multiple else number
    x = rounded(np.random.default_rng(2).standard_normal((2, channels, 6, 5)), precision)
    relu = layer("ReLU", "", "y", "y", "relu") if fused else ""
    text = inputs({"x": x.shape}) + layer("Convolution", WINDOW) + relu + layer("TanH", "", "y", "z", "two")
    check(text, {"x": x}, precision, 8, channels_last=True)
    images = {graph.nodes[0][0]: graph.nodes[0][1]["x"].dim for graph in package.built if "x" in graph.nodes[0][1]}
    assert images == {"fprop": [2, padded, 6, 5], "wgrad": [2, padded, 6, 5]}
    assert not standin.counts["launches of im2col_last"]


@pytest.mark.parametrize(("channels", "padded"), [(3, 4), (9, 12), (4, 4)])
def test_few_channels_may_be_padded_for_tf32(channels: int, padded: int, package: Package) -> None:
    """To whole 16 bytes."""
    package.slow_channels = lambda number: 500 if number % 4 else number
    x = rounded(np.random.default_rng(2).standard_normal((2, channels, 6, 5)), "tf32")
    text = inputs({"x": x.shape}) + layer("Convolution", WINDOW) + layer("TanH", "", "y", "z", "two")
    check(text, {"x": x}, "tf32", 8, channels_last=True)
    images = {graph.nodes[0][0]: graph.nodes[0][1]["x"].dim for graph in package.built if "x" in graph.nodes[0][1]}
    assert images == {"fprop": [2, padded, 6, 5], "wgrad": [2, padded, 6, 5]}
    assert bool(standin.counts["launches of pad_channels"]) == (padded > channels)
