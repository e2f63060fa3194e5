"""Convolutions with the images as innermost axis, against the reference in float64; and where they are chosen."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.lowerings.images_last import Pass, is_faster
from tests.engines.onednn.comparing import agree, agree_after_changes, fill, inputs, make_net, notes, set_output_diffs

ALL = "images innermost for top, weights, bottom"


def conv(settings: str, shape: tuple[int, ...] = (5, 16, 4, 3), more: str = "") -> str:
    return inputs(shape) + (
        f'layer {{ name: "c" type: "Convolution" bottom: "x0" top: "c" {more} convolution_param {{ {settings} }} }}\n'
    )


PLAIN = "num_output: 32 kernel_size: 3 pad: 1"
RELU = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
LAYERS = {
    "4x3": conv(PLAIN),
    "2x2": conv(PLAIN, (20, 32, 2, 2)),
    "1x1": conv(PLAIN, (20, 16, 1, 1)),
    "5x5": conv("num_output: 16 kernel_size: 5 pad: 2"),
    "7x7 on 2x2": conv("num_output: 16 kernel_size: 7 pad: 3", (3, 16, 2, 2)),
    "no padding": conv("num_output: 16 kernel_size: 3"),
    "much padding": conv("num_output: 16 kernel_size: 2 pad: 3"),
    "no bias": conv(PLAIN + " bias_term: false"),
    "wide kernel": conv("num_output: 16 kernel_h: 2 kernel_w: 3 pad_h: 0 pad_w: 2"),
    "strides": conv("num_output: 16 kernel_size: 3 pad: 1 stride_h: 1 stride_w: 2", (5, 16, 5, 6)),
    "a column that no window reaches": conv("num_output: 16 kernel_size: 2 stride: 2", (5, 16, 5, 4)),
    "dilation": conv("num_output: 16 kernel_size: 3 pad: 2 dilation: 2"),
    "channels that fill no blocks": conv("num_output: 20 kernel_size: 3 pad: 1", (5, 3, 4, 4)),
    "one axis": conv("num_output: 16 kernel_size: 3 pad: 1", (5, 16, 6)),
    "one image": conv(PLAIN, (1, 16, 3, 3)),
    "weights only": conv(PLAIN, more="param { lr_mult: 1 } param { lr_mult: 0 }"),
    "bias only": conv(PLAIN, more="param { lr_mult: 0 } param { lr_mult: 1 }"),
    "nothing learned": conv(PLAIN, more="param { lr_mult: 0 } param { lr_mult: 0 }"),
    "neuron": conv(PLAIN) + RELU,
    # products of rows
    "two rows, strides": conv("num_output: 16 kernel_size: 3 pad: 1 stride: 2", (5, 16, 2, 5)),
    "two columns, dilation": conv("num_output: 16 kernel_size: 3 pad: 2 dilation: 2", (5, 16, 6, 2)),
    "two columns, one stride": conv("num_output: 20 kernel_size: 3 pad: 1 stride_h: 2", (5, 3, 6, 2)),
    "one axis of two": conv("num_output: 16 kernel_size: 3 pad: 1", (5, 16, 2)),
    "2x2, no bias": conv(PLAIN + " bias_term: false", (5, 16, 2, 2)),
    "2x2, weights only": conv(PLAIN, (5, 16, 2, 2), more="param { lr_mult: 1 } param { lr_mult: 0 }"),
    "2x2, bias only": conv(PLAIN, (5, 16, 2, 2), more="param { lr_mult: 0 } param { lr_mult: 1 }"),
}


@pytest.mark.usefixtures("device", "images_last_everywhere")
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_with_the_reference(name: str, phase: int) -> None:
    net = agree(LAYERS[name], phase=phase, passes=2, winograd=False)
    assert "images innermost for top" in notes(net)["c"]


@pytest.mark.usefixtures("images_last_everywhere")
@pytest.mark.parametrize("name", ["4x3", "2x2", "5x5", "strides"])  # no kinks
def test_bf16_is_close(device: Device, name: str) -> None:
    if not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    net = agree(LAYERS[name], tolerance=3e-2, precision="bf16")
    assert (ALL in notes(net)["c"]) == device.has_amx


@pytest.mark.usefixtures("device", "images_last_everywhere")
@pytest.mark.parametrize(
    "settings", ["num_output: 16 kernel_size: 1", "num_output: 16 kernel_size: 3 group: 2"], ids=["1x1", "groups"]
)
def test_the_rest_runs_as_ever(settings: str) -> None:
    assert "images innermost" not in notes(agree(conv(settings), winograd=False))["c"]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("only", list(Pass))
def test_each_pass_may_run_so_alone(only: Pass, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "dragon.engines.onednn.lowerings.convolution.is_faster"
    monkeypatch.setattr(module, lambda device, spec, wanted: wanted == only)
    net = agree(conv(PLAIN) + RELU, passes=2, winograd=False)
    assert notes(net)["c"].endswith(f"images innermost for {only.name}")


@pytest.mark.usefixtures("device", "images_last_everywhere")
def test_a_row_of_layers_with_two_readers_and_two_bottoms() -> None:
    layer = 'layer {{ name: "{0}" type: "Convolution" {1} convolution_param {{ {2} }} }}\n'
    agree(
        inputs((6, 16, 4, 4), (6, 16, 4, 4))
        + layer.format("c", 'bottom: "x0" bottom: "x1" top: "c" top: "d"', "num_output: 16 kernel_size: 3 pad: 1")
        + 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
        + layer.format("e", 'bottom: "c" top: "e"', "num_output: 16 kernel_size: 3 pad: 1")
        + layer.format("f", 'bottom: "c" top: "f"', "num_output: 16 kernel_size: 2 stride: 2")
        + 'layer { name: "s" type: "Eltwise" bottom: "e" bottom: "d" top: "s" }\n',
        winograd=False,
    )


@pytest.mark.usefixtures("device", "images_last_everywhere")
def test_folded_normalisation_and_sum_in_test() -> None:
    text = conv("num_output: 16 kernel_size: 3 pad: 1") + (
        'layer { name: "n" type: "BatchNorm" bottom: "c" top: "n" }\n'
        'layer { name: "s" type: "Scale" bottom: "n" top: "n" scale_param { bias_term: true } }\n'
        'layer { name: "r" type: "ReLU" bottom: "n" top: "n" }\n'
        'layer { name: "d" type: "Convolution" bottom: "n" top: "d" convolution_param { num_output: 16 kernel_size: 3 '
        "pad: 1 } }\n"
        'layer { name: "e" type: "Eltwise" bottom: "d" bottom: "n" top: "e" }\n'
    )
    net = agree(text, phase=dragon.TEST, passes=2, winograd=False)
    assert "images innermost for top" in notes(net)["c"]


@pytest.mark.usefixtures("device", "images_last_everywhere")
def test_data_that_a_script_changes_between_forward_and_backward_count() -> None:
    agree_after_changes(LAYERS["4x3"], "c", 2e-5, winograd=False)


@pytest.mark.usefixtures("images_last_everywhere", "device")
def test_two_runs_give_the_same_bits() -> None:
    """So training goes on from a snapshot bit by bit."""
    made = []
    for _ in range(2):
        net = make_net(LAYERS["2x2"], "onednn")
        fill((net,), 0)
        net.run_forward()
        set_output_diffs((net,), 0)
        net.run_backward()
        made.append([net.blobs["c"].data, net.blobs["x0"].diff, *(blob.diff for blob in net.params["c"])])
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)


def spec(images: int, size: int, dtype: DataType, channels: int = 512) -> ConvSpec:
    shape = (images, channels, size, size)
    return ConvSpec(shape, shape, (3, 3), (1, 1), (1, 1), (1, 1), dtype=dtype)


@pytest.mark.parametrize("wanted", list(Pass))
@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16])
def test_chosen_on_small_maps_and_not_on_large_ones(device: Device, wanted: Pass, dtype: DataType) -> None:
    if dtype == DataType.f32 or device.has_amx or wanted == Pass.weights:
        assert is_faster(device, spec(100, 2, dtype), wanted)
        assert is_faster(device, spec(16, 2, dtype), wanted)
    assert not is_faster(device, spec(100, 32, dtype, 64), wanted)
    assert not is_faster(device, spec(8, 2, dtype), wanted)
    assert not is_faster(device, spec(100, 2, dtype, 520), wanted)
