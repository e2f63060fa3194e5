"""Convolutions of TEST in square tiles: how maps are cut, which layers run so, and the reference's results."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.kernels.convolution import ConvSpec
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.lowerings import square_tiles as cutting
from dragon.engines.onednn.lowerings.square_tiles import MOST, POINTS, SquareTiles, square_tiles
from tests.engines.onednn.comparing import agree, compare, fill, inputs, make_net, notes

Pair = tuple[int, int]


def spec(channels: int, outputs: int, size: Pair, kernel: Pair = (3, 3), pad: Pair = (1, 1)) -> ConvSpec:
    top = tuple(s + 2 * p - k + 1 for s, p, k in zip(size, pad, kernel, strict=True))
    return ConvSpec((1, channels, *size), (1, outputs, *top), kernel, stride=(1, 1), pad=pad, dilation=(1, 1))


@pytest.mark.parametrize("size", [1, 4, 5, 31, 32, 33, 36, 37, 64, 147, 225])
@pytest.mark.parametrize(("taps", "pad"), [(2, 0), (3, 0), (3, 1), (3, 2), (5, 2)])
def test_strips_make_every_output_from_the_inputs_that_it_needs(size: int, taps: int, pad: int) -> None:
    if size + 2 * pad < taps:
        return
    tiles = SquareTiles(spec(16, 16, (size, size), (taps, taps), (pad, pad)))
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(size), rng.standard_normal(taps)
    right = np.correlate(np.pad(x, pad), w, "valid")
    made = np.full(len(right), np.nan)
    strips = tiles.high
    for strip in strips:
        t = strip.tiling
        assert t.tiles <= MOST
        assert t.tiles == strips[0].tiling.tiles
        assert t.points == POINTS
        assert strip.target == strip.first * t.tile
        part = x[strip.source : strip.source + t.size]
        assert len(part) == t.size
        products = np.repeat(t.weights() @ w, t.tiles) * (t.scatter() @ part)
        made[strip.target : strip.target + t.outputs] = t.gather() @ products
    np.testing.assert_allclose(made, right, atol=1e-12)
    assert tiles.across == -(-len(right) // strips[0].tiling.tile) == strips[-1].last


class Processor(Device):
    """A device that has AVX-512, or only AVX2."""

    def __init__(self, avx512: bool) -> None:
        super().__init__()
        self._avx512 = avx512

    @property
    def has_avx512(self) -> bool:
        return self._avx512


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    ("layer", "chosen"),
    [
        (spec(512, 512, (28, 28)), True),  # VGG-16
        (spec(256, 256, (14, 14)), True),  # ResNet-50
        (spec(64, 192, (56, 56)), True),  # GoogLeNet
        (spec(512, 512, (7, 7)), False),  # four tiles
        (spec(16, 64, (56, 56)), False),  # SqueezeNet
        (spec(512, 512, (28, 28), (1, 1), (0, 0)), False),
        (spec(512, 510, (28, 28)), False),  # channels that do not fill vectors
        (spec(512, 512, (28, 28), (7, 7), (3, 3)), False),
    ],
)
def test_chosen_where_it_was_measured_to_be_faster(layer: ConvSpec, chosen: bool) -> None:
    assert (square_tiles(Processor(avx512=False), layer) is not None) == chosen
    assert square_tiles(Processor(avx512=True), layer) is None


def conv(settings: str, shape: tuple[int, ...] = (1, 16, 18, 22), more: str = "") -> str:
    return inputs(shape) + (
        f'layer {{ name: "c" type: "Convolution" bottom: "x0" top: "c" {more} convolution_param {{ {settings} }} }}\n'
    )


RELU = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
LAYERS = {
    "3x3": conv("num_output: 32 kernel_size: 3 pad: 1"),
    "5x5": conv("num_output: 16 kernel_size: 5 pad: 2"),
    "2x2": conv("num_output: 16 kernel_size: 2"),
    "wide": conv("num_output: 16 kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 0"),
    "tall": conv("num_output: 16 kernel_h: 4 kernel_w: 2 pad_h: 3 pad_w: 1"),
    "no bias": conv("num_output: 16 kernel_size: 3 pad: 1 bias_term: false"),
    "one tile": conv("num_output: 16 kernel_size: 3 pad: 1", (1, 16, 3, 2)),
    "strips": conv("num_output: 16 kernel_size: 3 pad: 1", (1, 16, 37, 70)),
    "several images": conv("num_output: 16 kernel_size: 3", (3, 32, 9, 35)),
    "ReLU": conv("num_output: 16 kernel_size: 3 pad: 1") + RELU,
    "leaky ReLU": conv("num_output: 16 kernel_size: 3 pad: 1")
    + RELU.replace("}\n", "relu_param { negative_slope: 0.1 } }\n"),
    "normalised": conv("num_output: 16 kernel_size: 3 pad: 1", (2, 16, 14, 14))
    + 'layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }\n'
    + 'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }\n'
    + RELU,
}  # fmt: skip


@pytest.mark.usefixtures("device", "square_tiles_everywhere")
@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_with_the_reference(name: str) -> None:
    net = agree(LAYERS[name], phase=dragon.TEST, passes=2)
    made = make_net(LAYERS[name], "onednn", dragon.TEST)  # a net that was asked for backward has other plans
    fill((made,), 0)
    made.run_forward()
    assert "Winograd F(" in notes(made)["c"]
    assert " x " in notes(made)["c"]
    assert net.blobs["c"].shape == made.blobs["c"].shape


@pytest.mark.usefixtures("device", "square_tiles_everywhere")
@pytest.mark.parametrize(
    "settings",
    [
        "num_output: 16 kernel_size: 3 stride: 2",
        "num_output: 16 kernel_size: 3 dilation: 2",
        "num_output: 16 kernel_size: 3 group: 2",
        "num_output: 12 kernel_size: 3",
        "num_output: 16 kernel_h: 1 kernel_w: 3",
        "num_output: 16 kernel_size: 7",
    ],
)
def test_the_direct_sum_does_the_rest(settings: str) -> None:
    net = agree(conv(settings), phase=dragon.TEST, backward=False)
    assert " x " not in notes(net)["c"]


@pytest.mark.usefixtures("device", "square_tiles_everywhere")
def test_training_and_a_refusal_keep_the_direct_sum() -> None:
    assert "Winograd" not in notes(agree(LAYERS["3x3"], phase=dragon.TRAIN))["c"]
    assert "Winograd" not in notes(agree(LAYERS["3x3"], phase=dragon.TEST, winograd=False, backward=False))["c"]


def residual(height: int, other: str) -> str:
    layer = 'layer {{ name: "{1}" type: "Convolution" bottom: "{0}" top: "{1}" convolution_param {{ {2} }} }}\n'
    settings = "num_output: 16 kernel_size: 3 pad: 1"
    return (
        inputs((2, 16, height, 12), force=False)
        + "".join(layer.format(*names, settings) for names in (("x0", "a"), ("a", "b"), ("b", "d")))
        + f'layer {{ name: "s" type: "Eltwise" bottom: "{other}" bottom: "d" top: "s" }}\n'
        + 'layer { name: "r" type: "ReLU" bottom: "s" top: "s" }\n'
    )


@pytest.mark.usefixtures("device", "square_tiles_everywhere")
@pytest.mark.parametrize("other", ["a", "x0"])  # overwritten, or copied first
@pytest.mark.parametrize(("height", "tiles"), [(12, True), (64, True), (36, False)])
def test_a_sum_is_added_to_where_no_strips_overlap(height: int, tiles: bool, other: str) -> None:
    net = agree(residual(height, other), phase=dragon.TEST, backward=False, passes=2)
    assert ("Winograd" in notes(net)["d"]) == tiles
    assert "Winograd" in notes(net)["b"]


@pytest.mark.usefixtures("device", "square_tiles_everywhere")
def test_folded_weights_are_computed_in_place() -> None:
    net = make_net(LAYERS["normalised"].replace("num_output: 16", "num_output: 512"), "onednn", dragon.TEST)
    net.run_forward()
    weights = net.params["c"][0].data
    weights[...] = 1
    tracemalloc.start()
    try:
        net.run_forward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < weights.nbytes


@pytest.mark.usefixtures("device", "square_tiles_everywhere")
@pytest.mark.parametrize("which", [0, 1])
def test_a_changed_parameter_counts_in_the_next_pass(which: int) -> None:
    nets = make_net(LAYERS["ReLU"], "numpy", dragon.TEST, np.float64), make_net(LAYERS["ReLU"], "onednn", dragon.TEST)
    fill(nets, 0)
    for _ in range(3):
        for net in nets:
            net.run_forward()
        compare(*nets, 2e-5, diffs=False)
        for net in nets:
            net.params["c"][which].data[...] *= -1.5


@pytest.mark.usefixtures("device", "square_tiles_everywhere")
def test_layers_that_share_weights_each_transform_them() -> None:
    shared = 'param { name: "w" } param { name: "b" }'
    agree(
        conv("num_output: 16 kernel_size: 3 pad: 1", more=shared)
        + f'layer {{ name: "d" type: "Convolution" bottom: "c" top: "d" {shared} '
        "convolution_param { num_output: 16 kernel_size: 3 } }\n",
        phase=dragon.TEST,
        backward=False,
    )


@pytest.mark.usefixtures("device")
def test_rounding_stays_near_the_direct_sum() -> None:
    """256 channels: the deviation of the error is below 20 times the direct sum's, and below 1e-5 of the results'."""
    text = conv("num_output: 256 kernel_size: 3 pad: 1", (1, 256, 14, 14))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "MEASURED", False)
        nets = [make_net(text, "numpy", dragon.TEST, np.float64)]
        nets += [make_net(text, "onednn", dragon.TEST, winograd=on) for on in (True, False)]
        fill(tuple(nets), 0)
        for net in nets:
            net.run_forward()
    assert "Winograd F(4 x 4, 3 x 3)" in notes(nets[1])["c"]
    right, tiles, direct = (np.asarray(net.blobs["c"].data, np.float64) for net in nets)
    error = (tiles - right).std() / right.std()
    assert error < 1e-5
    assert error < 20 * (direct - right).std() / right.std()
