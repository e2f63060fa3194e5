"""Convolutions with fewer products: the matrices, and the layers that run so against the reference in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.kernels.winograd import ONE, POINTS, Tiling, toom_cook
from dragon.engines.onednn.library.device import Device
from tests.engines.onednn.comparing import agree, agree_after_changes, fill, inputs, make_net, notes

CASES = [(m, k) for m, k in itertools.product(range(1, 8), range(1, 8)) if 3 <= m + k - 1 <= len(POINTS) + 1]


@pytest.mark.parametrize(("outputs", "taps"), CASES)
def test_matrices_make_correlations(outputs: int, taps: int) -> None:
    rng = np.random.default_rng(0)
    at, g, bt = toom_cook(outputs, taps)
    x, w = rng.standard_normal(outputs + taps - 1), rng.standard_normal(taps)
    np.testing.assert_allclose(at @ ((g @ w) * (bt @ x)), np.correlate(x, w, "valid"), atol=1e-13)
    assert (at[:, ONE] == 1).all()
    assert (bt == np.round(bt)).all()


@pytest.mark.parametrize(("outputs", "taps"), [(1, 1), (5, 5), (9, 1)])
def test_too_many_or_too_few_points(outputs: int, taps: int) -> None:
    with pytest.raises(ValueError, match="points"):
        toom_cook(outputs, taps)


def test_rounding_in_float32_stays_near_the_direct_sum() -> None:
    """F(4, 5), over 25 taps and 32 channels as in CIFAR-10 quick: below ten times the direct sum's error."""
    rng = np.random.default_rng(1)
    at, g, bt = (m.astype(np.float32) for m in toom_cook(4, 5))
    x, w = rng.standard_normal((8, 160, 300)).astype(np.float32), rng.standard_normal((5, 160)).astype(np.float32)
    exact = np.stack([np.einsum("kcp,kc->p", x[i : i + 5].astype(float), w.astype(float)) for i in range(4)])
    direct = np.stack([np.einsum("kcp,kc->p", x[i : i + 5], w) for i in range(4)])
    products = np.einsum("ncp,nc->np", np.tensordot(bt, x, 1), g @ w)
    error = (at @ products - exact).std() / exact.std()
    assert error < 2e-6
    assert error < 10 * (direct - exact).std() / exact.std()


@pytest.mark.parametrize(
    ("size", "pad", "taps", "outputs", "tile"), [(16, 2, 5, 16, 4), (7, 0, 3, 5, 2), (5, 3, 4, 8, 3)]
)
def test_tilings_cover_padding_and_a_last_tile_that_is_not_full(
    size: int, pad: int, taps: int, outputs: int, tile: int
) -> None:
    rng = np.random.default_rng(2)
    tiling = Tiling(size, pad, taps, outputs, tile)
    x, w = rng.standard_normal(size), rng.standard_normal(taps)
    behind = outputs + taps - 1 - size - pad
    expected = np.correlate(np.pad(x, (pad, max(behind, 0)))[: outputs + taps - 1], w, "valid")
    made = tiling.gather() @ ((tiling.weights() @ w).repeat(tiling.tiles) * (tiling.scatter() @ x))
    np.testing.assert_allclose(made, expected, atol=1e-12)


def conv(settings: str, shape: tuple[int, ...] = (4, 16, 9, 7), more: str = "") -> str:
    return inputs(shape) + (
        f'layer {{ name: "c" type: "Convolution" bottom: "x0" top: "c" {more} convolution_param {{ {settings} }} }}\n'
    )


LAYERS = {
    "3x3": conv("num_output: 16 kernel_size: 3 pad: 1"),
    "5x5": conv("num_output: 32 kernel_size: 5 pad: 2"),
    "7x7": conv("num_output: 16 kernel_size: 7 pad: 3"),
    "no padding": conv("num_output: 16 kernel_size: 3"),
    "much padding": conv("num_output: 16 kernel_size: 3 pad: 2"),
    "no bias": conv("num_output: 16 kernel_size: 3 pad: 1 bias_term: false"),
    "wide kernel": conv("num_output: 16 kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 0"),
    "tall kernel": conv("num_output: 16 kernel_h: 4 kernel_w: 1 pad_h: 1"),
    "stride along": conv("num_output: 16 kernel_size: 3 stride_h: 1 stride_w: 2"),
    "flat": conv("num_output: 32 kernel_size: 3 pad: 1", (3, 48, 1, 5)),
    "narrow": conv("num_output: 16 kernel_size: 3 pad: 1", (5, 16, 6, 1)),
    "prime batch": conv("num_output: 16 kernel_size: 5 pad: 2", (17, 16, 6, 6)),
    "weights only": conv("num_output: 16 kernel_size: 3", more="param { lr_mult: 1 } param { lr_mult: 0 }"),
    "bias only": conv("num_output: 16 kernel_size: 3", more="param { lr_mult: 0 } param { lr_mult: 1 }"),
    "nothing learned": conv("num_output: 16 kernel_size: 3", more="param { lr_mult: 0 } param { lr_mult: 0 }"),
    "neuron": conv("num_output: 16 kernel_size: 3 pad: 1")
    + 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n',
}  # fmt: skip


@pytest.mark.usefixtures("device", "winograd_everywhere")
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_with_the_reference(name: str, phase: int) -> None:
    net = agree(LAYERS[name], phase=phase, passes=2)
    # there are CPUs on which the library prefers another layout for strides
    assert "Winograd F(" in notes(net)["c"] or name == "stride along"


@pytest.mark.usefixtures("device", "winograd_everywhere")
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize(
    "settings",
    [
        "num_output: 16 kernel_size: 3 stride: 2",
        "num_output: 16 kernel_size: 3 dilation: 2",
        "num_output: 16 kernel_size: 3 group: 2",
        "num_output: 12 kernel_size: 3",
        "num_output: 16 kernel_size: 1",
    ],
)
def test_the_direct_sum_does_the_rest(settings: str, phase: int) -> None:
    net = agree(conv(settings), phase=phase)
    assert "Winograd" not in notes(net)["c"]


@pytest.mark.usefixtures("winograd_everywhere")
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("name", ["3x3", "5x5", "prime batch", "flat"])  # no kinks
def test_bf16_is_close(device: Device, name: str, phase: int) -> None:
    if not device.native_bf16:
        pytest.skip("this CPU has no bf16")
    net = agree(LAYERS[name], phase=phase, tolerance=6e-2, precision="bf16")
    # with AMX the library prefers channels last in bf16, and sums directly
    assert ("Winograd F(" in notes(net)["c"]) != device.has_amx


BOTTOMS = inputs((3, 16, 6, 6), (3, 16, 6, 6))


@pytest.mark.usefixtures("device", "winograd_everywhere")
def test_two_bottoms_share_the_weights() -> None:
    net = agree(
        BOTTOMS + 'layer { name: "c" type: "Convolution" bottom: "x0" bottom: "x1" top: "c" top: "d" '
        "convolution_param { num_output: 16 kernel_size: 3 pad: 1 } }\n"
    )
    assert "Winograd" in notes(net)["c"]


@pytest.mark.usefixtures("device", "winograd_everywhere")
def test_two_layers_share_a_bottom_with_different_padding() -> None:
    layer = 'layer {{ name: "{0}" type: "Convolution" bottom: "x0" top: "{0}" convolution_param {{ {1} }} }}\n'
    agree(
        inputs((3, 16, 6, 6))
        + layer.format("c", "num_output: 16 kernel_size: 3 pad: 1")
        + layer.format("d", "num_output: 16 kernel_h: 3 kernel_w: 3 pad_h: 0 pad_w: 1")
    )


@pytest.mark.usefixtures("device", "winograd_everywhere")
@pytest.mark.parametrize("fuse", [True, False])
def test_folded_normalisation_and_neuron(fuse: bool) -> None:
    text = conv("num_output: 16 kernel_size: 3 pad: 1") + (
        'layer { name: "n" type: "BatchNorm" bottom: "c" top: "n" }\n'
        'layer { name: "s" type: "Scale" bottom: "n" top: "n" scale_param { bias_term: true } }\n'
        'layer { name: "r" type: "ReLU" bottom: "n" top: "n" }\n'
        'layer { name: "d" type: "Convolution" bottom: "n" top: "d" '
        "convolution_param { num_output: 32 kernel_size: 5 } }"
    )
    net = agree(text, phase=dragon.TEST, passes=2, fuse=fuse)
    assert "Winograd" in notes(net)["c"]
    assert "Winograd" in notes(net)["d"]


@pytest.mark.usefixtures("device")
def test_chosen_where_it_pays_and_not_where_it_was_forbidden() -> None:
    text = conv("num_output: 32 kernel_size: 5 pad: 2", (16, 32, 16, 16))
    for allowed in (True, False):
        net = make_net(text, "onednn", winograd=allowed)
        fill((net,), 0)
        net.run_forward()
        assert ("Winograd" in notes(net)["c"]) == allowed


@pytest.mark.usefixtures("device")
def test_not_chosen_for_few_images() -> None:
    net = make_net(conv("num_output: 32 kernel_size: 5 pad: 2", (1, 32, 16, 16)), "onednn", dragon.TEST)
    assert "Winograd" not in notes(net)["c"]


@pytest.mark.usefixtures("device", "winograd_everywhere")
def test_data_that_a_script_changes_between_forward_and_backward_count() -> None:
    agree_after_changes(LAYERS["5x5"], "c", 2e-4)


def test_memory_is_shared_between_layers(device: Device) -> None:
    """The intermediate data of all layers are the same bytes."""
    layer = (
        'layer {{ name: "c{0}" type: "Convolution" bottom: "{1}" top: "c{0}" '
        "convolution_param {{ num_output: 32 kernel_size: 5 pad: 2 }} }}\n"
    )
    text = inputs((16, 32, 16, 16)) + layer.format(0, "x0")
    sizes = []
    for count in (1, 2):
        net = make_net(text + layer.format(1, "c0") * (count - 1), "onednn")
        fill((net,), 0)
        net.run_forward()
        staged = net.executor.plans.plan(True).builder._scratch  # type: ignore[attr-defined]
        assert staged
        sizes.append(sum(len({memory.buffer.ctypes.data for memory in slot}) for slot in staged.values()))
    assert sizes[0] == sizes[1]
