"""Losses by kernels of ours, and that a label which is no class is an error."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError
from tests.engines.cuda.running import by_kernels, fill, inputs, layer, make, same

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(61)
SHAPES = [(5, 3), (3, 4, 7, 11), (2, 700)]
GRADIENT = "propagate_down: true propagate_down: false loss_weight: 0.7"


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def labels(n: int, classes: int) -> np.ndarray:
    return RANDOM.integers(0, classes, n).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_euclidean_loss(shape: tuple[int, ...]) -> None:
    text = inputs({"x": shape, "w": shape}) + layer("EuclideanLoss", 'bottom: "w" loss_weight: 0.7')
    by_kernels(same(text, {"x": normal(*shape), "w": normal(*shape)}), "one")


@pytest.mark.parametrize("weights", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_smooth_l1_loss(shape: tuple[int, ...], weights: int) -> None:
    names = ["x", "w", "inside", "outside"][: 2 + weights]
    down = "propagate_down: true propagate_down: true " + "propagate_down: false " * weights
    settings = " ".join(f'bottom: "{name}"' for name in names[1:])
    text = inputs(dict.fromkeys(names, shape))
    text += layer("SmoothL1Loss", f"{settings} {down} smooth_l1_loss_param {{ sigma: 1.5 }}")
    by_kernels(same(text, {name: normal(*shape) for name in names}), "one")


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("shape", SHAPES)
def test_sigmoid_cross_entropy_loss(shape: tuple[int, ...], normalization: str) -> None:
    target = RANDOM.integers(0, 2, shape).astype(np.float32)
    target.flat[::5] = -1
    settings = f'bottom: "t" {GRADIENT} loss_param {{ ignore_label: -1 normalization: {normalization} }}'
    text = inputs({"x": shape, "t": shape}) + layer("SigmoidCrossEntropyLoss", settings)
    by_kernels(same(text, {"x": 30 * normal(*shape), "t": target}), "one")


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("shape", [(5, 3), (9, 4, 13)])
def test_hinge_loss(shape: tuple[int, ...], norm: str) -> None:
    label = labels(shape[0], shape[1])
    settings = f'bottom: "label" {GRADIENT} hinge_loss_param {{ norm: {norm} }}'
    text = inputs({"x": shape, "label": label.shape}) + layer("HingeLoss", settings)
    by_kernels(same(text, {"x": normal(*shape), "label": label}), "one")


def test_multinomial_logistic_loss() -> None:
    x, label = RANDOM.dirichlet(np.ones(7), 300).astype(np.float32), labels(300, 7)
    x[0, int(label[0])] = 0
    settings = f'bottom: "label" {GRADIENT}'
    text = inputs({"x": x.shape, "label": label.shape}) + layer("MultinomialLogisticLoss", settings)
    by_kernels(same(text, {"x": x, "label": label}), "one")


@pytest.mark.parametrize("shape", [(300, 5), (3, 5, 7, 2)])
def test_infogain_loss(shape: tuple[int, ...]) -> None:
    label = RANDOM.integers(0, 5, (shape[0], *shape[2:])).astype(np.float32)
    settings = f'bottom: "label" bottom: "gains" {GRADIENT} propagate_down: false loss_param {{ ignore_label: 2 }}'
    text = inputs({"x": shape, "label": label.shape, "gains": (5, 5)}) + layer("InfogainLoss", settings)
    values = {"x": normal(*shape), "label": label, "gains": RANDOM.random((5, 5)).astype(np.float32)}
    by_kernels(same(text, values), "one")


@pytest.mark.parametrize("legacy", ["true", "false"])
@pytest.mark.parametrize("shape", [(7, 3), (300, 5, 9)])
def test_contrastive_loss(shape: tuple[int, ...], legacy: str) -> None:
    a, b, similar = normal(*shape), normal(*shape), labels(shape[0], 2)
    margin = np.sqrt(2 * a[0].size)
    settings = f'bottom: "b" bottom: "s" contrastive_loss_param {{ margin: {margin} legacy_version: {legacy} }}'
    settings += " propagate_down: true propagate_down: true propagate_down: false"
    text = inputs({"x": shape, "b": shape, "s": similar.shape}) + layer("ContrastiveLoss", settings)
    by_kernels(same(text, {"x": a, "b": b, "s": similar}), "one")


@pytest.mark.parametrize("kind", ["HingeLoss", "MultinomialLogisticLoss", "InfogainLoss"])
def test_a_label_that_is_no_class(kind: str) -> None:
    gains = 'bottom: "gains"' if kind == "InfogainLoss" else ""
    text = inputs({"x": (4, 3), "label": (4,), "gains": (3, 3)}) + layer(kind, f'bottom: "label" {gains}')
    messages = []
    for engine in ("numpy", "cuda"):
        net = make(text, engine)
        fill(net, {"x": np.full((4, 3), 0.5, np.float32), "gains": np.eye(3), "label": np.array([0, 1, 3, 9])})
        with pytest.raises(DataError) as caught:
            net.run_forward()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("classes", [511, 512, 1000])
@pytest.mark.parametrize("kind", ["Softmax", "SoftmaxWithLoss"])
def test_rows_of_many_classes(kind: str, classes: int) -> None:
    """A warp or a block for each row; more rows than one of each."""
    shape, label = (21, classes), labels(21, classes)
    text = inputs({"x": shape} | ({"label": label.shape} if "Loss" in kind else {}))
    text += layer(kind, f'bottom: "label" {GRADIENT}' if "Loss" in kind else "")
    values = {"x": 5 * normal(*shape)} | ({"label": label} if "Loss" in kind else {})
    by_kernels(same(text, values), "one")
