"""Every layer with kernels of its own against the NumPy engine: as it is, captured, and replayed from the graph."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.emulation.cudnn import Cudnn
from tests.engines.cuda.running import by_kernels, inputs, layer, same

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(3)
IMAGES = RANDOM.standard_normal((3, 4, 6, 5)).astype(np.float32)
EVEN = RANDOM.standard_normal((2, 5, 4, 4)).astype(np.float32)
ROWS = RANDOM.standard_normal((7, 40)).astype(np.float32)
POSITIVE = (np.abs(IMAGES) + 0.5).astype(np.float32)


FAMILIES = {
    "ReLU": "relu_param { negative_slope: 0.1 }",
    "Sigmoid": "",
    "TanH": "",
    "AbsVal": "",
    "BNLL": "",
    "Clip": "clip_param { min: -0.5 max: 0.7 }",
    "ELU": "elu_param { alpha: 0.8 }",
    "Exp": "exp_param { base: 2 scale: 0.7 shift: 0.1 }",
    "Log": "log_param { base: 3 scale: 1.5 shift: 0.2 }",
    "Power": "power_param { power: 1.7 scale: 0.6 shift: 0.3 }",
    "Mish": "",
    "SeLU": "selu_param { lambda: 1.2 alpha: 0.7 }",
    "Swish": "swish_param { beta: 1.2 }",
    "PReLU": "",
    "ReLU6": "relu6_param { negative_slope: 0.1 }",
    "HardSigmoid": "",
    "HardSwish": "",
    "Threshold": "threshold_param { threshold: 0.2 }",
}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("kind", FAMILIES)
def test_families(kind: str, in_place: bool) -> None:
    x = POSITIVE if kind in ("Log", "Power") else IMAGES
    x = x * 6 if kind in ("ReLU6", "HardSwish", "HardSigmoid") else x  # both bends
    text = inputs({"x": x.shape})
    if in_place:  # behind another layer: an input cannot be overwritten
        text += layer("Power", "power_param { scale: 1 }", top="y", name="copy") + layer(kind, FAMILIES[kind], "y")
    else:
        text += layer(kind, FAMILIES[kind])
    # without a gradient of its own, a layer in place would hand on its top's
    force = not (in_place and kind == "Threshold")
    by_kernels(same(text, {"x": x}, force=force), "one")


def test_negative_slopes_in_place() -> None:
    """Their output does not have the sign of the input, so backward must have kept it."""
    cases = {
        "ReLU": "relu_param { negative_slope: -0.5 }",
        "ELU": "elu_param { alpha: -0.5 }",
        "SeLU": "selu_param { alpha: -0.5 }",
    }
    for settings in cases.items():
        text = inputs({"x": IMAGES.shape}) + layer("Power", "power_param { scale: 1 }", top="y", name="copy")
        by_kernels(same(text + layer(settings[0], settings[1], "y"), {"x": IMAGES}), "one")


@pytest.mark.parametrize("size", [1, 3, 8])
def test_counts_that_are_no_whole_vectors(size: int) -> None:
    x = RANDOM.standard_normal((1, size)).astype(np.float32)
    same(inputs({"x": x.shape}) + layer("TanH"), {"x": x})


BATCH_NORMS = {
    "split": layer("BatchNorm"),
    "merged": layer("BN", "batch_norm_param { average: EMA }"),
    "cumulative": layer("BN", "batch_norm_param { average: CUMULATIVE }"),
    "latest": layer("BN", "batch_norm_param { average: LATEST decay: 0.3 }"),
    "nvidia": layer("BatchNorm", "batch_norm_param { scale_bias: true }"),
    "fork": layer("BN", "bn_param { momentum: 0.8 }"),
    "2016": layer("BatchNorm", 'profile: "dragon-2016" batch_norm_param { decay: 0.6 }'),
    "2017": layer("BN", 'profile: "neopenx"'),
    "in place": layer("Power", "power_param { scale: 1 }", top="y", name="copy") + layer("BN", "", "y"),
}


@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (2, 5, 4, 4), (7, 40), (600, 3), (2, 1, 50, 40), (6,)])
@pytest.mark.parametrize("form", ["split", "merged"])
def test_batch_norm_in_all_shapes(form: str, shape: tuple[int, ...]) -> None:
    x = (RANDOM.standard_normal(shape) * 2 + 30).astype(np.float32)
    by_kernels(same(inputs({"x": shape}) + BATCH_NORMS[form], {"x": x}, tolerance=2e-4), "one")


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("form", BATCH_NORMS)
def test_batch_norm_in_all_forms(form: str, phase: int) -> None:
    by_kernels(same(inputs({"x": IMAGES.shape}) + BATCH_NORMS[form], {"x": IMAGES}, phase=phase, tolerance=1e-4), "one")


@pytest.mark.parametrize("relu", ["", layer("ReLU", "", "y", "y", "relu")])
@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (2, 5, 4, 4), (9, 33)])
def test_batch_norm_with_what_follows_in_place(shape: tuple[int, ...], relu: str) -> None:
    x = RANDOM.standard_normal(shape).astype(np.float32)
    scale = layer("Scale", "scale_param { bias_term: true filler { value: 0.8 } bias_filler { value: 0.1 } }", "y", "y",
                  "scale")  # fmt: skip
    net = same(inputs({"x": shape}) + layer("BatchNorm") + scale + relu, {"x": x}, tolerance=1e-4, compare_diffs=False)
    notes = net.executor.describe()
    assert notes[1] == "kernels, with scale"
    assert notes[2] == "in one"


def test_statistics_as_constants_with_what_follows_in_place() -> None:
    norm = layer("BatchNorm", "batch_norm_param { gradient_through_statistics: false }")
    text = inputs({"x": EVEN.shape}) + norm + layer("Scale", "", "y", "y", "scale")
    net = same(text + layer("ReLU", "", "y", "y", "relu"), {"x": EVEN}, tolerance=1e-4, compare_diffs=False)
    assert net.executor.describe()[1] == "kernels, with scale"


def test_ghost_batches_are_fused_with_nothing() -> None:
    norm = layer("BatchNorm", "batch_norm_param { ghost_batch: 2 }")
    text = inputs({"x": EVEN.shape}) + norm + layer("Scale", "", "y", "y", "scale")
    net = same(text + layer("ReLU", "", "y", "y", "relu"), {"x": EVEN}, tolerance=1e-4)
    assert net.executor.describe()[1:3] == ["array code", "kernels"]


def test_without_fusing_every_diff_is_there() -> None:
    text = inputs({"x": EVEN.shape}) + layer("BatchNorm") + layer("Scale", "", "y", "y", "scale")
    text += layer("ReLU", "", "y", "y", "relu")
    by_kernels(same(text, {"x": EVEN}, fuse=False, tolerance=1e-4), "one", "scale", "relu")


def test_a_constant_channel_has_no_variance() -> None:
    x = np.full((4, 2, 5, 5), 1e4, np.float32)
    net = same(inputs({"x": x.shape}) + BATCH_NORMS["split"], {"x": x})
    assert not net.blobs["y"].peek().any()
    assert not net.params["one"][1].peek().any()


@pytest.mark.parametrize(
    "settings",
    [
        "kernel_size: 3 stride: 2",
        "kernel_size: 2 stride: 2",
        "kernel_size: 3 stride: 1 pad: 1",
        "kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 1 pad_w: 0",
        "global_pooling: true",
    ],
)
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling(method: str, settings: str) -> None:
    text = inputs({"x": IMAGES.shape}) + layer("Pooling", f"pooling_param {{ pool: {method} {settings} }}")
    by_kernels(same(text, {"x": IMAGES}), "one")


def test_pooling_with_ties_and_a_mask() -> None:
    x = np.round(IMAGES)
    text = inputs({"x": x.shape}) + layer("Pooling", 'top: "mask" pooling_param { kernel_size: 3 stride: 2 }')
    by_kernels(same(text, {"x": x}), "one")


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_lrn(region: str) -> None:
    text = inputs({"x": IMAGES.shape})
    settings = f"lrn_param {{ local_size: 3 alpha: 2 beta: 0.75 norm_region: {region} }}"
    by_kernels(same(text + layer("LRN", settings), {"x": IMAGES}, tolerance=1e-4), "one")
    copy = layer("Power", "power_param { scale: 1 }", top="y", name="copy")
    by_kernels(same(text + copy + layer("LRN", settings, "y"), {"x": IMAGES}, tolerance=1e-4), "one")


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_dropout_draws_what_numpy_draws(phase: int) -> None:
    x = np.ones((3, 7, 5), np.float32)
    text = inputs({"x": x.shape}) + layer("Dropout", "dropout_param { dropout_ratio: 0.4 }")
    net = same(text, {"x": x}, phase=phase, tolerance=1e-6)
    if phase == TRAIN:
        assert 0 < (net.blobs["y"].peek() == 0).sum() < x.size


@pytest.mark.parametrize(("shape", "axis"), [((5, 7), 1), ((3, 40), 1), ((2, 5, 3, 4), 1), ((2, 3, 4), -1)])
def test_softmax(shape: tuple[int, ...], axis: int) -> None:
    x = RANDOM.standard_normal(shape).astype(np.float32) * 3
    by_kernels(same(inputs({"x": shape}) + layer("Softmax", f"softmax_param {{ axis: {axis} }}"), {"x": x}), "one")


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 3, 4)])
def test_softmax_with_loss(shape: tuple[int, ...], normalization: str) -> None:
    x = RANDOM.standard_normal(shape).astype(np.float32)
    label = RANDOM.integers(0, shape[1], (shape[0], *shape[2:])).astype(np.float32)
    label.flat[0] = 255
    settings = (
        f'bottom: "label" propagate_down: true propagate_down: false loss_weight: 0.7 '
        f"loss_param {{ ignore_label: 255 normalization: {normalization} }}"
    )
    text = inputs({"x": shape, "label": label.shape}) + layer("SoftmaxWithLoss", settings)
    by_kernels(same(text, {"x": x, "label": label}), "one")


def test_softmax_with_weights_of_classes() -> None:
    label = RANDOM.integers(0, 5, (2, 3, 4)).astype(np.float32)
    weights = " ".join(f"class_weighting: {w}" for w in (0.5, 2, 1, 0, 3))
    settings = f'bottom: "label" propagate_down: true propagate_down: false loss_param {{ ignore_label: 4 {weights} '
    text = inputs({"x": (2, 5, 3, 4), "label": label.shape})
    text += layer("SoftmaxWithLoss", settings + "weight_by_label_freqs: true }")
    x = RANDOM.standard_normal((2, 5, 3, 4)).astype(np.float32)
    by_kernels(same(text, {"x": x, "label": label}), "one")


@pytest.mark.parametrize("shape", [(300, 6), (3, 6, 7, 5)])
def test_accuracy_of_each_class(shape: tuple[int, ...]) -> None:
    x = np.round(RANDOM.standard_normal(shape) * 2).astype(np.float32)
    label = RANDOM.integers(0, 5, (shape[0], *shape[2:])).astype(np.float32)  # none of class 5
    text = inputs({"x": shape, "label": label.shape})
    text += layer("Accuracy", 'bottom: "label" top: "each" accuracy_param { ignore_label: 2 }')
    net = same(text, {"x": x, "label": label})
    by_kernels(net, "one")
    assert 0 < net.blobs["each"].peek().max() <= 1


@pytest.mark.parametrize("top_k", [1, 3])
def test_accuracy(top_k: int) -> None:
    x = np.round(RANDOM.standard_normal((9, 6)) * 2).astype(np.float32)
    label = RANDOM.integers(0, 6, 9).astype(np.float32)
    settings = f'bottom: "label" accuracy_param {{ top_k: {top_k} ignore_label: 2 }}'
    by_kernels(
        same(inputs({"x": x.shape, "label": (9,)}) + layer("Accuracy", settings), {"x": x, "label": label}), "one"
    )


CONVOLUTIONS = [
    "num_output: 6 kernel_size: 3",
    "num_output: 4 kernel_size: 3 pad: 1 stride: 2 group: 2",
    "num_output: 8 kernel_size: 1",
    "num_output: 8 kernel_size: 1 group: 4",
    "num_output: 6 kernel_size: 1 stride: 2 bias_term: false",
    "num_output: 4 kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 1 dilation: 2",
    "num_output: 4 kernel_size: 3 pad: 1 group: 4",
]


@pytest.mark.parametrize("settings", CONVOLUTIONS)
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_convolution(kind: str, settings: str) -> None:
    filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.3 }'
    text = inputs({"x": IMAGES.shape}) + layer(kind, f"convolution_param {{ {settings} {filler} }}")
    by_kernels(same(text, {"x": IMAGES}), "one")


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("settings", CONVOLUTIONS)
def test_convolution_by_cudnn(kind: str, settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.engines.cuda.device.cudnn.load_library", Cudnn)
    filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.3 }'
    text = inputs({"x": IMAGES.shape}) + layer(kind, f"convolution_param {{ {settings} {filler} }}")
    same(text, {"x": IMAGES})
    own = "kernel_size: 1 " in settings + " " and "stride" not in settings
    own = own or (kind == "Convolution" and "num_output: 4 kernel_size: 3 pad: 1 group: 4" in settings)
    assert (standin.counts["cudnn"] == 0) == own


def test_convolution_a_few_images_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.engines.cuda.lowerings.filtering.COLUMN_BYTES", 8000)
    text = inputs({"x": IMAGES.shape})
    text += layer("Convolution", 'convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } }')
    same(text, {"x": IMAGES})


@pytest.mark.parametrize("transpose", ["true", "false"])
def test_inner_product(transpose: str) -> None:
    settings = f'num_output: 9 transpose: {transpose} weight_filler {{ type: "xavier" }} bias_filler {{ value: 0.2 }}'
    text = inputs({"x": IMAGES.shape}) + layer("InnerProduct", f"inner_product_param {{ {settings} }}")
    by_kernels(same(text, {"x": IMAGES}), "one")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scale_and_bias(axis: int) -> None:
    scale = layer("Scale", f"scale_param {{ axis: {axis} num_axes: 1 bias_term: true filler {{ value: 1.5 }} }}")
    bias = layer("Bias", f"bias_param {{ axis: {axis} num_axes: 1 filler {{ value: 0.5 }} }}", "y", "z", "two")
    by_kernels(same(inputs({"x": IMAGES.shape}) + scale + bias, {"x": IMAGES}, tolerance=1e-4), "one", "two")


def test_sums_of_blobs_and_of_their_gradients() -> None:
    text = inputs({"x": EVEN.shape, "w": EVEN.shape})
    text += layer("TanH", name="a", top="a") + layer("Sigmoid", name="b", top="b") + layer("ReLU", name="c", top="c")
    text += layer("Eltwise", 'bottom: "b" bottom: "c" eltwise_param { coeff: 1 coeff: -2 coeff: 0.5 }', "a")
    by_kernels(same(text, {"x": EVEN, "w": EVEN}), "one")


@pytest.mark.parametrize("bottoms", [2, 3, 5])
@pytest.mark.parametrize("settings", ["PROD", "PROD stable_prod_grad: false", "MAX"])
@pytest.mark.parametrize("shape", [(2, 5, 4, 4), (3, 7, 13)])
def test_products_and_maxima(settings: str, bottoms: int, shape: tuple[int, ...]) -> None:
    """With equal maxima, whose gradient has one receiver."""
    values = {f"x{i}": np.round(RANDOM.standard_normal(shape) * 2).astype(np.float32) for i in range(bottoms)}
    if "PROD" in settings:
        values = {name: value + 0.5 for name, value in values.items()}
    text = inputs(dict.fromkeys(values, shape))
    more = " ".join(f'bottom: "{name}"' for name in list(values)[1:])
    text += layer("Eltwise", f"{more} eltwise_param {{ operation: {settings} }}", "x0")
    by_kernels(same(text, values), "one")
