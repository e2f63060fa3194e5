"""Each kernel on 16-bit activations against float64, with tolerances of a few roundings of the type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.engines.cuda.device.precision import PRECISIONS
from dragon.graph.net import Net
from tests.engines.cuda.conftest import ON_A_GPU
from tests.engines.cuda.emulation.cudnn import Cudnn
from tests.engines.cuda.emulation.sixteen import EPS, narrow, wide
from tests.engines.cuda.running import close, fill, inputs, layer, options_for, parse
from tests.engines.cuda.test_catalogue import behind_the_gpu
from tests.engines.cuda.test_layers import BATCH_NORMS, CONVOLUTIONS, FAMILIES
from tests.layers import catalogue
from tests.layers.rcnn_nets import end_to_end, input_boxes

pytestmark = pytest.mark.usefixtures("cuda")
both = pytest.mark.parametrize("precision", ["bf16", "fp16"])
SHAPES = {"images": (3, 4, 6, 5), "even": (2, 8, 4, 4), "rows": (7, 40)}
FILL = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.3 }'
FILL_EACH = FILL.replace("value: 0.3", 'type: "uniform" min: -1 max: 1')
SCALE = 8.0  # of losses in fp16, so that it has to be taken out again

CASES: dict[str, tuple[str, str]] = {
    **{f"{kind} {shape}": (layer(kind, settings), shape) for kind, settings in FAMILIES.items()
       for shape in (("images", "even") if kind in ("ReLU", "TanH") else ("images",))},
    **{f"batch norm {form} {shape}": (text, shape) for form, text in BATCH_NORMS.items()
       for shape in (("images", "even", "rows") if form in ("split", "merged") else ("images",))},
    **{f"Convolution {s}": (layer("Convolution", f"convolution_param {{ {s} {FILL} }}"), "images")
       for s in CONVOLUTIONS},
    **{f"Deconvolution {s}": (layer("Deconvolution", f"convolution_param {{ {s} {FILL} }}"), "images")
       for s in CONVOLUTIONS},
    **{f"pooling {m} {s}": (layer("Pooling", f"pooling_param {{ pool: {m} {s} }}"), "images")
       for m in ("MAX", "AVE") for s in ("kernel_size: 3 stride: 2", "kernel_size: 2 stride: 1 pad: 1")},
    "norm and relu": (layer("BatchNorm") + layer("Scale", "scale_param { bias_term: true }", "y", "y", "scale")
                      + layer("ReLU", "", "y", "y", "relu"), "even"),
    "Scale": (layer("Scale", "scale_param { bias_term: true filler { value: 1.5 } }"), "even"),
    "Bias": (layer("Bias", "bias_param { filler { value: 0.5 } }"), "images"),
    "LRN": (layer("LRN", "lrn_param { local_size: 3 alpha: 2 }"), "images"),
    "LRN within": (layer("LRN", "lrn_param { local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL }"), "images"),
    "Dropout": (layer("Dropout", "dropout_param { dropout_ratio: 0.4 }"), "even"),
    "InnerProduct": (layer("InnerProduct", f"inner_product_param {{ num_output: 9 {FILL} }}"), "rows"),
    "InnerProduct, bias by 16 bytes": (
        layer("InnerProduct", f"inner_product_param {{ num_output: 16 {FILL_EACH} }}"), "rows"),
    "InnerProduct transposed": (
        layer("InnerProduct", f"inner_product_param {{ num_output: 9 transpose: true {FILL} }}"), "images"),
    "Softmax": (layer("Softmax"), "rows"),
    "Softmax of images": (layer("Softmax"), "images"),
    "Split and sum": (layer("TanH", name="a", top="a") + layer("Sigmoid", name="b", top="b")
                      + layer("Eltwise", 'bottom: "b" eltwise_param { coeff: 1 coeff: -2 }', "a"), "even"),
    "Eltwise product": (layer("TanH", name="a", top="a")
                        + layer("Eltwise", 'bottom: "x" eltwise_param { operation: PROD }', "a"), "even"),
    "Eltwise maximum": (layer("Power", "power_param { scale: -1 }", name="a", top="a")
                        + layer("Eltwise", 'bottom: "x" eltwise_param { operation: MAX }', "a"), "even"),
    "Concat": (layer("Power", "power_param { scale: -1 }", name="a", top="a")
               + layer("Concat", 'bottom: "x"', "a"), "even"),
    "Slice": (layer("Slice", 'top: "z" slice_param { slice_point: 3 }'), "even"),
    "Permute": (layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"), "images"),
    "Tile": (layer("Tile", "tile_param { tiles: 3 }"), "images"),
}  # fmt: skip
LOOSE = {"Power": 8, "Exp": 8, "LRN": 8, "batch norm in place": 8}  # compute on what has been rounded, or amplify it


def pair(text: str, precision: str, phase: int, channels_last: bool = True) -> list[Net]:
    """The net in float64 on the host, and in this precision, with equal weights, all of them `rounded`."""
    definition = parse("force_backward: true\n" + text.removeprefix("force_backward: true\n"))
    options = options_for(precision, channels_last=channels_last)
    exact = Net(definition, phase, engine="numpy", dtype=np.float64, seed=3)
    ours = Net(definition, phase, engine="cuda", seed=3, options=options)
    for source, target in zip(exact.layers, ours.layers, strict=True):
        for j, (a, b) in enumerate(zip(source.blobs, target.blobs, strict=True)):
            value = a.peek() if j in source.buffers else rounded(a.peek(), precision)
            a.data[...] = value
            b.data[...] = value
    if precision == "fp16":
        ours.executor.load_state({"loss_scale": SCALE})
    return [exact, ours]


def rounded(values: Any, precision: str) -> np.ndarray[Any, Any]:
    """Numbers of the 16-bit type; for TF32, whose mantissa is as long, those of fp16."""
    return wide(narrow(values, _type_of(precision)))


def _type_of(precision: str) -> np.dtype[Any]:
    dtype = PRECISIONS["fp16" if precision == "tf32" else precision]
    assert dtype is not None
    return dtype


def rounding_of(precision: str) -> float:
    """The largest relative error of a rounding. The emulation multiplies in float32 where TF32 is allowed."""
    return 2e-6 if precision == "tf32" and not ON_A_GPU else EPS[_type_of(precision)]


def check(
    text: str, values: dict[str, Any], precision: str, factor: float, phase: int = TRAIN, channels_last: bool = True
) -> list[Net]:
    """Both ways; everything agrees up to `factor` roundings of the largest value."""
    nets = pair(text, precision, phase, channels_last)
    for net in nets:
        fill(net, values)
        net.clear_param_diffs()
        net.run_forward()
        random = np.random.default_rng(400)
        for i, made in enumerate(net.layers):
            for name, weight in zip(net.top_names_of(i), made.loss_weights, strict=True):
                if name in net.outputs and not weight:
                    blob = net.blobs[name]
                    blob.diff[...] = rounded(random.standard_normal(blob.shape), precision)
        net.run_backward()
    exact, ours = nets
    tolerance = factor * rounding_of(precision)
    for name in exact.outputs:
        close(name, ours.blobs[name].peek(), exact.blobs[name].peek(), tolerance)
    for name in exact.inputs:
        if name != "label":
            close(f"diff of {name}", ours.blobs[name].peek_diff(), exact.blobs[name].peek_diff(), tolerance)
    for a, b in zip(ours.layers, exact.layers, strict=True):
        for j, (x, y) in enumerate(zip(a.blobs, b.blobs, strict=True)):
            if j in a.buffers:
                close(f"blob {j} of {a.name}", x.peek(), y.peek(), tolerance)
            else:
                close(f"diff of blob {j} of {a.name}", x.peek_diff(), y.peek_diff(), tolerance)
    return nets


def in_16_bits(net: Net, name: str) -> bool:
    executor: Any = net.executor
    return bool(executor.arrays.of(net.blobs[name].data_storage).dtype.itemsize == 2)


def data_of(name: str, shape: str, precision: str) -> np.ndarray[Any, Any]:
    x = np.random.default_rng(6).standard_normal(SHAPES[shape])
    x = np.abs(x) + 0.5 if name.startswith(("Log", "Power")) else x
    return rounded(x * 4 if name.startswith(("ReLU6", "Hard")) else x, precision)


@both
@pytest.mark.parametrize("name", CASES)
def test_kernels(name: str, precision: str) -> None:
    text, shape = CASES[name]
    x = data_of(name, shape, precision)
    factor = next((f for begin, f in LOOSE.items() if name.startswith(begin)), 4)
    nets = check(inputs({"x": x.shape}) + text, {"x": x}, precision, factor)
    assert in_16_bits(nets[1], "x")
    assert in_16_bits(nets[1], "y") == (not name.startswith("Softmax"))


# layers that choose boxes, anchors or signs by the values: both nets choose among the same ones
CHOOSING = (
    "DenseBlock", "GaussianYolov3", "Proposal", "RCNNDetectionOutput", "RegionLoss", "Yolov3", "YoloDetectionOutput",
    "Yolov3DetectionOutput",
)  # fmt: skip


@both
@pytest.mark.parametrize("name", catalogue.CASES)
def test_every_layer(name: str, precision: str) -> None:
    """By kernels for 16 bits or not, behind a layer that has them."""
    case = catalogue.CASES[name]
    values = {name.replace("x", "h"): value for name, value in case.values().items()}
    if case.kind in CHOOSING:
        values = {name: rounded(value, precision) for name, value in values.items()}
    check(behind_the_gpu(case), values, precision, 16)


@both
@pytest.mark.parametrize("form", ["split", "merged"])
def test_normalisation_by_running_statistics(form: str, precision: str) -> None:
    x = data_of("", "even", precision)
    check(inputs({"x": x.shape}) + BATCH_NORMS[form], {"x": x}, precision, 4, phase=TEST)


@both
@pytest.mark.parametrize("shape", ["rows", "images"])
def test_softmax_loss_and_accuracy(shape: str, precision: str) -> None:
    x = data_of("", shape, precision)
    label = np.random.default_rng(2).integers(0, x.shape[1], (x.shape[0], *x.shape[2:])).astype(np.float32)
    text = inputs({"x": x.shape, "label": label.shape})
    text += layer("SoftmaxWithLoss", 'bottom: "label" propagate_down: true propagate_down: false loss_weight: 0.7')
    text += layer("Accuracy", 'bottom: "label"', top="accuracy", name="accuracy")
    exact, ours = check(text, {"x": x, "label": label}, precision, 4)
    assert abs(ours.blobs["y"].peek() - exact.blobs["y"].peek()) < 1e-5  # a loss has no rounding to 16 bits in it
    assert ours.blobs["accuracy"].peek() == pytest.approx(exact.blobs["accuracy"].peek())


@pytest.mark.usefixtures("emulated")
@both
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("settings", CONVOLUTIONS[:3])
def test_convolution_by_cudnn(kind: str, settings: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.engines.cuda.device.cudnn.load_library", Cudnn)
    x = data_of("", "images", precision)
    text = inputs({"x": x.shape}) + layer(kind, f"convolution_param {{ {settings} {FILL} }}")
    check(text, {"x": x}, precision, 4)


@both
def test_convolution_over_three_axes(precision: str) -> None:
    x = rounded(np.random.default_rng(8).standard_normal((2, 3, 4, 5, 4)), precision)
    text = inputs({"x": x.shape}) + layer("Convolution", f"convolution_param {{ num_output: 4 kernel_size: 3 {FILL} }}")
    check(text, {"x": x}, precision, 4)


@both
def test_mask_of_a_pooling_is_float32(precision: str) -> None:
    """bfloat16 cannot represent all positions above 256."""
    x = rounded(np.random.default_rng(8).standard_normal((1, 1, 30, 30)), precision)
    text = inputs({"x": x.shape}) + layer("Pooling", 'top: "mask" pooling_param { kernel_size: 3 stride: 3 }')
    nets = pair(text, precision, TRAIN)
    for net in nets:
        fill(net, {"x": x})
        net.run_forward()
    np.testing.assert_array_equal(nets[1].blobs["mask"].peek(), nets[0].blobs["mask"].peek())
    assert not in_16_bits(nets[1], "mask")


@both
def test_sums_are_taken_in_float32(precision: str) -> None:
    """Neither type represents 4,097, and adding ones up one by one would end at 2,048 or 256."""
    x = np.ones((4097, 1), np.float32)
    text = inputs({"x": x.shape})
    text += layer("InnerProduct", 'inner_product_param { num_output: 1 weight_filler { value: 1 type: "constant" } }')
    net = pair(text, precision, TRAIN)[1]
    fill(net, {"x": x})
    net.clear_param_diffs()
    net.run_forward()
    net.blobs["y"].diff[...] = 1
    net.run_backward()
    assert [float(blob.peek_diff().sum()) for blob in net.params["one"]] == [4097, 4097]
    text = inputs({"x": (1, 1, 90, 90)}) + layer("Pooling", "pooling_param { pool: AVE global_pooling: true }")
    net = pair(text, precision, TRAIN)[1]
    fill(net, {"x": np.ones((1, 1, 90, 90), np.float32)})
    net.run_forward()
    assert net.blobs["y"].peek().item() == 1


@both
def test_coordinates_of_regions_stay_in_float32(precision: str) -> None:
    """In bfloat16 the pixels above 256 would be every second one. Only what is learned has 16 bits."""
    net = Net(parse(end_to_end(input_boxes())), TRAIN, engine="cuda", seed=3, options=options_for(precision))
    boxes = [[4.0, 5, 20, 18, 1], [22.0, 20, 44, 42, 2]]
    image = np.random.default_rng(1).standard_normal((1, 3, 48, 48)).astype(np.float32)
    fill(net, {"data": image, "im_info": np.array([[48.0, 48, 1]]), "gt_boxes": np.array(boxes)})
    net.run_forward()
    names = ("im_info", "gt_boxes", "rpn_rois", "rois", "labels", "bbox_targets", "rpn_bbox_targets", "rpn_labels")
    assert not [name for name in names if in_16_bits(net, name)]
    assert in_16_bits(net, "bbox_pred")
