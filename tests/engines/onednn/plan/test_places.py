"""Concatenations of one image that copy nothing: every blob is the reference's, whatever shares memory with it."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.executor import OneDNNExecutor
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.plan.values import Value
from tests.engines.onednn.comparing import agree, compare, fill, inputs, make_net, notes
from tests.engines.onednn.plan.test_rearranging import conv, norm, on, pooling, relu

pytestmark = pytest.mark.usefixtures("device")

SHAPE = (1, 32, 9, 8)


def concat(name: str, *bottoms: str, settings: str = "") -> str:
    blobs = " ".join(f'bottom: "{blob}"' for blob in bottoms)
    return f'layer {{ name: "{name}" type: "Concat" {blobs} top: "{name}" {settings} }}\n'


def net_of(text: str, shape: tuple[int, ...] = SHAPE, passes: int = 2) -> dragon.Net:
    return agree(inputs(shape, force=False) + text, phase=dragon.TEST, backward=False, passes=passes)


def offsets(net: dragon.Net, *names: str) -> list[tuple[int, int]]:
    """For each blob the memory that it lies in, by a number, and where in it, in channels."""
    executor = net.executor
    assert isinstance(executor, OneDNNExecutor)
    (plan,) = (plan for plan in executor.plans if plan.whole)
    found = []
    for name in names:
        blob = net.blobs[name]
        value = [v for v in plan.builder.values if v.storage is blob.data_storage][-1]
        assert isinstance(value, Value)
        memory = value.memory
        found.append((id(memory.origin), memory.start // (4 * blob.height * blob.width)))
    whole = found[0][0]
    return [(int(origin != whole), start) for origin, start in found]


BRANCHES = conv("a", "x0", 16) + relu("a") + conv("b", "x0", 32, 3) + norm("b") + relu("b")


def test_layers_write_their_part_of_a_concatenation() -> None:
    net = net_of(BRANCHES + concat("cat", "a", "b") + conv("c", "cat", 16))
    assert notes(net)["cat"] == "onednn, in place"
    assert offsets(net, "cat", "a", "b") == [(0, 0), (0, 0), (0, 16)]


def test_concatenations_of_concatenations_are_one_memory() -> None:
    """As in DenseNet, where each is also normalised by itself."""
    text = conv("a", "x0", 16)
    for i in range(3):
        text += f'layer {{ name: "m{i}" type: "BatchNorm" bottom: "{"a" if i == 0 else f"cat{i}"}" top: "m{i}" }}\n'
        text += relu(f"m{i}") + conv(f"x{i + 1}", f"m{i}", 16, 3)
        text += concat(f"cat{i + 1}", "a" if i == 0 else f"cat{i}", f"x{i + 1}")
    net = net_of(text + norm("cat3") + relu("cat3") + conv("last", "cat3", 16))
    names = ("cat2", "cat1", "a", "x1", "x2", "x3")
    assert offsets(net, *names) == [(0, 0), (0, 0), (0, 0), (0, 16), (0, 32), (0, 48)]


JOINED = BRANCHES + concat("cat", "a", "b")
READ = conv("c", "cat", 16)
SHARED = {
    "a part that is overwritten before": BRANCHES + on("t", "a", "TanH") + on("s", "a", "Sigmoid")
    + concat("cat", "a", "b"),
    "a result that is overwritten": JOINED + on("t", "cat", "TanH") + READ,
    "a result that is normalised": JOINED + norm("cat") + relu("cat"),
    "a result that is overwritten, then joined": JOINED + on("t", "cat", "TanH") + concat("cat2", "b", "cat"),
    "a result that is scaled": JOINED + on("s", "cat", "Scale") + on("d", "cat", "Bias"),
    "a result that is pooled": JOINED + relu("cat") + pooling("cat", "kernel_size: 2 stride: 2"),
    "one blob twice": BRANCHES + concat("cat", "a", "b", "a"),
    "one blob in two": JOINED + concat("cat2", "b", "a") + conv("c", "cat2", 16),
    "an input": BRANCHES + concat("cat", "x0", "b") + READ,
    "a layer that runs its reference": BRANCHES + 'layer { name: "t" type: "Threshold" bottom: "a" top: "t" }\n'
    + concat("cat", "t", "b") + READ,
    "a view": BRANCHES + 'layer { name: "f" type: "Flatten" bottom: "a" top: "f" }\n' + concat("cat", "a", "b"),
    "poolings": BRANCHES + pooling("a", "kernel_size: 3 stride: 1 pad: 1") + concat("cat", "p", "b") + READ,
    "blobs that are read in part": BRANCHES + concat("cat", "b", "a")
    + 'layer { name: "s" type: "Slice" bottom: "cat" top: "s1" top: "s2" slice_param { slice_point: 20 } }\n',
}  # fmt: skip


@pytest.mark.parametrize("layers", SHARED)
def test_what_shares_memory_is_right(layers: str) -> None:
    net_of(SHARED[layers])


COPIED = {
    "several images": (BRANCHES + concat("cat", "a", "b"), (2, 32, 9, 8)),
    "parts of blocks": (BRANCHES.replace("num_output: 16", "num_output: 20") + concat("cat", "a", "b"), SHAPE),
    "another axis": (BRANCHES.replace("num_output: 16", "num_output: 32")
                     + concat("cat", "a", "b", settings="concat_param { axis: 2 }"), SHAPE),
}  # fmt: skip


@pytest.mark.parametrize("case", COPIED)
def test_what_blocks_cannot_hold_is_copied(case: str) -> None:
    assert notes(net_of(*COPIED[case]))["cat"] == "onednn"


def test_training_copies() -> None:
    net = agree(
        inputs(SHAPE) + BRANCHES.replace('type: "BatchNorm"', 'type: "TanH"') + concat("cat", "a", "b"), passes=2
    )
    assert notes(net)["cat"] == "onednn"


@pytest.mark.parametrize(("channels", "note"), [(24, "onednn, in place"), (20, "onednn")])
def test_without_avx512_blocks_have_8_channels(channels: int, note: str) -> None:
    text = BRANCHES.replace("num_output: 16", f"num_output: {channels}") + concat("cat", "a", "b")
    with mock.patch.object(Device, "has_avx512", False):
        assert notes(net_of(text))["cat"] == note


def test_a_blob_that_was_read_stays_as_it_was() -> None:
    """Reading moves the shared memory out of the arena."""
    text = inputs(SHAPE, force=False) + BRANCHES + concat("cat", "a", "b") + conv("c", "cat", 16, 3)
    nets = make_net(text, "numpy", dragon.TEST, np.float64), make_net(text, "onednn", dragon.TEST)
    for seed, name in enumerate(("b", "cat", "a", "c")):
        fill(nets, seed)
        for net in nets:
            net.run_forward()
        np.testing.assert_allclose(nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), atol=1e-4)
        if seed % 2:
            compare(*nets, 2e-5, diffs=False)


@pytest.mark.parametrize("outputs", [1, 8, 16, 24, 40])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("size", [7, 8])
def test_any_number_of_channels(size: int, kernel: int, outputs: int) -> None:
    """Blocks are filled up with zeros."""
    net_of(conv("a", "x0", outputs, kernel) + relu("a") + conv("b", "a", 16, kernel), (1, 32, size, size), passes=1)


@pytest.mark.parametrize(
    ("inner", "outputs"),
    [("", (8, 8)), ("", (8, 24)), ("concat_param { axis: 2 }", (16, 16))],
    ids=["eights", "8 and 24", "rows"],
)
def test_a_concatenation_of_one_that_is_not_in_blocks(inner: str, outputs: tuple[int, int]) -> None:
    """The inner one writes its parts elsewhere, so it has no place in the outer one."""
    text = conv("a", "x0", outputs[0]) + conv("b", "x0", outputs[1]) + concat("t", "a", "b", settings=inner)
    rows = 2 * SHAPE[2] if inner else SHAPE[2]
    shape = f"shape {{ dim: 1 dim: 16 dim: {rows} dim: {SHAPE[3]} }} data_filler {{ type: 'constant' value: 3 }}"
    text += f'layer {{ name: "c0" type: "DummyData" top: "c0" dummy_data_param {{ {shape} }} }}\n' + conv("c", "c0", 16)
    net_of(text + concat("u", "t", "c") + conv("d", "u", 16))
