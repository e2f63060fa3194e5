"""Convolution, deconvolution, unfolding and pooling over one, two and three spatial axes."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines.cuda.lowerings.lowering import find
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.cudnn import Cudnn
from tests.engines.cuda.running import by_kernels, inputs, layer, make, same

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(51)
FILLER = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.3 }'
LINES = RANDOM.standard_normal((3, 4, 19)).astype(np.float32)
VOLUMES = RANDOM.standard_normal((2, 4, 5, 4, 7)).astype(np.float32)
ON_LINES = [
    "num_output: 6 kernel_size: 3",
    "num_output: 4 kernel_size: 5 pad: 2 stride: 2 group: 2",
    "num_output: 4 kernel_size: 3 dilation: 2 pad: 1",
    "num_output: 8 kernel_size: 1",
    "num_output: 4 kernel_size: 3 group: 4",
]
IN_VOLUMES = [
    "num_output: 6 kernel_size: 3",
    "num_output: 4 kernel_size: 3 pad: 1 stride: 2 group: 2",
    "num_output: 4 kernel_size: 2 kernel_size: 1 kernel_size: 3 dilation: 2 dilation: 1 dilation: 2 pad: 1",
    "num_output: 8 kernel_size: 1 group: 4",
    "num_output: 4 kernel_size: 2 group: 4",
]


@pytest.mark.parametrize("settings", [*(("lines", s) for s in ON_LINES), *(("volumes", s) for s in IN_VOLUMES)])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_convolution(kind: str, settings: tuple[str, str]) -> None:
    x = LINES if settings[0] == "lines" else VOLUMES
    text = inputs({"x": x.shape}) + layer(kind, f"convolution_param {{ {settings[1]} {FILLER} }}")
    by_kernels(same(text, {"x": x}), "one")


@pytest.mark.parametrize(("size", "fits"), [(31, False), (9, True)])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_an_unfolded_volume_of_more_elements_than_kernels_count_is_left_to_array_code(
    kind: str, size: int, fits: bool
) -> None:
    shape = (1, 8, 51, 51, 51) if kind == "Convolution" else (1, 1, 21, 21, 21)
    settings = f"convolution_param {{ num_output: {1 if kind == 'Convolution' else 8} kernel_size: {size} }}"
    net = make(inputs({"x": shape}) + layer(kind, settings), "numpy")
    assert (find(net.nodes[-1]) is not None) == fits


def test_images_in_two_axes_and_several_bottoms() -> None:
    """`axis` counts the channels' place: here (2, 3) images of 4 channels."""
    x = RANDOM.standard_normal((2, 3, 4, 9)).astype(np.float32)
    settings = f'bottom: "w" top: "z" convolution_param {{ axis: 2 num_output: 5 kernel_size: 3 {FILLER} }}'
    text = inputs({"x": x.shape, "w": x.shape}) + layer("Convolution", settings)
    by_kernels(same(text, {"x": x, "w": x[::-1].copy()}), "one")


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_cudnn_takes_lines_as_images_of_one_row(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.engines.cuda.device.cudnn.load_library", Cudnn)
    for x, is_known in ((LINES, True), (VOLUMES, False)):
        standin.counts.clear()
        settings = f"convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 group: 2 {FILLER} }}"
        same(inputs({"x": x.shape}) + layer(kind, settings), {"x": x})
        assert bool(standin.counts["cudnn"]) == is_known


@pytest.mark.parametrize(
    "settings", ["kernel_size: 3", "kernel_size: 2 stride: 2 pad: 1", "kernel_size: 2 dilation: 2"]
)
@pytest.mark.parametrize("x", [LINES, VOLUMES[:, :, 0], VOLUMES], ids=["lines", "images", "volumes"])
def test_im2col(x: np.ndarray, settings: str) -> None:
    text = inputs({"x": x.shape}) + layer("Im2col", f"convolution_param {{ {settings} }}")
    by_kernels(same(text, {"x": x}), "one")


def test_im2col_from_another_axis() -> None:
    settings = "convolution_param { axis: 2 kernel_size: 2 }"
    by_kernels(same(inputs({"x": VOLUMES.shape}) + layer("Im2col", settings), {"x": VOLUMES}), "one")


POOLINGS = [
    "kernel_size: 3 stride: 2",
    "kernel_size: 2 stride: 2",
    "kernel_size: 3 stride: 1 pad: 1",
    "global_pooling: true",
]
PLANES = {"lines": LINES, "images": VOLUMES[:, :, 0], "long lines": RANDOM.standard_normal((2, 3, 301))}


@pytest.mark.parametrize("settings", POOLINGS)
@pytest.mark.parametrize("method", ["MAX", "AVE", "AVE_EXC_PAD"])
def test_pooling_of_lines(method: str, settings: str) -> None:
    text = inputs({"x": LINES.shape}) + layer("Pooling", f"pooling_param {{ pool: {method} {settings} }}")
    by_kernels(same(text, {"x": LINES}), "one")


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("settings", POOLINGS)
@pytest.mark.parametrize("x", PLANES.values(), ids=PLANES.keys())
def test_stochastic_pooling_draws_what_numpy_draws(x: np.ndarray, settings: str, phase: int) -> None:
    x = np.maximum(x, 0).astype(np.float32)  # with windows of zeros alone
    text = inputs({"x": x.shape}) + layer("Pooling", f"pooling_param {{ pool: STOCHASTIC {settings} }}")
    net = same(text, {"x": x}, phase=phase)
    by_kernels(net, "one")
    before = net.blobs["y"].peek().copy()
    net.run_forward()
    assert (net.blobs["y"].peek() == before).all() == (phase == TEST)
