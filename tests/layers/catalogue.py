"""Every layer type with its options in the form public nets write them, as small nets that any engine can run.

Rows of a further type may stand in the test of its layer, `tests/layers/test_NAME.py`:

    CATALOGUE = {"NAME": [(), ("NAME_param { option: 1 }",)]}  # each (settings, inputs, tops, tolerance), as in Case
    ARRAY_CODE = {"NAME": "why no CUDA kernels"}  # unless it has some
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.layer import find_class
from dragon.bases.no_gradient import NoGradient
from tests.layers.yolo_cases import ROWS, SSD_ROWS

__all__ = ["ARRAY_CODE", "CASES", "Case", "cases"]

Shape = tuple[int, ...]
IMAGE = (2, 6, 5, 4)
FLAT = (3, 5)
VOLUME = (
    "kernel_shape { dim: 2 dim: 3 dim: 2 } stride_shape { dim: 1 dim: 2 dim: 2 } pad_shape { dim: 1 dim: 0 dim: 1 }"
)


@dataclass(frozen=True)
class Case:
    """One layer: `inputs` are shapes (Gaussian values) or named kinds of values (`_special`)."""

    kind: str
    settings: str = ""
    inputs: tuple[Shape | str, ...] = (IMAGE,)
    tops: int = 1
    tolerance: float = 2e-5

    def text(self, in_place: bool = False) -> str:
        """The net: inputs x0, x1, ... and the layer "one" with tops y0, y1, ..."""
        text = "force_backward: true\n"
        for i, shape in enumerate(self.shapes()):
            dims = " ".join(f"dim: {dim}" for dim in shape)
            text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
        bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(self.inputs)))
        tops = 'top: "x0"' if in_place else " ".join(f'top: "y{i}"' for i in range(self.tops))
        stop = "".join(
            f" propagate_down: {'false' if i in _no_gradient(self.kind, given) else 'true'}"
            for i, given in enumerate(self.inputs)
        )
        return text + f'layer {{ name: "one" type: "{self.kind}" {bottoms} {tops}{stop} {self.settings} }}\n'

    def shapes(self) -> list[Shape]:
        return [given if isinstance(given, tuple) else _special(given).shape for given in self.inputs]

    def values(self, seed: int = 0) -> dict[str, NDArray[Any]]:
        """Inputs by name: odd multiples of 2^-9, so that nothing lies on a kink."""
        rng = np.random.default_rng(seed)
        found = {}
        for i, given in enumerate(self.inputs):
            if isinstance(given, tuple):
                found[f"x{i}"] = (np.round(rng.standard_normal(given) * 256) + 0.5) / 256
            else:
                found[f"x{i}"] = _special(given)
        return found


def _special(name: str) -> NDArray[Any]:
    """Labels, probabilities, selectors and regions."""
    rng = np.random.default_rng(len(name))
    if name == "positive":
        return rng.uniform(0.5, 2, IMAGE)
    if name == "unit":  # scores between 0 and 1
        return rng.uniform(0.05, 0.95, FLAT)
    if name == "targets":  # of each score
        return rng.integers(0, 2, FLAT).astype(np.float64)
    if name == "labels":
        return np.array([1.0, 4.0, 0.0])
    if name == "map labels":
        return rng.integers(0, 6, (2, 1, 5, 4)).astype(np.float64)
    if name == "affinities":  # of edges, true ones
        return rng.integers(0, 2, (2, 2, 3, 4)).astype(np.float64)
    if name == "segments":
        return rng.integers(0, 3, (2, 1, 3, 4)).astype(np.float64)
    if name == "similar":
        return np.array([1.0, 0.0, 1.0])
    if name == "infogain":
        return rng.uniform(0.1, 1, (1, 1, 5, 5))
    if name == "indices":
        return np.array([2.0, 0.0, 0.0, 1.0])
    if name == "selector":
        return np.array([1.0, 0.0, 1.0])
    if name == "rois":
        return np.array([[0, 0, 0, 3, 4], [1, 1, 1, 3, 3]], np.float64)
    if name == "regions of one image":
        low = rng.integers(0, 10, (40, 2))
        return np.concatenate([np.zeros((40, 1)), low, low + rng.integers(1, 9, (40, 2))], axis=1)
    if name == "probabilities of regions":
        return rng.dirichlet(np.ones(3), 40)
    if name == "weights of targets":
        return rng.integers(0, 2, (3, 8)).astype(np.float64)
    if name == "true boxes":  # in pixels, with classes
        return np.array([[1, 2, 9, 12], [10, 3, 18, 9]], np.float64) @ np.eye(4, 5) + [0, 0, 0, 0, 2]
    if name == "boxes of yolo":
        return ROWS
    if name == "grid of yolo":
        found = np.zeros((2, 63))
        found[0, [13, 22, 43, 44, 45, 46]] = [1, 2, 0.5, 0.4, 0.3, 0.2]  # position 4: an object of class 2, its box
        return found
    if name == "boxes of ssd":
        return SSD_ROWS
    if name == "image info":  # height, width and scale
        return np.array([[20.0, 20.0, 1.0]])
    if name == "cont":
        return np.array([[0, 0], [1, 1], [0, 1]], np.float64)
    if name == "cont one":
        return np.array([[1, 0]], np.float64)
    if name == "label sequences":  # (L, N), of 3 steps and 5 classes
        return np.array([[2, 3], [-1, 3], [-1, -1]], np.float64)
    if name == "label rows":  # (N, L)
        return np.array([[2, -1], [1, 2]], np.float64)
    if name == "steps":
        return np.array([3, 1], np.float64)
    if name == "one label":
        return np.array([1, 1], np.float64)
    if name == "objects":  # probabilities of background and object, of the boxes of "prior"
        return rng.dirichlet(np.ones(2), (2, 3)).reshape(2, 6)
    if name == "prior":
        corners = np.array([[0.1, 0.1, 0.4, 0.5], [0.3, 0.2, 0.9, 0.8], [0.0, 0.5, 0.5, 1.0]])
        return np.stack([corners.ravel(), np.tile([0.1, 0.1, 0.2, 0.2], 3)])[None]
    if name == "offsets":
        return rng.standard_normal((2, 12)) / 8
    if name == "boxes":  # as AnnotatedData labels images
        return np.array([[0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0], [1, 2, 0, 0.3, 0.3, 0.9, 0.9, 1]]).reshape(1, 1, 2, 8)
    if name == "detections":  # as DetectionOutput finds them
        return np.array(
            [[0, 1, 0.9, 0.1, 0.1, 0.5, 0.6], [1, 1, 0.25, 0, 0, 0.5, 0.5], [1, 2, 0.5, 0.25, 0.25, 1, 1]]
        ).reshape(1, 1, 3, 7)
    if name == "confidence":
        return rng.uniform(0, 1, (2, 9))
    if name == "mask":
        return np.array([[0, 3, 9, 11], [1, 2, 8, 15]], np.float64).reshape(1, 2, 2, 2)
    raise KeyError(name)


# bottoms through which these pass no gradient, besides the special values
_NONE = {"Accuracy", "Silence"}  # besides those that derive from NoGradient


def _no_gradient(kind: str, given: Shape | str) -> set[int]:
    everything = set(range(9))
    label = kind in ("SigmoidCrossEntropyLoss", "SmoothL1Loss")
    passes = isinstance(given, tuple) or given == "positive" or (given == "unit" and not label)
    cls = find_class(kind)
    none = kind in _NONE or (cls is not None and issubclass(cls, NoGradient))
    return everything if none or not passes else set()


FILLER = 'weight_filler { type: "gaussian" std: 0.3 }'
W = f"num_output: 4 {FILLER}"

_TABLE: dict[str, list[tuple[Any, ...]]] = {
    "AbsVal": [()],
    "Accuracy": [
        ("", (FLAT, "labels")),
        ("accuracy_param { top_k: 2 ignore_label: 0 }", (FLAT, "labels")),
        ("accuracy_param { axis: 1 }", (IMAGE, "map labels")),
        ("", (FLAT, "labels"), 2),
    ],
    "Add": [("", (IMAGE, IMAGE)), ("", (IMAGE, IMAGE, IMAGE))],
    "ArgMax": [
        (),
        ("argmax_param { axis: 1 }",),
        ("argmax_param { top_k: 2 out_max_val: true }",),
        ("argmax_param { axis: -1 top_k: 2 out_max_val: true }",),
    ],
    "Axpy": [("", ((2, 6), IMAGE, IMAGE)), ("", ((2, 6, 1, 1), IMAGE, IMAGE))],
    "BN": [
        (),
        ("batch_norm_param { eps: 1e-3 decay: 0.9 average: CAFFE }",),
        ("batch_norm_param { ghost_batch: 2 }", ((5, 3, 2, 3),)),
        ("batch_norm_param { gradient_through_statistics: false }",),
        ("batch_norm_param { use_global_stats: true }",),
        ("bn_param { slope_filler { value: 2 } bias_filler { value: 0.1 } momentum: 0.9 }",),
        ("bn_param { frozen: true }",),
        ("bn_param { scale_filler { value: 2 } shift_filler { value: 0.1 } }",),
        ("bn_param { scale_filler { value: 2 } shift_filler { value: 0.1 } bn_mode: INFERENCE }",),
        ('profile: "neopenx" scale_param { filler { value: 2 } bias_filler { value: 0.1 } }',),
    ],
    "BNLL": [()],
    "Softplus": [()],
    "BatchNorm": [
        (),
        ("batch_norm_param { use_global_stats: true }",),
        ("batch_norm_param { scale_bias: true eps: 1e-3 scale_filler { value: 2 } bias_filler { value: 1 } }",),
        ("", ((6, 5),)),
        ("", ((2, 3, 4, 2, 3),)),
        ("batch_norm_param { ghost_batch: 1 gradient_through_statistics: false }",),
        ("batch_norm_param { gradient_through_statistics: false }",),
        ('profile: "dragon-2016"',),
        ('profile: "dragon-2016" batch_norm_param { decay: 0.5 eps: 0.01 use_global_stats: false }',),
        ('profile: "neopenx"',),
    ],
    "BatchReindex": [("", ((3, 2, 2), "indices"))],
    "BatchRenorm": [
        (),
        ("batch_renorm_param { r_max: 2 d_max: 3 step_to_init: 1 step_to_r_max: 2 step_to_d_max: 2 }",),
    ],
    "Bias": [
        ("bias_param { filler { value: 2 } }",),
        ("bias_param { axis: 2 num_axes: 2 }",),
        ("bias_param { axis: 0 num_axes: -1 }",),
        ("bias_param { axis: 1 }", (IMAGE, (6, 5))),
    ],
    "Clip": [("clip_param { min: -0.5 max: 0.75 }",)],
    "Concat": [
        ("", (IMAGE, IMAGE)),
        ("concat_param { axis: 0 }", (IMAGE, IMAGE)),
        ("concat_param { concat_dim: 1 }", (IMAGE, (2, 3, 5, 4))),
        ("concat_param { axis: -1 }", (IMAGE, IMAGE, IMAGE)),
        ("", (IMAGE,)),
    ],
    "ContrastiveLoss": [
        ("contrastive_loss_param { margin: 2 }", (FLAT, FLAT, "similar")),
        ("contrastive_loss_param { margin: 2 legacy_version: true }", (FLAT, FLAT, "similar")),
    ],
    "Convolution": [
        (f"convolution_param {{ {W} kernel_size: 3 pad: 1 stride: 2 }}",),
        (
            f"convolution_param {{ {W} kernel_h: 3 kernel_w: 1 pad_h: 1 pad_w: 0 stride_h: 2 stride_w: "
            f"1 bias_term: false }}",
        ),
        (
            f"convolution_param {{ {W} kernel_size: 2 kernel_size: 3 dilation: 2 pad: 2 pad: 3 group: 2 "
            f"engine: CUDNN }}",
        ),
        (f"convolution_param {{ {W} kernel_size: 3 pad_l: 1 pad_t: 2 pad_r: 0 pad_b: 1 }}",),
        (f"convolution_param {{ {W} kernel_size: 2 }}", ((2, 3, 4, 3, 3),)),
        (f"convolution_param {{ {W} kernel_size: 2 }}", ((2, 3, 7),)),
        (f"convolution_param {{ {W} kernel_size: 1 axis: 1 force_nd_im2col: true }}", (IMAGE, IMAGE), 2),
        (f"convolution_param {{ {W} kernel_size: 2 axis: 2 }}", ((2, 2, 3, 4, 3),)),
    ],
    "ConvolutionDepthwise": [(f"convolution_param {{ num_output: 6 {FILLER} kernel_size: 3 pad: 1 }}",)],
    "Crop": [
        ("crop_param { axis: 2 offset: 1 offset: 0 }", (IMAGE, (2, 6, 3, 3))),
        ("crop_param { axis: 2 offset: 1 }", (IMAGE, (2, 6, 3, 3))),
        ("crop_param { axis: -3 offset: 1 offset: 2 offset: 1 }", (IMAGE, (1, 3, 3, 2))),
        ("", (IMAGE, (2, 6, 3, 3))),
    ],
    "Deconvolution": [
        (f"convolution_param {{ {W} kernel_size: 4 stride: 2 pad: 1 }}",),
        (
            "convolution_param { num_output: 6 group: 6 kernel_size: 4 stride: 2 pad: 1 bias_term: "
            'false weight_filler { type: "bilinear" } }',
        ),
        (f"convolution_param {{ {W} kernel_size: 2 dilation: 2 }}",),
    ],
    "DepthwiseConvolution": [
        (f"convolution_param {{ num_output: 6 {FILLER} kernel_size: 3 stride: 2 group: 6 }}",),
        (f"convolution_param {{ num_output: 6 {FILLER} kernel_size: 3 pad: 1 bias_term: false }}",),
    ],
    "DetectionOutput": [
        (
            "detection_output_param { num_classes: 3 share_location: true background_label_id: 0 "
            "nms_param { nms_threshold: 0.45 top_k: 400 } code_type: CENTER_SIZE keep_top_k: 200 "
            "confidence_threshold: 0.01 }",
            ("offsets", "confidence", "prior"),
        ),
        (
            "detection_output_param { num_classes: 3 variance_encoded_in_target: true "
            "confidence_threshold: 0.5 nms_param { eta: 0.9 } }",
            ("offsets", "confidence", "prior"),
        ),
        (
            "detection_output_param { num_classes: 3 code_type: CENTER_SIZE objectness_score: 0.3 }",
            ("offsets", "confidence", "prior", "objects", "offsets"),
        ),
    ],
    "Dropout": [
        (),
        ("dropout_param { dropout_ratio: 0.2 }",),
        ("dropout_param { dropout_ratio: 0.2 scale_train: false }",),
    ],
    "DummyData": [
        (
            'dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } data_filler { type: "uniform" '
            "min: -1 max: 1 } data_filler { value: 1 } }",
            (),
            2,
        ),
        ("dummy_data_param { num: 2 channels: 3 height: 4 width: 5 }", ()),
    ],
    "ELU": [(), ("elu_param { alpha: 0.5 }",)],
    "Eltwise": [
        ("", (IMAGE, IMAGE)),
        ("eltwise_param { operation: SUM coeff: 1 coeff: -0.5 }", (IMAGE, IMAGE)),
        ("eltwise_param { operation: PROD }", (IMAGE, IMAGE, IMAGE)),
        ("eltwise_param { operation: PROD stable_prod_grad: false }", (IMAGE, IMAGE)),
        ("eltwise_param { operation: MAX }", (IMAGE, IMAGE, IMAGE)),
    ],
    "Embed": [
        (f"embed_param {{ num_output: 3 input_dim: 5 {FILLER} bias_term: true }}", ("labels",)),
        ("embed_param { num_output: 3 input_dim: 5 bias_term: false }", ("labels",)),
    ],
    "EuclideanLoss": [("", (FLAT, FLAT)), ("loss_weight: 0.25", (FLAT, FLAT))],
    "Exp": [(), ("exp_param { base: 2 scale: 0.5 shift: 0.1 }",)],
    "Filter": [("", ((3, 2), (3, 4), "selector"), 2)],
    "Flatten": [(), ("flatten_param { axis: 0 }",), ("flatten_param { axis: 1 end_axis: -2 }",)],
    "GroupNorm": [
        ("group_norm_param { num_groups: 3 }",),
        ("group_norm_param { num_groups: 2 eps: 1e-3 scale_bias: false }",),
    ],
    "HardSigmoid": [()],
    "HardSwish": [()],
    "HingeLoss": [("", (FLAT, "labels")), ("hinge_loss_param { norm: L2 }", (FLAT, "labels"))],
    "Im2col": [
        ("convolution_param { kernel_size: 3 pad: 1 stride: 2 }",),
        ("convolution_param { kernel_h: 2 kernel_w: 3 dilation: 1 }",),
    ],
    "InfogainLoss": [("", ("unit", "labels", "infogain"))],
    "InnerProduct": [
        (f"inner_product_param {{ {W} }}",),
        (f"inner_product_param {{ {W} transpose: true bias_term: false }}",),
        (f"inner_product_param {{ {W} axis: 2 bias_filler {{ value: 0.5 }} }}",),
        (f"inner_product_param {{ {W} axis: -1 }}",),
    ],
    "InstanceNorm": [(), ("instance_norm_param { scale_bias: true scale_filler { value: 2 } }",)],
    "Interp": [
        ("interp_param { height: 9 width: 7 }",),
        ("interp_param { zoom_factor: 2 }",),
        ("interp_param { shrink_factor: 2 pad_beg: -1 pad_end: 0 }",),
    ],
    "LRN": [
        (),
        ("lrn_param { local_size: 3 alpha: 5e-05 beta: 0.75 k: 2 }",),
        ("lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }",),
    ],
    "LSTM": [
        (f"recurrent_param {{ {W} }}", ((3, 2, 5), "cont")),
        (f"recurrent_param {{ {W} debug_info: false }}", ((3, 2, 5), "cont", (2, 3))),
        (f"recurrent_param {{ {W} expose_hidden: true }}", ((3, 2, 5), "cont", (1, 2, 4), (1, 2, 4)), 3),
    ],
    "LSTMUnit": [("", ((1, 2, 4), (1, 2, 16), "cont one"), 2)],
    "LayerNorm": [(), ("layer_norm_param { axis: -1 scale_bias: false }",)],
    "Log": [("", ("positive",)), ("log_param { base: 10 scale: 2 shift: 0.5 }", ("positive",))],
    "MVN": [(), ("mvn_param { across_channels: true }",), ("mvn_param { normalize_variance: false eps: 1e-6 }",)],
    "Mul": [("", (IMAGE, IMAGE)), ("", (IMAGE, IMAGE, IMAGE))],
    "MultinomialLogisticLoss": [("", ("unit", "labels"))],
    "Normalize": [
        (),
        ('norm_param { across_spatial: false scale_filler { type: "constant" value: 20 } channel_shared: false }',),
        ("norm_param { across_spatial: true channel_shared: true eps: 1e-3 }",),
    ],
    "PReLU": [(), ("prelu_param { channel_shared: true filler { value: 0.1 } }",), ("", (FLAT,))],
    "PSROIPooling": [("psroi_pooling_param { spatial_scale: 1 output_dim: 1 group_size: 2 }", ((2, 4, 5, 4), "rois"))],
    "Pad": [
        ("pad_param { pad_l: 1 pad_r: 2 pad_t: 1 pad_b: 0 value: 3 }",),
        ("pad_param { pad_l: 1 pad_t: 2 mode: REFLECT }",),
        ("pad_param { pad_r: 1 pad_b: 2 mode: EDGE }",),
    ],
    "Parameter": [("parameter_param { shape { dim: 2 dim: 3 } }", ())],
    "Permute": [
        ("permute_param { order: 0 order: 2 order: 3 order: 1 }",),
        ("permute_param { order: 1 }",),
        ("permute_param { order: 0 order: 1 order: 2 order: 3 }",),
        ("permute_param { order: 1 order: 0 order: 2 }", ((2, 3, 4),)),
    ],
    "Pooling": [
        ("pooling_param { kernel_size: 3 stride: 2 }",),
        ("pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",),
        ("pooling_param { pool: AVE global_pooling: true }",),
        ("pooling_param { kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 1 pad_w: 0 round_mode: FLOOR }",),
        ("pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }",),
        ("pooling_param { kernel_size: 2 stride: 2 }", (IMAGE,), 2),
        ("pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }", ("positive",)),
        ("pooling_param { kernel_size: 3 stride: 2 pad_t: 1 pad_l: 2 }",),
        ("pooling_param { pool: AVE kernel_size: 3 stride: 2 pad_b: 2 pad_r: 1 }",),
        ("pooling_param { pool: AVE kernel_size: 4 stride: 3 pad_t: 2 pad_b: 1 }",),
        ("pooling_param { pool: AVE_EXC_PAD kernel_size: 3 stride: 2 pad: 1 }",),
        ("pooling_param { pool: AVE_TF kernel_size: 4 pad_l: 1 pad_r: 2 pad_b: 3 }",),
        ("pooling_param { pool: AVE avg_include_pad: false kernel_size: 3 stride: 2 pad: 2 }",),
        (f"pooling_param {{ {VOLUME} }}", ((2, 3, 4, 5, 4),)),
        (f"pooling_param {{ {VOLUME} }}", ((2, 3, 4, 5, 4),), 2),
        (f"pooling_param {{ pool: AVE {VOLUME} }}", ((2, 3, 4, 5, 4),)),
        (f"pooling_param {{ pool: AVE avg_include_pad: false {VOLUME} }}", ((2, 3, 4, 5, 4),)),
        ("pooling_param { pool: AVE global_pooling: true }", ((2, 3, 4, 5, 4),)),
    ],
    "Power": [
        (),
        ("power_param { power: 2 scale: 0.5 shift: 1 }",),
        ("power_param { scale: -1 }",),
        ("power_param { power: 0 }",),
        ("power_param { power: -0.5 }", ("positive",)),
    ],
    "PriorBox": [
        (
            "prior_box_param { min_size: 2 max_size: 4 aspect_ratio: 2 flip: true clip: false "
            "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }",
            (IMAGE, (2, 3, 20, 16)),
        ),
        (
            "prior_box_param { min_size: 2 min_size: 3 clip: true step: 4 offset: 0.5 img_size: 20 }",
            (IMAGE, (2, 3, 20, 16)),
        ),
    ],
    "RNN": [
        (f"recurrent_param {{ {W} }}", ((3, 2, 5), "cont")),
        (f"recurrent_param {{ {W} expose_hidden: true }}", ((3, 2, 5), "cont", (1, 2, 4)), 2),
        (f"recurrent_param {{ {W} }}", ((3, 2, 5), "cont", (2, 3))),
    ],
    "ROIPooling": [("roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 1 }", (IMAGE, "rois"))],
    "ReLU": [
        (),
        ("relu_param { negative_slope: 0.1 }",),
        ("relu_param { relu6: true }",),
        ("relu_param { engine: CAFFE }",),
    ],
    "ReLU6": [()],
    "Reduction": [
        (),
        ("reduction_param { operation: ASUM axis: 1 coeff: 2 }",),
        ("reduction_param { operation: SUMSQ axis: -1 }",),
        ("reduction_param { operation: MEAN axis: 1 }",),
    ],
    "Reshape": [
        ("reshape_param { shape { dim: 0 dim: -1 } }",),
        ("reshape_param { shape { dim: 0 dim: 3 dim: 2 dim: -1 } }",),
        ("reshape_param { axis: 1 num_axes: 2 shape { dim: 15 dim: 2 } }",),
    ],
    "Reverse": [("reverse_param { axis: 1 }",), ("reverse_param { axis: 0 axis: 3 }",)],
    "SPP": [("spp_param { pyramid_height: 2 }",), ("spp_param { pyramid_height: 3 pool: AVE }", ((2, 2, 8, 9),))],
    "Scale": [
        (),
        ("scale_param { bias_term: true filler { value: 2 } bias_filler { value: 1 } }",),
        ("scale_param { axis: 2 num_axes: 1 }",),
        ("scale_param { axis: 0 num_axes: -1 bias_term: true }",),
        ("scale_param { axis: 0 }", (IMAGE, (2, 6))),
        ("scale_param { axis: 0 bias_term: true }", (IMAGE, (2, 6))),
    ],
    "ShuffleChannel": [("shuffle_channel_param { group: 3 }",), ("shuffle_channel_param { group: 2 }",)],
    "Sigmoid": [()],
    "SigmoidCrossEntropyLoss": [
        ("", (FLAT, "unit")),
        ("loss_param { normalization: FULL }", (FLAT, "unit")),
        ("loss_param { normalize: false ignore_label: 1 }", (FLAT, "unit")),
    ],
    "Silence": [("", (IMAGE, FLAT), 0)],
    "Slice": [
        ("slice_param { axis: 1 slice_point: 2 slice_point: 3 }", (IMAGE,), 3),
        ("", (IMAGE,), 2),
        ("slice_param { slice_dim: 0 }", (IMAGE,), 2),
        ("slice_param { axis: -1 }", (IMAGE,), 4),
    ],
    "SmoothL1Loss": [
        ("", (FLAT, FLAT)),
        ("smooth_l1_loss_param { sigma: 3 }", (FLAT, FLAT, "unit", "unit")),
    ],
    "Softmax": [(), ("softmax_param { axis: -1 }",), ("", (FLAT,))],
    "SoftmaxLoss": [("", (FLAT, "labels"))],
    "SoftmaxWithLoss": [
        ("", (FLAT, "labels")),
        ("loss_param { ignore_label: 1 normalization: FULL }", (IMAGE, "map labels")),
        ("loss_param { normalize: false } softmax_param { axis: 1 } loss_weight: 1", (IMAGE, "map labels"), 1),
        ("loss_param { normalization: NONE } loss_weight: 1 loss_weight: 0", (FLAT, "labels"), 2),
        ("loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 2.5 }", (FLAT, "labels")),
        ("loss_param { normalization: BATCH_SIZE }", (FLAT, "labels")),
    ],
    "Split": [("", (IMAGE,), 2)],
    "Squeeze": [("", ((2, 1, 3, 1),)), ("squeeze_param { axis: 1 }", ((2, 1, 3, 1),))],
    "Swish": [(), ("swish_param { beta: 2 }",)],
    "SyncBN": [()],
    "TanH": [()],
    "Threshold": [("threshold_param { threshold: 0.3 }",)],
    "Tile": [("tile_param { tiles: 3 }",), ("tile_param { axis: 2 tiles: 2 }",)],
    "Upsample": [
        ("upsample_param { scale: 2 }",),
        ("upsample_param { scale: 2 }", ((1, 2, 2, 2), "mask")),
        ("upsample_param { scale_h: 2 scale_w: 3 }",),
        ("upsample_param { scale: 2 upsample_h: 4 upsample_w: 4 }", ((1, 2, 2, 2), "mask")),
    ],
}


def _given_by_tests(name: str) -> dict[str, Any]:
    """What the tests of layers put into a dictionary of this name, together."""
    found: dict[str, Any] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if re.search(rf"^{name}\b.*=", path.read_text(encoding="utf-8"), re.MULTILINE):
            found |= getattr(importlib.import_module(f"{__package__}.{path.stem}"), name)
    return found


def cases() -> Iterator[tuple[str, Case]]:
    """(name, case): the type, and the number of its case."""
    for kind, rows in (_TABLE | _given_by_tests("CATALOGUE")).items():
        for i, row in enumerate(rows):
            yield f"{kind} {i}", Case(kind, *row)


CASES: dict[str, Case] = dict(cases())
ARRAY_CODE: dict[str, str] = _given_by_tests("ARRAY_CODE")
