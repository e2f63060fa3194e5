"""Deployed nets of the zoo against the DNN module of OpenCV 4, on the same random weights and input."""

from __future__ import annotations

import gc
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon import TEST, Net
from dragon.bases.layer import Layer
from dragon.bases.weighted import Weighted
from dragon.models.facts import ROOT
from dragon.models.generate import MODELS
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, read_net
from dragon.surgery.merge import split
from dragon.surgery.model import Model

BOUND = 1e-5  # of the largest difference, relative to the largest value


@dataclass(frozen=True)
class Agreement:
    """How far OpenCV's outputs are from ours, relative to the largest value; or why it does not take the net."""

    difference: float | None
    why: str = ""


def compare(name: str, cv2: ModuleType, engine: str = "onednn", seed: int = 1) -> Agreement:
    """Run the deployed net `name` on one input with Dragon and with OpenCV.

    Compared are the outputs and, as a Softmax hides much, what it reads. A merged BN is compared in its split form.
    """
    if MODELS[name].profile:
        return Agreement(None, f"is in the dialect {MODELS[name].profile}")
    definition = as_caffe(read_net(ROOT / name / "deploy.prototxt"))
    net = Net(definition, phase=TEST, engine=engine, seed=seed)
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        draw(layer, rng)
    inputs: dict[str, Any] = {key: rng.standard_normal(net.blobs[key].shape).astype(np.float32) for key in net.inputs}
    wanted = list(net.outputs) + [layer.bottom[0] for layer in definition.layer if layer.type == "Softmax"]
    ours = net.forward(blobs=wanted, **inputs)
    with tempfile.TemporaryDirectory() as folder:
        model, weights = Path(folder, "net.prototxt"), Path(folder, "net.caffemodel")
        model.write_text(format_text(definition), encoding="utf-8")
        net.save(weights)
        net.close()
        del net, layer
        gc.collect()  # a large net's memory before OpenCV reads it once more
        try:
            theirs = run(cv2, model, weights, inputs, wanted)
        except cv2.error as error:
            return Agreement(None, error.err)
    differences = [np.abs(ours[key] - value).max() / np.abs(ours[key]).max() for key, value in theirs.items()]
    return Agreement(float(max(differences)))


def as_caffe(definition: pb.NetParameter) -> pb.NetParameter:
    """The net with BatchNorm and Scale for each merged BN, and without what only Dragon reads."""
    if any(layer.type == "BN" for layer in definition.layer):
        return split(Model(definition), caffe=True)[0].net
    return definition


def draw(layer: Layer, rng: np.random.Generator) -> None:
    """Random values: of variance 1 / fan_in for weights, averages near 0 and 1, gammas near 1.

    Scores then stay so small that Softmax does not enlarge what float32 rounds.
    """
    for k, blob in enumerate(layer.blobs):
        shape = blob.shape
        if isinstance(layer, Weighted) and k == 0:
            values = rng.normal(0, np.sqrt(layer.num_output / blob.count), shape)
        elif layer.type == "BatchNorm":
            values = (rng.normal(0, 0.1, shape), rng.uniform(0.5, 1.5, shape), np.ones(shape))[k]
        elif layer.type == "Scale" and k == 0:
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.normal(0, 0.1, shape)
        blob.data[...] = values


def run(
    cv2: Any, model: Path, weights: Path, inputs: dict[str, NDArray[np.float32]], wanted: list[str]
) -> dict[str, NDArray[np.float32]]:
    """The blobs `wanted` as OpenCV computes them on one thread, without Winograd's convolutions, which round more."""
    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromCaffe(str(model), str(weights))
    net.enableWinograd(False)
    for key, value in inputs.items():
        net.setInput(value, key)
    return dict(zip(wanted, net.forward(wanted), strict=True))
