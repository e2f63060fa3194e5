"""The same bits in every run, in whatever order blocks and threads come."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.graph.net import Net
from tests.engines.cuda.emulation.compiler import Order, build
from tests.engines.cuda.emulation.standin import RawKernel, zeros
from tests.engines.cuda.running import fill, inputs, layer, make

RANDOM = np.random.default_rng(111)
IMAGES = (5, 6, 17, 19)
FILL = 'weight_filler { type: "gaussian" std: 0.5 }'
DOWN = "propagate_down: true propagate_down: false"


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def whole(most: int, *shape: int) -> np.ndarray:
    return RANDOM.integers(0, most, shape).astype(np.float32)


ROIS = np.concatenate([whole(5, 40, 1), np.sort(whole(40, 40, 4).reshape(40, 2, 2), axis=1).reshape(40, 4)], axis=1)
X = {"x": normal(*IMAGES)}
LABELS = {"x": normal(700, 9), "w": whole(9, 700)}
CASES = {
    "BatchNorm": ("", X),
    "BN": ("", X),
    "GroupNorm": ("group_norm_param { num_groups: 2 }", X),
    "LayerNorm": ("", X),
    "MVN": ("", X),
    "Normalize": ("norm_param { across_spatial: false }", X),
    "Scale": ("scale_param { bias_term: true }", X),
    "PReLU": ("", X),
    "LRN": ("", X),
    "Convolution": (f"convolution_param {{ num_output: 6 kernel_size: 3 group: 6 {FILL} }}", X),
    "Deconvolution": (f"convolution_param {{ num_output: 4 kernel_size: 3 stride: 2 {FILL} }}", X),
    "Pooling": ("pooling_param { pool: AVE kernel_size: 3 stride: 2 }", X),
    "Softmax": ("", X),
    "Reduction": ("reduction_param { axis: 1 }", X),
    "Tile": ("tile_param { tiles: 3 }", X),
    "Interp": ("interp_param { height: 31 width: 33 }", X),
    "Upsample": (
        f'bottom: "w" {DOWN} upsample_param {{ upsample_h: 5 upsample_w: 5 }}',
        {**X, "w": whole(25, *IMAGES)},
    ),
    "Mul": ('bottom: "w"', {**X, "w": normal(1, 6, 1, 19)}),
    "Axpy": ('bottom: "x" bottom: "v"', {"w": normal(5, 6), **X, "v": normal(*IMAGES)}),
    "BatchReindex": (f'bottom: "w" {DOWN}', {**X, "w": whole(5, 77)}),
    "Embed": (f"embed_param {{ input_dim: 9 num_output: 7 {FILL} }} propagate_down: false", {"x": whole(9, 700)}),
    "ROIPooling": (f'bottom: "w" {DOWN} roi_pooling_param {{ pooled_h: 3 pooled_w: 3 }}', {**X, "w": ROIS}),
    "EuclideanLoss": ('bottom: "w"', {**X, "w": normal(*IMAGES)}),
    "SigmoidCrossEntropyLoss": (f'bottom: "w" {DOWN}', {**X, "w": whole(2, *IMAGES)}),
    "SoftmaxWithLoss": (f'bottom: "w" {DOWN}', LABELS),
    "HingeLoss": (f'bottom: "w" {DOWN}', LABELS),
    "Accuracy": (f'bottom: "w" top: "each" {DOWN.replace("true", "false")}', LABELS),
}


def run(text: str, values: dict[str, np.ndarray]) -> Net:
    net = make("force_backward: true\n" + text, "cuda")
    fill(net, values)
    net.clear_param_diffs()
    net.run_forward()
    for name in net.outputs:
        blob = net.blobs[name]
        if not any(any(each.loss_weights) for each in net.layers):
            blob.diff[...] = np.random.default_rng(1).standard_normal(blob.shape)
    net.run_backward()
    return net


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("kind", CASES)
def test_two_runs_give_the_same_bits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, values = CASES[kind]
    names = list(values)
    text = inputs({name: value.shape for name, value in values.items()}) + layer(kind, settings, names[0])
    first = run(text, values)
    monkeypatch.setattr(Order, "backwards", True)
    second = run(text, values)
    assert second.executor.describe()[-1] == "kernels"
    for name, blob in first.blobs.items():
        assert (blob.peek() == second.blobs[name].peek()).all(), name
        assert (blob.peek_diff() == second.blobs[name].peek_diff()).all(), name
    for a, b in zip(first.layers[-1].blobs, second.layers[-1].blobs, strict=True):
        assert (a.peek() == b.peek()).all()
        assert (a.peek_diff() == b.peek_diff()).all()


@pytest.mark.usefixtures("emulated")
def test_a_sum_by_atomics_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other order makes a difference where the order is anybody's."""
    source = 'extern "C" __global__ void total(const float* x, float* y) {\n    atomicAdd(y, x[blockIdx.x]);\n}\n'
    kernel, sums = RawKernel(build(source, "float"), "total"), []
    x = zeros(100, np.float32)
    x.set(normal(100))
    for backwards in (False, True):
        monkeypatch.setattr(Order, "backwards", backwards)
        y = zeros(1, np.float32)
        kernel((100,), (1,), (x, y))
        sums.append(float(y[0]))
    assert sums[0] != sums[1]
    assert abs(sums[0] - sums[1]) < 1e-4
