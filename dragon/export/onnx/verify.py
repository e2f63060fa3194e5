"""Run an ONNX file in another program and compare its outputs with the net's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.recurrent import Carried
from dragon.bases.yolo_output import YoloOutput
from dragon.errors import UsageError, first_line
from dragon.export.onnx.model import output_names
from dragon.export.onnx.preprocessing import Preprocessing
from dragon.graph.net import Net
from dragon.layers.arg_max import ArgMax
from dragon.layers.ctc_greedy_decoder import CTCGreedyDecoder
from dragon.layers.detection_output import DetectionOutput
from dragon.layers.pooling import Pooling
from dragon.layers.proposal import Proposal
from dragon.layers.rcnn_detection_output import RCNNDetectionOutput
from dragon.layers.threshold import Threshold
from dragon.surgery.distance import distances, largest_finite
from dragon.surgery.samples import sample_inputs

__all__ = ["FAR", "RUNTIMES", "SCALES", "Difference", "choosers", "difference", "runtime", "verify"]

Values = dict[str, NDArray[Any]]
SCALES = (0.5, 30.0)
_CHOOSERS = (ArgMax, CTCGreedyDecoder, DetectionOutput, Proposal, RCNNDetectionOutput, Threshold, YoloOutput)
FAR = 1e-3
Run = Callable[[str, Mapping[str, NDArray[Any]]], Values]


def _onnxruntime() -> Run:
    import onnxruntime

    def run(path: str, inputs: Mapping[str, NDArray[Any]]) -> Values:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors: the others are advice about speed
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def _openvino() -> Run:
    import openvino

    def run(path: str, inputs: Mapping[str, NDArray[Any]]) -> Values:
        core = openvino.Core()
        model = core.read_model(path)
        # its default on some processors is a lower precision
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled(dict(inputs))
        # an output may have the names of values that were merged with it, too
        return {name: np.array(found[output]) for output in compiled.outputs for name in output.get_names()}

    return run


@dataclass(frozen=True)
class Difference:
    """largest: relative to the largest value expected. share: of the values that differ by more than `FAR` of it."""

    largest: float
    share: float


RUNTIMES: dict[str, Callable[[], Run]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}


def runtime(name: str) -> Run:
    """What runs a file. Raises UsageError, with what to install, if the package is missing."""
    try:
        return RUNTIMES[name]()
    except ImportError:
        raise UsageError(f"verifying by {name} needs its package: pip install {name}") from None


def verify(
    path: str | os.PathLike[str],
    net: Net,
    name: str = "onnxruntime",
    preprocessing: Mapping[str, Preprocessing] = {},
    scales: Sequence[float] = SCALES,
    samples: Sequence[Mapping[str, NDArray[Any]]] = (),
) -> dict[str, Difference]:
    """Run a file and its net on the same inputs, by default random ones; the largest difference of each output.

    It is divided by the output's largest value. The inputs are noise of each of the standard deviations `scales`, small
    and as large as images, since large values may saturate a net. Recurrent layers begin with states of zeros, as in
    the file. preprocessing: what the file does to its inputs before, by name. samples: inputs in place of the noise, of
    the shapes that the net has: int8 cuts off what is outside the ranges it was calibrated for, as noise may be. Raises
    UsageError without the program, or if it cannot run the file.
    """
    run, names = runtime(name), output_names(net)
    worst = dict.fromkeys(net.outputs, Difference(0.0, 0.0))
    for inputs in samples or (sample_inputs(net, scale=scale) for scale in scales):
        for key, value in inputs.items():
            net.blobs[key].data[...] = preprocessing[key].apply(value) if key in preprocessing else value
        for layer in net.layers:
            if isinstance(layer, Carried):
                layer.carried = []
        net.run_forward()
        try:
            found = run(str(path), inputs)
        except Exception as error:
            raise UsageError(f"{path}: {name} cannot run it: {first_line(error)}") from error
        for key, value in net.output_values().items():
            worst[key] = max(worst[key], difference(found[names[key]], value), key=lambda one: one.largest)
    return worst


def difference(found: NDArray[Any], expected: NDArray[Any]) -> Difference:
    """How far an output is from what was expected; infinitely for other shapes or NaN in one only."""
    if found.shape != expected.shape:
        return Difference(float("inf"), 1.0)
    distance = distances(found, expected) / (largest_finite(expected) or 1.0)
    return Difference(float(distance.max(initial=0.0)), float((distance > FAR).sum() / max(1, distance.size)))


def choosers(net: Net) -> list[str]:
    """Layers that choose between values, where those that are nearly equal may be chosen in the other order."""
    found = []
    for node in net.nodes:
        masked = isinstance(node.layer, Pooling) and len(node.tops) > 1
        if masked or isinstance(node.layer, _CHOOSERS):
            found.append(node.name)
    return found
