"""Every option of a layer's parameter message must be read by a layer; what is not is listed here, with the reason.

An option counts as read when a layer's file, or one it imports, mentions it in code: as an attribute of something else
than self (`p.axis`), or as a string (`HasField("axis")`). Files are those that mention the message in the same way.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import dragon
import dragon.layers
from dragon.bases.layer import layer_types
from dragon.proto import dragon_pb2 as pb

LAYERS = Path(dragon.layers.__path__[0])
PACKAGE = Path(dragon.__file__).parent

_MOVED = "old place of a setting of transform_param: reading a net moves it there"
# (message's field, option): why no layer reads it. An `engine` is nowhere read: engines are chosen for whole nets.
MEANINGLESS = {
    ("python_param", "share_in_parallel"): "there is one process and one net",
    ("convolution_param", "force_nd_im2col"): "unfolding is the same for any number of axes",
    ("detection_output_param", "visualize_threshold"): "there is no display; `visualize` is answered by a warning",
    **{
        (f"{name}_param", option): "a ReLU on the top: reading a net writes a ReLU layer in place behind the layer"
        for name, options in {"convolution": ("relu", "negative_slope"), "inner_product": ("relu", "negative_slope"),
                              "batch_norm": ("relu",)}.items()
        for option in options
    },
    **{
        (f"{name}_param", option): "a fork's window over three axes: reading a net writes it as the layer has it"
        for name, options in {
            "convolution": ("kernel_depth", "temporal_stride", "temporal_pad", "filter_group", "kernel_shape",
                            "stride_shape", "pad_shape"),
            "pooling": ("kernel_depth", "temporal_stride", "temporal_pad", "kernel_size_3d", "stride_3d", "pad_3d"),
        }.items()
        for option in options
    },
    ("ctc_loss_param", "loss_calculation_t"): "a step for tests of a fork: each gives the same loss",
    **{
        (f"{name}_param", "side"): "the bottom says it"
        for name in ("region_loss", "yolov3", "yolo_detection_output")
    },
    **{("region_loss_param", option): "of Darknet's data" for option in ("jitter", "absolute", "random")},
    ("yolo_detection_output_param", "label_map_file"): "names of classes, which no layer shows",
    ("focal_loss_param", "beta"): "a setting of type LINEAR, which is refused",
    **{
        ("channel_scale_param", f"{end}_global_scale"): "a setting of global_scale, which is refused"
        for end in ("max", "min", "init")
    },
    ("denseblock_param", "initChannel"): "the bottom says it",
    **{("denseblock_param", option): "of the fork's memory on GPUs" for option in ("gpuIdx", "workspace_MB")},
    ("relu6_param", "relu6"): "the maximum of ReLU6 is 6 anyway",
    **{
        (f"{data}_param", option): _MOVED
        for data in ("data", "image_data", "window_data", "video_data")
        for option in ("scale", "mean_file", "crop_size", "mirror")
    },
    **{("dense_image_data_param", option): _MOVED for option in ("mean_file", "mirror", "crop_width", "crop_height")},
    **{
        ("image_data_param", option): "C3D's of VideoData: reading a net moves it to video_data_param"
        for option in ("new_length", "use_image", "sampling_rate", "use_temporal_jitter", "show_data")
    },
    ("video_data_param", "device_id"): "cameras are not read",
}  # fmt: skip
# messages without a layer, kept so that the files of nets can be read
NO_LAYER: set[str] = set()
# what reads a message that layers hand over whole
HANDED_OVER = {
    "transform_param": ("data/transform.py", "data/detection/transform.py", "bases/source.py", "layers/video_data.py")
}
# files of dragon/bases that read no settings of layers, though layers import them
NO_SETTINGS = {"boxes", "fillers", "foreign_layers", "normalization"}


@cache
def mentions(path: Path) -> frozenset[str]:
    """Names of attributes and strings in the code of a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return frozenset(found)


@cache
def imported(path: Path) -> list[Path]:
    """Files that a layer's file imports and that may read its settings."""
    files = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dragon."):
            parts = node.module.split(".")[1:]
            if parts[0] == "layers":
                files.append(LAYERS / f"{parts[1]}.py")
            elif parts[0] == "bases" and parts[1] not in NO_SETTINGS:
                files.append(PACKAGE / "bases" / f"{parts[1]}.py")
            elif parts[0] == "normalization":
                files.append(PACKAGE / "normalization" / f"{parts[1]}.py")
    return files


@cache
def closure(path: Path) -> frozenset[str]:
    """What a layer's file and its imports mention."""
    seen: set[Path] = set()
    waiting = [path]
    found: set[str] = set()
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            found |= mentions(file)
            waiting += imported(file)
    return frozenset(found)


def readers(field: str) -> list[frozenset[str]]:
    if field in HANDED_OVER:
        return [mentions(PACKAGE / file) for file in HANDED_OVER[field]]
    return [closure(path) for path in sorted(LAYERS.glob("*.py")) if field in closure(path)]


def is_read(files: list[frozenset[str]], option: str) -> bool:
    # a pair such as kernel_h and kernel_w is also read as f"{name}_{side}"
    stem = option[:-2] if option.endswith(("_h", "_w")) else option
    return any(option in file or stem in file for file in files)


def fields() -> list[Any]:
    found = pb.LayerParameter.DESCRIPTOR.fields
    return [f for f in found if f.message_type is not None and f.name.endswith("_param")]


@pytest.mark.parametrize("field", fields(), ids=lambda field: str(field.name))
def test_options_are_read(field: Any) -> None:
    options = [option.name for option in field.message_type.fields if option.name != "engine"]
    files = readers(field.name)
    if field.name in NO_LAYER:
        assert not files, "a layer reads it: take it off the list"
        return
    unread = [o for o in options if (field.name, o) not in MEANINGLESS and not is_read(files, o)]
    assert not unread


def test_lists_name_what_the_schema_has() -> None:
    known = {(field.name, option.name) for field in fields() for option in field.message_type.fields}
    assert known >= set(MEANINGLESS)
    assert {field.name for field in fields()} >= NO_LAYER


def test_an_option_that_nobody_reads_is_found() -> None:
    assert not is_read(readers("eltwise_param"), "an_option_nobody_reads")
    assert not is_read(readers("tile_param"), "pad_beg")


BVLC = (
    "AbsVal Accuracy ArgMax BatchNorm BatchReindex Bias BNLL Clip Concat ContrastiveLoss Convolution Crop Data "
    "Deconvolution Dropout DummyData Eltwise ELU Embed EuclideanLoss Exp Filter Flatten HDF5Data HDF5Output HingeLoss "
    "Im2col ImageData InfogainLoss InnerProduct Input Log LRN LSTM LSTMUnit MemoryData MultinomialLogisticLoss MVN "
    "Parameter Pooling Power PReLU Python Reduction ReLU Reshape RNN Scale Sigmoid SigmoidCrossEntropyLoss Silence "
    "Slice Softmax SoftmaxWithLoss Split SPP Swish TanH Threshold Tile WindowData"
)


@pytest.mark.parametrize("name", BVLC.split())
def test_every_layer_of_caffe_is_there(name: str) -> None:
    assert name in layer_types()
