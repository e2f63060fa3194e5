"""Concat, ShuffleChannel and Slice in a row: every channel is where the layers by themselves put it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.lowerings.shuffled import copies
from tests.engines.onednn.comparing import forward, on_both

pytestmark = pytest.mark.usefixtures("device")

CASES = [
    ([6, 6], 2, [6, 6]),  # as in ShuffleNet v2
    ([6, 6], 2, []),
    ([12], 3, [4, 8]),
    ([5, 3, 4], 3, [1, 11]),
    ([58, 58], 2, [58, 58]),
    ([16, 16], 2, [16, 16]),  # which would be a concatenation without copies
    ([1, 11], 12, [7, 5]),
]


@pytest.mark.parametrize(("bottoms", "group", "tops"), CASES)
def test_copies_are_the_permutation(bottoms: list[int], group: int, tops: list[int]) -> None:
    total = sum(bottoms)
    tops = tops or [total]
    wanted = np.arange(total).reshape(group, -1).T.reshape(-1)
    found = np.full(total, -1)
    starts, ends = np.cumsum([0, *bottoms]), np.cumsum([0, *tops])
    for copy in copies(bottoms, tops, group):
        into = ends[copy.top] + copy.place + group * np.arange(copy.count)
        assert into[-1] < ends[copy.top + 1]
        assert (found[into] == -1).all()
        assert 0 <= copy.first <= copy.first + copy.count <= bottoms[copy.bottom]
        found[into] = starts[copy.bottom] + copy.first + np.arange(copy.count)
    np.testing.assert_array_equal(found, wanted)


def _net(bottoms: list[int], group: int, tops: list[int], images: int) -> str:
    shape = f"input_param {{ shape {{ dim: {images} dim: 4 dim: 5 dim: 6 }} }}"
    text = f'layer {{ name: "x" type: "Input" top: "x" {shape} }}\n'
    weights = "kernel_size: 1 weight_filler { type: 'gaussian' std: 1 }"
    for i, count in enumerate(bottoms):
        text += f'layer {{ name: "b{i}" type: "Convolution" bottom: "x" top: "b{i}" convolution_param {{ '
        text += f"num_output: {count} {weights} }} }}\n"
    if len(bottoms) > 1:
        read = " ".join(f'bottom: "b{i}"' for i in range(len(bottoms)))
        text += f'layer {{ name: "c" type: "Concat" {read} top: "c" }}\n'
    name = "c" if len(bottoms) > 1 else "b0"
    param = f"shuffle_channel_param {{ group: {group} }}"
    text += f'layer {{ name: "s" type: "ShuffleChannel" bottom: "{name}" top: "s" {param} }}\n'
    if tops:
        made = " ".join(f'top: "t{i}"' for i in range(len(tops)))
        text += f'layer {{ name: "t" type: "Slice" bottom: "s" {made} slice_param {{ slice_point: {tops[0]} }} }}\n'
    for i, read in enumerate([f"t{i}" for i in range(len(tops))] or ["s"]):
        text += f'layer {{ name: "y{i}" type: "Convolution" bottom: "{read}" top: "y{i}" convolution_param {{ '
        text += f"num_output: 8 {weights} }} }}\n"
        text += f'layer {{ name: "r{i}" type: "ReLU" bottom: "y{i}" top: "y{i}" }}\n'
    return text


def _notes(net: Any) -> list[str]:
    return [group.note for group in net.executor.plans.plan(True).groups]


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(("bottoms", "group", "tops"), CASES)
def test_a_net_has_the_blobs_of_the_reference(bottoms: list[int], group: int, tops: list[int], images: int) -> None:
    nets = on_both(_net(bottoms, group, tops, images))
    rng = np.random.default_rng(1)
    for value in (1.0, np.nan, np.inf, 1.0, 1.0):
        x = rng.standard_normal((images, 4, 5, 6))
        x[0, 1, 2, 3] = value
        forward(nets, x)
        for blob in nets[0].blobs:  # also those that are skipped
            found, wanted = (net.blobs[blob].peek() for net in nets)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5, err_msg=blob)
    together = [name for name, there in (("c", len(bottoms) > 1), ("s", True), ("t", bool(tops))) if there]
    apart = images > 1 and any(count % group for count in tops)  # strides would reach into the next image
    assert (f"onednn, with {', '.join(together[1:])}" in _notes(nets[0])) != apart


@pytest.mark.parametrize("channels", [60, 120])
@pytest.mark.parametrize("images", [1, 3])
def test_channels_last_are_shuffled_in_that_layout(device: Device, images: int, channels: int) -> None:
    """As grouped convolutions make them; a depthwise convolution takes them so (ShuffleNet v1)."""
    shape = f"input_param {{ shape {{ dim: {images} dim: 24 dim: 9 dim: 8 }} }}"
    text = f'layer {{ name: "x" type: "Input" top: "x" {shape} }}\n'
    weights = "weight_filler { type: 'gaussian' std: 1 }"
    grouped = f"convolution_param {{ num_output: {channels} group: 3 kernel_size: 1 {weights} }}"
    wide = f"convolution_param {{ num_output: 240 group: 3 kernel_size: 1 {weights} }}"
    text += f'layer {{ name: "w" type: "Convolution" bottom: "x" top: "w" {wide} }}\n'
    text += f'layer {{ name: "g" type: "Convolution" bottom: "w" top: "g" {grouped} }}\n'
    text += 'layer { name: "s" type: "ShuffleChannel" bottom: "g" top: "s" shuffle_channel_param { group: 3 } }\n'
    depthwise = f"convolution_param {{ num_output: {channels} group: {channels} kernel_size: 3 pad: 1 {weights} }}"
    text += f'layer {{ name: "d" type: "Convolution" bottom: "s" top: "d" {depthwise} }}\n'
    text += 'layer { name: "r" type: "ReLU" bottom: "d" top: "d" }\n'
    nets = on_both(text)
    rng = np.random.default_rng(4)
    for value in (1.0, np.nan, 1.0, 1.0):
        x = rng.standard_normal((images, 24, 9, 8))
        x[0, 1, 2, 3] = value
        forward(nets, x)
        for blob in ("g", "s", "d"):
            found, wanted = (net.blobs[blob].peek() for net in nets)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3, err_msg=blob)
    builder = nets[0].executor.plans.plan(True).builder  # type: ignore[attr-defined]
    last = {name: builder.value_of(nets[0].blobs[name]).memory.desc.is_channels_last for name in "gsd"}
    assert last["s"] == last["g"]
    assert all(last.values()) or device.has_avx512
    assert builder.value_of(nets[0].blobs["d"]).bound.holds()


def test_what_others_read_keeps_the_layers_apart() -> None:
    text = _net([6, 6], 2, [6, 6], 1) + 'layer { name: "q" type: "ReLU" bottom: "c" top: "q" }\n'
    nets = on_both(text)
    forward(nets, np.random.default_rng(2).standard_normal((1, 4, 5, 6)))
    for blob in nets[0].blobs:
        np.testing.assert_allclose(nets[0].blobs[blob].peek(), nets[1].blobs[blob].peek(), rtol=1e-5, atol=1e-5)
    assert "onednn, with s, t" not in _notes(nets[0])
    assert "onednn, with t" in _notes(nets[0])


def test_training_runs_them_by_themselves() -> None:
    nets = on_both("force_backward: true\n" + _net([6, 6], 2, [6, 6], 1), dragon.TRAIN)
    rng = np.random.default_rng(3)
    x, dy = rng.standard_normal((1, 4, 5, 6)), rng.standard_normal((1, 8, 5, 6))
    for net in nets:
        net.blobs["x"].data[...] = x
        net.forward()
        for blob in ("y0", "y1"):
            net.blobs[blob].diff[...] = dy
        net.backward()
    np.testing.assert_allclose(nets[0].blobs["x"].diff, nets[1].blobs["x"].diff, rtol=1e-4, atol=1e-4)
    assert not {"onednn, with s, t", "onednn, with t"} & set(_notes(nets[0]))


@pytest.mark.parametrize("tops", [[6, 6], []])
def test_a_concatenation_of_one_blob_is_that_blob(tops: list[int]) -> None:
    """It copies nothing, so it is not part of the copy: what is read is not skipped either."""
    text = _net([12], 2, tops, 1).replace('bottom: "b0" top: "s"', 'bottom: "c" top: "s"')
    ahead = text.index('layer { name: "s"')
    nets = on_both(text[:ahead] + 'layer { name: "c" type: "Concat" bottom: "b0" top: "c" }\n' + text[ahead:])
    forward(nets, np.random.default_rng(1).standard_normal((1, 4, 5, 6)))
    for name in ("b0", "c", "s", "y0"):
        np.testing.assert_allclose(nets[0].blobs[name].peek(), nets[1].blobs[name].peek(), atol=1e-5)
