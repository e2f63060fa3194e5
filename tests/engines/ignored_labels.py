"""Losses whose scores at ignored labels are NaN or infinite: these count no more than numbers there do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dragon

__all__ = ["KINDS", "check", "definition"]

IGNORED = 2
MAP, ITEMS, VALUES = (2, 3), (2,), (2, 4, 3)  # labels: of positions, of items, of each value; scores (2, 4, 3)
# layer type, its settings, shape of the labels
KINDS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "softmax": ("SoftmaxWithLoss", "", MAP),
    "softmax of items": ("SoftmaxWithLoss", "normalization: FULL", ITEMS),
    "softmax with weights": (
        "SoftmaxWithLoss",
        "weight_by_label_freqs: true class_weighting: 1 class_weighting: 2 class_weighting: 0.5 class_weighting: 3",
        MAP,
    ),
    "softmax with hard examples": ("SoftmaxWithLossOHEM", "", MAP),
    "infogain": ("InfogainLoss", "", MAP),
    "focal": ("FocalLoss", "", MAP),
    "focal of targets": ("FocalLoss", "", VALUES),
    "sigmoid": ("SigmoidCrossEntropyLoss", "normalization: VALID", VALUES),
}


def definition(kind: str) -> tuple[str, dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Text of a net, its inputs, and which scores stand at ignored labels."""
    layer, settings, labels = KINDS[kind]
    random = np.random.default_rng(8)
    shapes: dict[str, tuple[int, ...]] = {"x": (2, 4, 3) if len(labels) > 1 else (2, 4), "label": labels}
    values = {
        "x": random.standard_normal(shapes["x"]).astype(np.float32),
        "label": random.integers(0, 2, labels).astype(np.float32),
    }
    values["label"].flat[1::2] = IGNORED
    more = "propagate_down: true propagate_down: false"
    if layer == "InfogainLoss":
        shapes["gains"], values["gains"] = (4, 4), random.random((4, 4)).astype(np.float32)
        more = 'bottom: "gains" ' + more + " propagate_down: false"
    text = "force_backward: true\n" + "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {' '.join(f'dim: {dim}' for dim in shape)} }} }} }}\n"
        for name, shape in shapes.items()
    )
    if layer == "FocalLoss":
        more += " focal_loss_param { alpha: 0.25 }"
    text += (
        f'layer {{ name: "loss" type: "{layer}" bottom: "x" bottom: "label" {more} top: "loss" loss_weight: 0.7 '
        f"loss_param {{ ignore_label: {IGNORED} {settings} }} }}\n"
    )
    ignored = values["label"] == IGNORED
    where = ignored if labels == VALUES else np.expand_dims(ignored, 1)
    return text, values, np.broadcast_to(where, shapes["x"])


def check(kind: str, make: Callable[[str], dragon.Net]) -> None:
    """The loss and its gradient are those of the same net with 0 at ignored labels, and the gradient there is 0."""
    text, values, ignored = definition(kind)
    assert ignored.any()
    assert not ignored.all()
    found = []
    for planted in (0, np.nan, np.inf):
        net = make(text)
        for name, value in values.items():
            net.blobs[name].data[...] = np.where(ignored, planted, value) if name == "x" else value
        with np.errstate(all="ignore"):
            for _ in range(3):  # as it is, captured, replayed
                loss = net.run_forward()
                net.run_backward()
        found.append((loss, net.blobs["x"].peek_diff().copy()))
        net.close()
    (loss, gradient), *others = found
    assert loss > 0
    assert gradient[~ignored].all()
    assert not gradient[ignored].any()
    for other_loss, other_gradient in others:
        # oneDNN leaves a softmax of NaN to NumPy, which rounds otherwise
        np.testing.assert_allclose(other_loss, loss, rtol=1e-6)
        np.testing.assert_allclose(other_gradient, gradient, rtol=1e-6, atol=1e-8)
