"""Each lowered layer with its options against the reference in float64: forward, gradients, in place, in TEST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.bases.layer import layer_types
from dragon.engines.onednn.lowerings import find
from tests.engines.onednn.comparing import agree, conv, inputs, notes

pytestmark = pytest.mark.usefixtures("device")

IMAGE = (2, 5, 4, 6)
WIDE = (2, 32, 5, 5)  # channels in whole blocks of 16


CONV = conv("c", "x0", 32)

# name -> (settings, shape of the bottom)
UNARY: dict[str, tuple[str, tuple[int, ...]]] = {
    "lrn": ('type: "LRN" lrn_param { local_size: 5 alpha: 0.3 beta: 0.75 k: 2 }', IMAGE),
    "lrn odd": ('type: "LRN" lrn_param { local_size: 3 alpha: 0.3 beta: 0.6 }', WIDE),
    "lrn within": (
        'type: "LRN" lrn_param { local_size: 3 alpha: 0.4 beta: 0.75 norm_region: WITHIN_CHANNEL k: 7 }',
        IMAGE,
    ),
    "lrn within 5": ('type: "LRN" lrn_param { local_size: 5 alpha: 0.4 beta: 0.75 norm_region: WITHIN_CHANNEL }', WIDE),
    "softmax": ('type: "Softmax"', (3, 7)),
    "softmax spatial": ('type: "Softmax"', IMAGE),
    "softmax axis 2": ('type: "Softmax" softmax_param { axis: 2 }', IMAGE),
    "dropout": ('type: "Dropout" dropout_param { dropout_ratio: 0.3 }', IMAGE),
    "dropout 2d": ('type: "Dropout"', (5, 33)),
    "dropout 0": ('type: "Dropout" dropout_param { dropout_ratio: 0 }', IMAGE),
    "scale": ('type: "Scale"', IMAGE),
    "scale bias": ('type: "Scale" scale_param { bias_term: true }', IMAGE),
    "scale bias wide": ('type: "Scale" scale_param { bias_term: true }', WIDE),
    "scale pixel": ('type: "Scale" scale_param { bias_term: true }', (2, 60, 1, 1)),
    "scale 2d": ('type: "Scale" scale_param { bias_term: true }', (5, 33)),
    "bias pixel": ('type: "Bias"', (2, 60, 1, 1)),
    "prelu pixel": ('type: "PReLU"', (2, 60, 1, 1)),
    "lrn pixel": ('type: "LRN" lrn_param { local_size: 5 alpha: 0.3 }', (2, 60, 1, 1)),
    "scale axes": ('type: "Scale" scale_param { axis: 1 num_axes: 2 bias_term: true }', IMAGE),
    "scale last": ('type: "Scale" scale_param { axis: -1 }', IMAGE),
    "scale all": ('type: "Scale" scale_param { axis: 0 num_axes: -1 bias_term: true }', IMAGE),
    "scale one": ('type: "Scale" scale_param { num_axes: 0 bias_term: true }', IMAGE),
    "bias": ('type: "Bias"', IMAGE),
    "bias axes": ('type: "Bias" bias_param { axis: 2 num_axes: 2 }', IMAGE),
    "prelu": ('type: "PReLU"', IMAGE),
    "prelu wide": ('type: "PReLU"', WIDE),
    "prelu shared": ('type: "PReLU" prelu_param { channel_shared: true }', IMAGE),
    "prelu 2d": ('type: "PReLU"', (4, 9)),
    "relu": ('type: "ReLU"', IMAGE),
    "relu leaky": ('type: "ReLU" relu_param { negative_slope: 0.1 }', IMAGE),
    "relu falling": ('type: "ReLU" relu_param { negative_slope: -0.5 }', IMAGE),
    "elu falling": ('type: "ELU" elu_param { alpha: -0.5 }', IMAGE),
    "relu6": ('type: "ReLU6"', IMAGE),
    "sigmoid": ('type: "Sigmoid"', IMAGE),
    "tanh": ('type: "TanH"', IMAGE),
    "elu": ('type: "ELU" elu_param { alpha: 0.7 }', IMAGE),
    "bnll": ('type: "BNLL"', IMAGE),
    "swish": ('type: "Swish" swish_param { beta: 1.5 }', IMAGE),
    "abs": ('type: "AbsVal"', IMAGE),
    "clip": ('type: "Clip" clip_param { min: -0.3 max: 0.9 }', IMAGE),
    "hard swish": ('type: "HardSwish"', IMAGE),
    "mish": ('type: "Mish"', IMAGE),
    "power linear": ('type: "Power" power_param { scale: 0.4 shift: -2 }', IMAGE),
    "power square": ('type: "Power" power_param { power: 2 scale: 0.5 shift: 0.5 }', IMAGE),
    "power cube": ('type: "Power" power_param { power: 3 }', IMAGE),
    "exp": ('type: "Exp"', IMAGE),
    "exp base": ('type: "Exp" exp_param { base: 2 scale: 0.5 shift: 0.3 }', IMAGE),
    "concat alone": ('type: "Concat"', IMAGE),
    "pool max": ('type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }', IMAGE),
    "pool ave pad": ('type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }', IMAGE),
    "ip": ('type: "InnerProduct" inner_product_param { num_output: 7 }', IMAGE),
    "ip axis 2": ('type: "InnerProduct" inner_product_param { num_output: 7 axis: 2 }', IMAGE),
    "ip one row": ('type: "InnerProduct" inner_product_param { num_output: 7 axis: 2 }', (2, 1, 6)),
    "ip axis -1": ('type: "InnerProduct" inner_product_param { num_output: 7 axis: -1 transpose: true }', IMAGE),
    "ip axis 0": ('type: "InnerProduct" inner_product_param { num_output: 7 axis: 0 bias_term: false }', IMAGE),
    "batch norm": ('type: "BatchNorm"', IMAGE),
    "bn": ('type: "BN"', WIDE),
    "bn, nothing learned": ('type: "BN" param { lr_mult: 0 } param { lr_mult: 0 }', IMAGE),
    "bn, only the shift learned": ('type: "BN" param { lr_mult: 0 }', IMAGE),
    "bn frozen": ('type: "BN" bn_param { frozen: true }', IMAGE),
    "layer norm": ('type: "LayerNorm"', IMAGE),
    "layer norm last": ('type: "LayerNorm" layer_norm_param { axis: -1 eps: 0.01 }', IMAGE),
    "layer norm plain": ('type: "LayerNorm" layer_norm_param { axis: 2 scale_bias: false }', WIDE),
    "layer norm 2d": ('type: "LayerNorm"', (5, 33)),
    "group norm": ('type: "GroupNorm" group_norm_param { num_groups: 1 }', IMAGE),
    "group norm wide": ('type: "GroupNorm" group_norm_param { num_groups: 8 eps: 0.01 }', WIDE),
    "group norm plain": ('type: "GroupNorm" group_norm_param { num_groups: 4 scale_bias: false }', WIDE),
    "group norm 2d": ('type: "GroupNorm" group_norm_param { num_groups: 4 }', (3, 32)),
    "instance norm": ('type: "InstanceNorm"', IMAGE),
    "instance norm scaled": ('type: "InstanceNorm" instance_norm_param { scale_bias: true }', WIDE),
    "deconv": ('type: "Deconvolution" convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 }', IMAGE),
    "conv group": (
        'type: "Convolution" convolution_param { num_output: 64 kernel_size: 3 group: 4 dilation: 2 }',
        WIDE,
    ),
}
CANNOT_BE_IN_PLACE = ("pool", "ip", "deconv", "conv", "concat")


def layer(settings: str, *bottoms: str, top: str = "y", name: str = "case") -> str:
    wired = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" {settings} {wired} top: "{top}" }}\n'


def check_lowered(net: dragon.Net) -> None:
    assert "onednn" in notes(net)["case"] or "passes" in notes(net)["case"]


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("case", UNARY)
def test_alone(case: str, phase: int) -> None:
    settings, shape = UNARY[case]
    check_lowered(agree(inputs(shape) + layer(settings, "x0"), phase=phase))


@pytest.mark.parametrize("case", [case for case in UNARY if not case.startswith(CANNOT_BE_IN_PLACE)])
def test_in_place(case: str) -> None:
    """On an input, and on a value that lies in the engine's memory; run twice."""
    settings, shape = UNARY[case]
    check_lowered(agree(inputs(shape) + layer(settings, "x0", top="x0"), passes=2))
    between = layer('type: "Power" power_param { scale: 0.7 }', "x0", top="a", name="before")
    after = layer('type: "Power" power_param { scale: 1.3 }', "a", top="b", name="after")
    check_lowered(agree(inputs(shape) + between + layer(settings, "a", top="a") + after, passes=2))


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("case", [case for case in UNARY if len(UNARY[case][1]) == 4 and case != "ip axis 0"])
def test_behind_a_convolution(case: str, phase: int) -> None:
    """Sources in whatever layout a convolution prefers, in between two of them."""
    settings, _ = UNARY[case]
    shape = (2, 16, 6, 6)
    ends = 'layer { name: "after" type: "InnerProduct" bottom: "y" top: "z" inner_product_param { num_output: 3 } }\n'
    check_lowered(agree(inputs(shape) + CONV + layer(settings, "c") + ends, phase=phase, passes=2, tolerance=3e-4))


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("frozen", range(4))
@pytest.mark.parametrize("case", ["layer norm", "group norm wide", "instance norm scaled", "scale bias"])
def test_frozen_scale_and_shift(case: str, frozen: int, image: bool) -> None:
    """Blobs that are not learned, with a gradient to the bottom and without."""
    settings, shape = UNARY[case]
    specs = " ".join(f"param {{ lr_mult: {0 if frozen >> i & 1 else 1} }}" for i in range(2))
    check_lowered(agree(inputs(shape, force=image) + layer(f"{settings} {specs}", "x0"), passes=2))


def test_the_documentation_lists_what_is_lowered() -> None:
    text = (Path(__file__).parents[3] / "docs" / "engine_onednn.md").read_text(encoding="utf-8")
    listed = text.split("These have lowerings: ")[1].split(".")[0]
    assert {name for name in layer_types() if find(name)} == set(listed.replace("\n", " ").split(", "))


def test_log() -> None:
    positive = {"x0": np.random.default_rng(1).uniform(0.5, 2, IMAGE).astype(np.float32)}
    for settings in ("", "log_param { base: 10 scale: 2 shift: 0.25 }"):
        check_lowered(agree(inputs(IMAGE) + layer(f'type: "Log" {settings}', "x0"), values=positive))
    settings = 'type: "Power" power_param { power: -0.5 shift: 0.25 }'
    check_lowered(agree(inputs(IMAGE) + layer(settings, "x0"), values=positive))


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ("", 2),
        ("", 4),
        ("coeff: 0.5 coeff: -2 coeff: 1", 3),
        ("operation: PROD", 2),
        ("operation: PROD stable_prod_grad: false", 2),
        ("operation: PROD", 3),
        ("operation: PROD stable_prod_grad: false", 4),
        ("operation: MAX", 2),
        ("operation: MAX", 4),
    ],
)
@pytest.mark.parametrize("blocked", [False, True])
def test_eltwise(settings: str, count: int, blocked: bool) -> None:
    shape = (2, 32, 5, 5)
    text = inputs(*[shape] * count)
    names = [f"x{i}" for i in range(count)]
    if blocked:
        text += CONV
        names[1] = "c"
    text += layer(f'type: "Eltwise" eltwise_param {{ {settings} }}', *names)
    net = agree(text, passes=2, tolerance=1e-4)
    assert notes(net)["case"] == "onednn"
    agree(text, phase=dragon.TEST, tolerance=1e-4)
    net = agree(text.replace("force_backward: true", ""), phase=dragon.TEST, backward=False)
    assert notes(net)["case"] in ("onednn", "in c")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_equal_maxima(count: int) -> None:
    """Many ties of every kind: the gradient goes where the reference sends it."""
    rng = np.random.default_rng(count)
    values = {f"x{i}": rng.integers(0, 3, IMAGE).astype(np.float32) for i in range(count)}
    text = inputs(*[IMAGE] * count) + layer('type: "Eltwise" eltwise_param { operation: MAX }', *values)
    check_lowered(agree(text, values=values, tolerance=0))


@pytest.mark.parametrize("frozen", range(3))
@pytest.mark.parametrize("operation", ["MAX", "PROD"])
def test_eltwise_with_a_bottom_that_needs_no_gradient(operation: str, frozen: int) -> None:
    text = inputs(*[IMAGE] * 3, force=False)
    names = [f"x{i}" for i in range(3)]
    for i in range(3):
        if i != frozen:
            text += layer('type: "Bias"', f"x{i}", top=f"y{i}", name=f"b{i}")
            names[i] = f"y{i}"
    check_lowered(agree(text + layer(f'type: "Eltwise" eltwise_param {{ operation: {operation} }}', *names)))


def test_eltwise_in_place() -> None:
    text = inputs(WIDE, WIDE) + CONV + layer('type: "Eltwise"', "c", "x1", top="c")
    agree(text + layer('type: "ReLU"', "c", top="c", name="r"), passes=2, tolerance=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("channels", [5, 32])
def test_concat_and_slice(axis: int, channels: int) -> None:
    shape = (2, channels, 4, 6)
    text = inputs(shape, shape) + layer(f'type: "Concat" concat_param {{ axis: {axis} }}', "x0", "x1")
    check_lowered(agree(text, passes=2))
    cut = f'layer {{ name: "case" type: "Slice" bottom: "x0" top: "a" top: "b" slice_param {{ axis: {axis} }} }}\n'
    if shape[axis] % 2 == 0:
        check_lowered(agree(inputs(shape) + cut, passes=2))


def test_concat_and_slice_of_blocks() -> None:
    """Convolutions before and behind, edges on and off the blocks of channels."""
    for first, second in ((32, 16), (5, 16), (16, 3)):
        text = inputs((2, 16, 6, 6))
        text += conv("a", "x0", first) + conv("b", "x0", second)
        text += layer('type: "Concat"', "a", "b") + conv("z", "y", 16)
        check_lowered(agree(text, passes=2, tolerance=1e-4))
        text = inputs((2, 16, 6, 6)) + conv("a", "x0", first + second)
        text += (
            'layer { name: "case" type: "Slice" bottom: "a" top: "p" top: "q" '
            f"slice_param {{ slice_point: {first} }} }}\n"
        )
        text += conv("z", "p", 16) + conv("w", "q", 16)
        check_lowered(agree(text, passes=2, tolerance=1e-4))


def test_parts_that_nobody_reads() -> None:
    """The diff of an unused top stays what it was."""
    text = inputs((2, 6, 4, 4)) + 'layer { name: "case" type: "Slice" bottom: "x0" top: "a" top: "b" top: "c" }\n'
    check_lowered(agree(text + layer('type: "Sigmoid"', "b", name="s"), passes=2))


@pytest.mark.parametrize("bias", ["", "scale_param { bias_term: true }"])
@pytest.mark.parametrize("operand", [(2,), (2, 5), (2, 5, 4, 6), ()])
def test_scale_and_bias_by_a_bottom(bias: str, operand: tuple[int, ...]) -> None:
    kind = "Scale" if bias or len(operand) != 2 else "Bias"
    settings = bias.replace("}", " axis: 0 }") if bias else f"{kind.lower()}_param {{ axis: 0 }}"
    text = inputs(IMAGE, operand) + layer(f'type: "{kind}" {settings}', "x0", "x1")
    check_lowered(agree(text, passes=2))


LABELS = np.array([0, 3, 1, 255, 4, 2], np.float32)


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "loss_weight: 0.5",
        "loss_param { ignore_label: 255 }",
        "loss_param { ignore_label: 255 normalization: FULL }",
        "loss_param { ignore_label: 255 normalization: BATCH_SIZE }",
        "loss_param { ignore_label: 255 normalization: NONE } loss_weight: 2",
    ],
)
@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("second_top", [False, True])
def test_softmax_loss(settings: str, spatial: bool, second_top: bool) -> None:
    labels = LABELS if "ignore" in settings else np.minimum(LABELS, 4)
    shape: tuple[int, ...] = (2, 5, 3, 1) if spatial else (6, 5)
    labels = labels.reshape(2, 1, 3, 1) if spatial else labels
    top = 'top: "p"' if second_top else ""
    weight = "loss_weight: 0" if second_top and "loss_weight" in settings else ""
    text = inputs(shape, labels.shape, force=False)
    text += 'layer { name: "w" type: "Scale" bottom: "x0" top: "s" }\n'
    text += layer(f'type: "SoftmaxWithLoss" {top} {settings} {weight}', "s", "x1")
    check_lowered(agree(text, values={"x1": labels}, passes=2))


def test_the_loss_of_no_label_is_no_negative_zero() -> None:
    text = inputs((2, 3), (2,), force=False) + layer(
        'type: "SoftmaxWithLoss" loss_param { ignore_label: 255 normalization: NONE }', "x0", "x1"
    )
    loss = agree(text, values={"x1": np.array([255.0, 255])}).blobs["y"].peek()
    assert loss == 0
    assert not np.signbit(loss)


def test_labels_out_of_range_are_told() -> None:
    text = (
        inputs((2, 3), (2,), force=False)
        + 'layer { name: "case" type: "SoftmaxWithLoss" bottom: "x0" bottom: "x1" top: "y" }'
    )
    with pytest.raises(dragon.DataError, match="label 7 at position"):
        agree(text, values={"x1": np.array([0, 7.0])})


def test_dropout_draws_what_the_reference_draws() -> None:
    from tests.engines.onednn.comparing import fill, make_net

    text = inputs(WIDE) + layer('type: "Dropout"', "x0")
    nets: tuple[Any, ...] = make_net(text, "numpy"), make_net(text, "onednn")
    fill(nets, 1)
    for _ in range(3):
        for net in nets:
            net.run_forward()
        np.testing.assert_array_equal(nets[0].blobs["y"].peek(), nets[1].blobs["y"].peek())


def _fused(net: dragon.Net, first: str) -> str:
    return notes(net)[first].removeprefix("onednn, with ")


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("kind", ["conv", "ip", "ip transposed"])
def test_folding_in_test(kind: str, in_place: bool) -> None:
    """Normalisation, scale, a residual sum and ReLU go into the weights and behind them."""
    transpose = "true" if kind.endswith("transposed") else "false"
    weights = f'type: "InnerProduct" inner_product_param {{ num_output: 32 transpose: {transpose} }}'
    if kind == "conv":
        weights = 'type: "Convolution" convolution_param { num_output: 32 kernel_size: 3 pad: 1 bias_term: false }'
    shape = (2, 32, 5, 5) if kind == "conv" else (4, 32)
    names = ["w"] * 5 if in_place else ["w", "n", "s", "t", "r"]
    text = inputs(shape, force=False) + layer(weights, "x0", top=names[0], name="w")
    text += layer('type: "BatchNorm"', names[0], top=names[1], name="n")
    text += layer('type: "Scale" scale_param { bias_term: true }', names[1], top=names[2], name="s")
    text += layer('type: "Eltwise"', names[2], "x0", top=names[3], name="t")
    text += layer('type: "ReLU" relu_param { negative_slope: 0.1 }', names[3], top=names[4], name="r")
    net = agree(text, phase=dragon.TEST, backward=False, passes=2)
    assert _fused(net, "w") == "n, s, t, r"
    agree(text, phase=dragon.TEST, backward=False, fuse=False)
    agree(inputs(shape) + text.split("\n", 1)[1], phase=dragon.TEST)
    merged = (
        inputs(shape, force=False)
        + layer(weights, "x0", top="w", name="w")
        + layer('type: "BN"', "w", top="w", name="b")
    )
    assert _fused(agree(merged, phase=dragon.TEST, backward=False), "w") == "b"


@pytest.mark.parametrize("neuron", ["ReLU", "Sigmoid", "TanH", "ELU"])
@pytest.mark.parametrize("axis", [1, 2])
def test_neurons_behind_weights_in_training(neuron: str, axis: int) -> None:
    ip = f'type: "InnerProduct" inner_product_param {{ num_output: 16 axis: {axis} }}'
    text = inputs((2, 16, 6, 6)) + CONV + layer(f'type: "{neuron}"', "c", top="c", name="a")
    text += layer(ip, "c", top="y", name="f") + layer(f'type: "{neuron}"', "y", top="y", name="b")
    net = agree(text, passes=2, tolerance=1e-4)
    assert (_fused(net, "c"), _fused(net, "f")) == ("a", "b")
    agree(text, fuse=False, tolerance=1e-4)
