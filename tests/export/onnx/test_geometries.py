"""Odd windows, sizes and axes in ONNX Runtime: where Caffe rounds and pads in its own way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.export.onnx.helpers import agree, filled

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def net(text: str, *shapes: Sequence[int], tops: int = 1) -> str:
    """Inputs x0, x1, ... and the layer "one"."""
    result = ""
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {dim}" for dim in shape)
        result += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(shapes)))
    outs = " ".join(f'top: "y{i}"' for i in range(tops))
    return f'{result}layer {{ name: "one" {bottoms} {outs} {text} }}\n'


def compare(text: str, *shapes: Sequence[int], tops: int = 1, positive: bool = False, tolerance: float = 1e-5) -> None:
    rng = np.random.default_rng(len(text))
    inputs = {f"x{i}": rng.standard_normal(shape) for i, shape in enumerate(shapes)}
    if positive:
        inputs = {name: np.abs(value) for name, value in inputs.items()}
    with filled(net(text, *shapes, tops=tops), inputs) as made:
        agree(made, inputs, tolerance)


POOLINGS = [
    "kernel_size: 3 stride: 2", "kernel_size: 3 stride: 2 pad: 1", "kernel_size: 2 stride: 3 pad: 1",
    "kernel_size: 5 stride: 4 pad: 2", "kernel_h: 2 kernel_w: 5 stride_h: 3 stride_w: 2 pad_h: 1 pad_w: 3",
    "kernel_size: 4 stride: 3 pad_t: 1 pad_b: 3 pad_r: 2", "kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR",
    "kernel_size: 7 stride: 1", "kernel_size: 1 stride: 2", "global_pooling: true",
]  # fmt: skip
METHODS = ["MAX", "AVE", "AVE_EXC_PAD", "STOCHASTIC"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("window", POOLINGS)
def test_pooling(method: str, window: str) -> None:
    for size in ((7, 7), (8, 9), (10, 7)):
        text = f'type: "Pooling" pooling_param {{ pool: {method} {window} }}'
        compare(text, (2, 3, *size), positive=method == "STOCHASTIC")


@pytest.mark.parametrize("window", POOLINGS[:3])
def test_pooling_mask(window: str) -> None:
    compare(f'type: "Pooling" pooling_param {{ {window} }}', (2, 3, 8, 9), tops=2)


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling_over_one_and_three_axes(method: str) -> None:
    for shape in ((2, 3, 8), (1, 2, 5, 6, 7)):
        compare(f'type: "Pooling" pooling_param {{ pool: {method} kernel_size: 3 stride: 2 pad: 1 }}', shape)


CONVOLUTIONS = [
    "kernel_size: 3", "kernel_size: 3 stride: 2 pad: 1", "kernel_size: 3 dilation: 2",
    "kernel_size: 3 pad: 3 dilation: 3",
    "kernel_h: 1 kernel_w: 4 stride_h: 2 stride_w: 3 pad_h: 0 pad_w: 2", "kernel_size: 2 group: 2",
    "kernel_size: 3 group: 4 bias_term: false", "kernel_size: 3 pad_t: 2 pad_r: 1", "kernel_size: 1 stride: 2",
]  # fmt: skip


@pytest.mark.parametrize("window", CONVOLUTIONS)
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_convolution(kind: str, window: str) -> None:
    for size in ((7, 7), (8, 10)):
        compare(f'type: "{kind}" convolution_param {{ num_output: 4 {window} }}', (2, 4, *size))


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_convolution_of_other_axes(kind: str) -> None:
    for more, shape in (
        ("", (2, 4, 7)), ("", (1, 4, 4, 5, 3)), ("axis: 2", (2, 3, 4, 5, 6)),
        ("axis: 0", (4, 6, 5)), ("axis: -3", (2, 4, 5, 5)),
    ):  # fmt: skip
        compare(f'type: "{kind}" convolution_param {{ num_output: 2 kernel_size: 2 {more} }}', shape)


def test_a_kernel_larger_than_the_image() -> None:
    """Caffe's division rounds towards zero: there is one position."""
    compare('type: "Convolution" convolution_param { num_output: 2 kernel_size: 4 stride: 3 }', (1, 2, 3, 3))


def test_im2col() -> None:
    for window in ("kernel_size: 3 dilation: 2 pad: 2", "kernel_h: 2 kernel_w: 1 stride: 2", "kernel_size: 1"):
        compare(f'type: "Im2col" convolution_param {{ {window} }}', (2, 3, 7, 6))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_inner_product(axis: int) -> None:
    for more in ("", "transpose: true", "bias_term: false"):
        compare(f'type: "InnerProduct" inner_product_param {{ num_output: 3 axis: {axis} {more} }}', (2, 3, 4, 2))


@pytest.mark.parametrize("ndim", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "text",
    [
        'type: "LRN"',
        'type: "LRN" lrn_param { local_size: 7 alpha: 2 beta: 0.5 k: 3 }', 'type: "BatchNorm"', 'type: "BN"',
        'type: "PReLU"', 'type: "Normalize"', 'type: "Normalize" norm_param { across_spatial: false }', 'type: "MVN"',
        'type: "GroupNorm" group_norm_param { num_groups: 2 }', 'type: "LayerNorm"', 'type: "FRN"', 'type: "EvoNormS0" '
        "evo_norm_s0_param { num_groups: 2 }", 'type: "Scale" scale_param { bias_term: true }', 'type: "Softmax"',
        'type: "BatchNorm" batch_norm_param { use_global_stats: false }', 'type: "DecorrelatedBN"',
        'type: "BatchNorm" batch_norm_param { use_global_stats: false ghost_batch: 2 }',
    ],
)  # fmt: skip
def test_any_number_of_axes(text: str, ndim: int) -> None:
    compare(text, (3, 4, 3, 2, 3)[:ndim], tolerance=5e-5)


def test_batch_norm_of_one_axis() -> None:
    compare('type: "BN"', (6,))


def test_lrn_within_channels() -> None:
    for size in (1, 3, 5):
        compare(f'type: "LRN" lrn_param {{ norm_region: WITHIN_CHANNEL local_size: {size} alpha: 3 }}', (2, 3, 6, 5))


def test_scale_and_bias_of_two_bottoms() -> None:
    for kind, name in (("Scale", "scale_param"), ("Bias", "bias_param")):
        for axis, shape in ((0, (2,)), (1, (3, 4)), (2, (4,)), (-1, (5,)), (0, (2, 3, 4, 5)), (1, ())):
            compare(f'type: "{kind}" {name} {{ axis: {axis} }}', (2, 3, 4, 5), shape)


def test_reshapes() -> None:
    for dims in ("dim: 0 dim: -1", "dim: 0 dim: 0 dim: -1", "dim: -1 dim: 4", "dim: 2 dim: 3 dim: 1 dim: 20"):
        compare(f'type: "Reshape" reshape_param {{ shape {{ {dims} }} }}', (2, 3, 4, 5))
    compare('type: "Reshape" reshape_param { shape { dim: 2 dim: -1 } axis: 1 num_axes: 2 }', (2, 3, 4, 5))
    compare('type: "Reshape" reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }', (2, 3, 4, 5))


def test_interp() -> None:
    for p in (
        "height: 1 width: 1",
        "height: 11 width: 3",
        "zoom_factor: 3 shrink_factor: 2",
        "zoom_factor: 2 pad_beg: -1 pad_end: -2",
    ):
        compare(f'type: "Interp" interp_param {{ {p} }}', (2, 3, 7, 6))
    compare('type: "Interp"', (2, 3, 4, 4), (1, 1, 9, 5))


def test_arg_max_gives_the_higher_of_equal_indices() -> None:
    inputs = {"x0": np.round(np.random.default_rng(1).standard_normal((4, 6, 5)))}
    for p in (
        "",
        "top_k: 3",
        "top_k: 2 out_max_val: true",
        "axis: 1",
        "axis: 2 top_k: 3",
        "axis: -2 top_k: 2 out_max_val: true",
    ):
        with filled(net(f'type: "ArgMax" argmax_param {{ {p} }}', (4, 6, 5)), inputs) as made:
            agree(made, inputs, 1e-7)


def detections(p: str, items: int, priors: int, classes: int, locations: int = 1, level: float = 0.0) -> None:
    rng = np.random.default_rng(priors)
    corners = np.sort(rng.uniform(0, 1, (priors, 2, 2)), axis=1).reshape(priors, 4)
    inputs = {
        "x0": rng.standard_normal((items, priors * 4 * locations)) / 4,
        "x1": rng.uniform(0, 1, (items, priors * classes)) - level,
        "x2": np.stack([corners.ravel(), np.tile([0.1, 0.1, 0.2, 0.2], priors)])[None],
    }
    shared = "" if locations == 1 else "share_location: false"
    text = f'type: "DetectionOutput" detection_output_param {{ num_classes: {classes} {shared} {p} }}'
    with filled(net(text, *(value.shape for value in inputs.values())), inputs) as made:
        agree(made, inputs, 2e-6)


@pytest.mark.parametrize("items", [1, 2])
def test_detections(items: int) -> None:
    nms = "nms_param { nms_threshold: 0.3"
    least = "confidence_threshold: 0.4"
    detections(f"{nms} top_k: 20 }} keep_top_k: 15 code_type: CENTER_SIZE {least}", items, 60, 4)
    detections(f"{nms} }} code_type: CENTER_SIZE {least}", items, 30, 3)
    detections(f"{nms} top_k: 400 }} keep_top_k: 7 {least}", items, 40, 3, locations=3)
    detections(f"{nms} }} code_type: CORNER_SIZE background_label_id: 2 {least}", items, 20, 4)
    detections(f"{nms} }} variance_encoded_in_target: true background_label_id: -1", items, 20, 2)


def test_no_detection() -> None:
    detections("nms_param { nms_threshold: 0.3 top_k: 5 } keep_top_k: 3 confidence_threshold: 0.5", 2, 10, 3, level=1)


def test_permute_of_no_axes() -> None:
    compare('type: "Permute"', ())


def test_a_permute_that_moves_nothing_is_no_operator() -> None:
    text = net('type: "Permute"', (2, 3)) + 'layer { name: "two" type: "AbsVal" bottom: "y0" top: "z" }'
    inputs = {"x0": np.ones((2, 3))}
    with filled(text, inputs) as made:
        assert [one.op_type for one in agree(made, inputs).graph.node] == ["Abs"]
