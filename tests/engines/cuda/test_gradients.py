"""Gradients of the kernels, in float64, against central differences of their own forward."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.graph.net import Net
from tests.engines.cuda.running import inputs, make

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(12)
FILL = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.2 }'
STEP = 1e-5
SHAPE = (3, 4, 4, 5)
LAYERS = {
    "BatchNorm": "",
    "BN": "batch_norm_param { scale_filler { value: 1.3 } bias_filler { value: -0.2 } }",
    "Convolution": f"convolution_param {{ num_output: 6 kernel_size: 3 pad: 1 stride: 2 group: 2 {FILL} }}",
    "Deconvolution": f"convolution_param {{ num_output: 4 kernel_size: 3 stride: 2 {FILL} }}",
    "DepthwiseConvolution": f"convolution_param {{ num_output: 4 kernel_size: 3 group: 4 {FILL} }}",
    "InnerProduct": f"inner_product_param {{ num_output: 3 {FILL} }}",
    "LRN": "lrn_param { local_size: 3 alpha: 2 }",
    "PReLU": "",
    "Pooling": "pooling_param { kernel_size: 3 stride: 2 }",
    "Scale": "scale_param { bias_term: true filler { value: 1.4 } }",
    "Softmax": "",
    "Swish": "",
    "Sigmoid": "",
}


def checked(net: Net, count: int = 12) -> None:
    """Compare `count` elements of every input that is no label, and of every learned blob."""
    tops = [net.blobs[name] for name in net.outputs]
    is_loss = any(any(layer.loss_weights) for layer in net.layers)
    weights = [RANDOM.standard_normal(top.shape) for top in tops]
    learned = [b for layer in net.layers for j, b in enumerate(layer.blobs) if j not in layer.buffers]
    buffers = [b for layer in net.layers for j, b in enumerate(layer.blobs) if j in layer.buffers]
    kept = [b.peek().copy() for b in buffers]

    def forward() -> float:
        for blob, value in zip(buffers, kept, strict=True):
            blob.data[...] = value
        loss = net.run_forward()
        return loss if is_loss else sum(float((w * t.peek()).sum()) for w, t in zip(weights, tops, strict=True))

    for _ in range(3):  # the third is a replay
        forward()
    net.clear_param_diffs()
    if not is_loss:
        for top, weight in zip(tops, weights, strict=True):
            top.diff[...] = weight
    net.run_backward()
    blobs = [net.blobs[name] for name in net.inputs if name != "label"] + learned
    found = [blob.peek_diff().copy() for blob in blobs]
    for blob, diff in zip(blobs, found, strict=True):
        for at in RANDOM.choice(blob.count, min(count, blob.count), replace=False):
            value = float(blob.peek().flat[at])
            sums = []
            for step in (STEP, -STEP):
                blob.data.flat[at] = value + step
                sums.append(forward())
            blob.data.flat[at] = value
            numeric = (sums[0] - sums[1]) / (2 * STEP)
            assert abs(numeric - diff.flat[at]) <= 1e-6 * max(1, abs(numeric))


@pytest.mark.parametrize("kind", LAYERS)
def test_gradient(kind: str) -> None:
    text = "force_backward: true\n" + inputs({"x": SHAPE})
    text += f'layer {{ name: "one" type: "{kind}" bottom: "x" top: "y" {LAYERS[kind]} }}'
    net = make(text, "cuda", dtype=np.float64)
    net.blobs["x"].data[...] = RANDOM.permutation(np.linspace(-2, 2, net.blobs["x"].count)).reshape(SHAPE)
    assert net.executor.describe()[1] == "kernels"
    checked(net)


def test_gradient_of_batch_norm_scale_and_relu_as_one() -> None:
    text = "force_backward: true\n" + inputs({"x": SHAPE})
    text += """
    layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }
    layer { name: "scale" type: "Scale" bottom: "y" top: "y" scale_param { bias_term: true filler { value: 0.7 } } }
    layer { name: "relu" type: "ReLU" bottom: "y" top: "y" relu_param { negative_slope: 0.1 } }
    """
    net = make(text, "cuda", dtype=np.float64)
    net.blobs["x"].data[...] = RANDOM.standard_normal(SHAPE)
    assert net.executor.describe()[1:] == ["kernels, with scale", "in bn", "in bn"]
    checked(net)


def test_gradient_of_softmax_with_loss() -> None:
    text = "force_backward: true\n" + inputs({"x": (5, 6), "label": (5,)})
    text += """layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss" loss_weight: 0.6
                       propagate_down: true propagate_down: false }"""
    net = make(text, "cuda", dtype=np.float64)
    net.blobs["x"].data[...] = RANDOM.standard_normal((5, 6))
    net.blobs["label"].data[...] = RANDOM.integers(0, 6, 5)
    checked(net)
