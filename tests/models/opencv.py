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
from dragon.surgery.samples import sample_inputs

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
    definition = as_opencv_reads(read_net(ROOT / name / "deploy.prototxt"))
    net = Net(definition, phase=TEST, engine=engine, seed=seed)
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        draw(layer, rng)
    inputs: dict[str, Any] = {key: rng.standard_normal(net.blobs[key].shape).astype(np.float32) for key in net.inputs}
    # sizes of images and indices of words are no noise
    inputs |= {key: value for key, value in sample_inputs(net, seed).items() if value.ndim < 4}
    wanted = compared(definition, list(net.outputs))
    ours = net.forward(blobs=wanted, **inputs)
    with tempfile.TemporaryDirectory() as folder:
        model, weights = Path(folder, "net.prototxt"), Path(folder, "net.caffemodel")
        text = format_text(definition).replace("round_mode: FLOOR", "ceil_mode: false")  # the name that OpenCV knows
        model.write_text(text, encoding="utf-8")
        net.save(weights)
        net.close()
        del net, layer
        gc.collect()  # a large net's memory before OpenCV reads it once more
        try:
            makers = {top: layer.name for layer in definition.layer for top in layer.top}
            found = run(cv2, model, weights, inputs, [makers[key] for key in wanted])
            theirs = dict(zip(wanted, found, strict=True))
        except cv2.error as error:
            return Agreement(None, error.err)
    differences = [np.abs(ours[key] - value).max() / np.abs(ours[key]).max() for key, value in theirs.items()]
    return Agreement(float(max(differences)))


def compared(definition: pb.NetParameter, outputs: list[str]) -> list[str]:
    """The blobs to compare: the outputs, and what a Softmax reads.

    Boxes are chosen by comparing scores, which one rounding can turn, so what chooses them is compared in their place.
    """
    boxes = [layer for layer in definition.layer if layer.type == "DetectionOutput"]
    chosen = {top for layer in boxes for top in layer.top}
    more = [layer.bottom[0] for layer in definition.layer if layer.type == "Softmax"]
    more += [bottom for layer in boxes for bottom in layer.bottom[:2]]
    return list(dict.fromkeys([*(name for name in outputs if name not in chosen), *more]))


def as_opencv_reads(definition: pb.NetParameter) -> pb.NetParameter:
    """The same net in layers that mean the same to OpenCV.

    A merged BN becomes BatchNorm and Scale. Axpy, of which OpenCV multiplies the third bottom instead of the second,
    becomes Flatten, Scale and Eltwise; HardSigmoid, whose slope is 0.2 there, becomes Power and ReLU6.
    """
    if any(layer.type == "BN" for layer in definition.layer):
        definition = split(Model(definition), caffe=True)[0].net
    layers: list[pb.LayerParameter] = []
    for layer in definition.layer:
        layers += _OTHERS[layer.type](layer) if layer.type in _OTHERS else [layer]
    return pb.NetParameter(name=definition.name, layer=layers)


def _axpy(layer: pb.LayerParameter) -> list[pb.LayerParameter]:
    factor, x, y = layer.bottom
    flat, name = f"{layer.name}/flat", f"{layer.name}/scaled"
    flatten = pb.LayerParameter(name=flat, type="Flatten", bottom=[factor], top=[flat])
    scale = pb.LayerParameter(name=name, type="Scale", bottom=[x, flat], top=[name], scale_param={"axis": 0})
    return [flatten, scale, pb.LayerParameter(name=layer.name, type="Eltwise", bottom=[name, y], top=layer.top)]


def _hard_sigmoid(layer: pb.LayerParameter) -> list[pb.LayerParameter]:
    name, top = layer.name, layer.top
    return [
        pb.LayerParameter(name=f"{name}/shifted", type="Power", bottom=layer.bottom, top=top, power_param={"shift": 3}),
        pb.LayerParameter(name=f"{name}/relu6", type="ReLU6", bottom=top, top=top),
        pb.LayerParameter(name=name, type="Power", bottom=top, top=top, power_param={"scale": 1 / 6}),
    ]


_OTHERS = {"Axpy": _axpy, "HardSigmoid": _hard_sigmoid}


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
) -> list[NDArray[np.float32]]:
    """The tops of the layers `wanted` as OpenCV computes them on one thread.

    Winograd's convolutions, which round more, are off.
    """
    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromCaffe(str(model), str(weights))
    net.enableWinograd(False)
    for key, value in inputs.items():
        net.setInput(value, key)
    return list(net.forward(wanted))
