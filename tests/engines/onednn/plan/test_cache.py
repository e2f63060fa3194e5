"""Which plans are kept while shapes change in the middle of each pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import Layer
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.plan import cache
from dragon.engines.onednn.plan.plan import Plan
from tests.engines.onednn.comparing import make_net

pytestmark = pytest.mark.usefixtures("device")

# Each Filter leaves as many images as its last bottom has ones, so that a pass needs a plan more for each.
NET = """
layer { name: "i" type: "Input" top: "x" top: "s" top: "u" input_param {
  shape { dim: [8, 3, 12, 12] } shape { dim: 8 } shape { dim: 8 } } }
layer { name: "c1" type: "Convolution" bottom: "x" top: "c1" convolution_param {
  num_output: 16 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "f1" type: "Filter" bottom: "p1" bottom: "u" bottom: "s" top: "q1" top: "v"
  propagate_down: true propagate_down: false propagate_down: false }
layer { name: "c2" type: "Convolution" bottom: "q1" top: "c2" convolution_param {
  num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "p2" type: "Pooling" bottom: "c2" top: "p2" pooling_param { kernel_size: 2 stride: 1 } }
layer { name: "f2" type: "Filter" bottom: "p2" bottom: "v" top: "q2"
  propagate_down: true propagate_down: false }
layer { name: "ip" type: "InnerProduct" bottom: "q2" top: "ip" inner_product_param {
  num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "l" type: "Reduction" bottom: "ip" top: "l" reduction_param { operation: SUMSQ } loss_weight: 1 }
"""
# a ReLU to be fused, and a second way from below the first Filter to above the second
BRANCHED = NET.replace(
    'layer { name: "p2"', 'layer { name: "r" type: "ReLU" bottom: "c2" top: "c2" } layer { name: "p2"'
)
BRANCHED += """
layer { name: "c3" type: "Convolution" bottom: "p1" top: "c3" convolution_param {
  num_output: 16 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "r3" type: "ReLU" bottom: "c3" top: "c3" }
layer { name: "l3" type: "Reduction" bottom: "c3" top: "l3" reduction_param { operation: SUMSQ } loss_weight: 1 }
"""


def run_pass(nets: list[Any], first: int, second: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((8, 3, 12, 12))
    for net in nets:
        net.blobs["x"].data[...] = x
        net.blobs["s"].data[...] = np.arange(8) < first
        net.blobs["u"].data[...] = np.arange(8) < second
        net.clear_param_diffs()
        net.run_forward()


@pytest.mark.parametrize("text", [NET, BRANCHED], ids=["one way", "two ways"])
@pytest.mark.parametrize("kept", [1, 2])
def test_plans_of_the_pass_are_kept(kept: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_KEPT", kept)
    monkeypatch.setattr(cache, "_KEPT_BYTES", 0)
    nets = [make_net(text, engine) for engine in ("onednn", "numpy")]
    for made, expected in zip(nets[0].params.values(), nets[1].params.values(), strict=True):
        for blob, other in zip(made, expected, strict=True):
            other.data[...] = blob.data
    executor: Any = nets[0].executor
    for seed, (first, second) in enumerate([(6, 4), (5, 2), (7, 3), (4, 3), (8, 5)]):
        run_pass(nets, first, second, seed)
        ran = {plan for plan, node in zip(executor._ran, nets[0].nodes, strict=True) if node.need_backward}
        assert len(ran) > 1 or seed == 0
        assert ran <= set(executor.plans)
        assert len(list(executor.plans)) <= max(kept, len(ran)) + 1
        for net in nets:
            net.run_backward()
        for name, blobs in nets[0].params.items():
            for blob, other in zip(blobs, nets[1].params[name], strict=True):
                np.testing.assert_allclose(blob.diff, other.diff, rtol=2e-4, atol=2e-4)
        whole = [blob.diff.copy() for blobs in nets[0].params.values() for blob in blobs]
        nets[0].clear_param_diffs()
        ends = [*reversed(range(len(nets[0].nodes)))]
        executor._backward_in_parts(ends, lambda end: None)  # as several ranks do
        parts = [blob.diff for blobs in nets[0].params.values() for blob in blobs]
        for one, part in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(one, part)
    places = {name: len(blob.diff_storage._copies) for name, blob in nets[0].blobs.items()}
    assert max(places.values()) <= 2 * (kept + 3), places


GIVEN = """
layer { name: "d" type: "Python" top: "x" python_param {
  module: "tests.engines.onednn.plan.test_cache" layer: "Given" } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {
  num_output: 16 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "l" type: "Reduction" bottom: "c" top: "l" reduction_param { operation: SUMSQ } loss_weight: 1 }
"""


class Given(Layer):
    """A source whose images have another size in nearly each pass, which only its forward knows."""

    sizes = ((9, 8), (7, 12), (15, 6), (8, 8), (8, 8), (8, 8), (21, 5))

    def setup(self, bottom: Any, top: Any) -> None:
        self.passes = 0
        top[0].reshape(1, 3, *self.sizes[0])

    def reshape(self, bottom: Any, top: Any) -> None:
        pass

    def forward(self, bottom: Any, top: Any) -> None:
        top[0].reshape(1, 3, *self.sizes[self.passes])
        top[0].data[...] = np.random.default_rng(self.passes).standard_normal(top[0].data.shape)
        self.passes += 1

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        pass


def test_a_source_with_another_size_each_time_takes_a_plan_each(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = [make_net(GIVEN, engine) for engine in ("onednn", "numpy")]
    nets[1].params["c"][0].data[...] = nets[0].params["c"][0].data
    executor: Any = nets[0].executor
    made, counts, whole = [], [], []

    def counted(*args: Any, **options: Any) -> Plan:
        made.append(0)
        return Plan(*args, **options)

    monkeypatch.setattr(cache, "Plan", counted)
    for _ in Given.sizes:
        made.clear()
        losses = []
        for net in nets:
            net.clear_param_diffs()
            losses.append(net.run_forward())
            net.run_backward()
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
        ours, theirs = (net.params["c"][0].diff for net in nets)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * abs(theirs).max())
        counts.append(len(made))
        whole.append(executor._ran[-1].whole)
    assert counts[1:] == [1, 1, 1, 0, 0, 1]  # not two, of which one would serve the source alone
    assert all(whole)


def groups_of(net: Any) -> list[tuple[int, int]]:
    """First and last layers of the groups in which a net's last pass has run."""
    ran = [plan.group_of(i) for i, plan in enumerate(net.executor._ran)]
    return [(group.first, group.last) for group in ran]


def assert_same_bits(first: Any, second: Any, forward: Callable[[list[Any]], Any]) -> None:
    """A pass of two nets with the same parameters gives the same bits."""
    for net in (first, second):
        for blobs, others in zip(first.params.values(), net.params.values(), strict=True):
            for blob, other in zip(blobs, others, strict=True):
                other.data[...] = blob.data
    for net in (first, second):
        net.clear_param_diffs()
        forward([net])
    assert groups_of(first) == groups_of(second)
    for net in (first, second):
        net.run_backward()
    for name, blobs in first.params.items():
        for blob, other in zip(blobs, second.params[name], strict=True):
            assert blob.diff.any() or name == "b"
            np.testing.assert_array_equal(blob.diff, other.diff)


def test_the_sizes_of_a_source_before_decide_nothing() -> None:
    """A net that saw other sizes before gives the bits of one that did not: so does a resumed training."""
    text = GIVEN.replace(
        'name: "r" type: "ReLU"', 'name: "b" type: "BN" bottom: "c" top: "c" } layer { name: "r" type: "ReLU"'
    )
    first, second = (make_net(text, "onednn") for _ in range(2))
    for _ in range(5):
        first.run_forward()
        first.run_backward()
    source: Any = second.layers[0]
    source.passes = 5
    assert_same_bits(first, second, lambda nets: nets[0].run_forward())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_sizes_in_the_middle_before_decide_nothing(device: Device, precision: str) -> None:
    if precision == "bf16" and not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    first, second = (make_net(BRANCHED, "onednn", precision=precision) for _ in range(2))
    for seed, (some, fewer) in enumerate([(6, 4), (6, 4), (5, 4)]):
        run_pass([first], some, fewer, seed)
        first.run_backward()
    for some, fewer in ((5, 4), (5, 4), (7, 2)):
        assert_same_bits(first, second, partial(run_pass, first=some, second=fewer, seed=9))
        second = make_net(BRANCHED, "onednn", precision=precision)


@pytest.mark.parametrize("phase", [0, 1])
def test_a_plan_of_test_keeps_nothing_for_backward(phase: int) -> None:
    text = """
        layer { name: "i" type: "Input" top: "x" input_param { shape { dim: [2, 16, 6, 6] } } }
        layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 16 kernel_size: 3 } }
        layer { name: "t" type: "TanH" bottom: "c" top: "t" }
        layer { name: "n" type: "BatchNorm" bottom: "t" top: "n" }
        layer { name: "l" type: "Reduction" bottom: "n" top: "l" loss_weight: 1 }"""
    net = make_net(text, "onednn", phase)
    net.run_forward()
    executor: Any = net.executor
    groups = [group for plan in executor.plans for group in plan.groups]
    assert any(group.build_backward is not None for group in groups) == (phase == 0)
    assert len({id(group.backward) for group in groups}) == 1 + sum(bool(group.backward.calls) for group in groups)
