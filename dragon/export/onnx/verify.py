"""Run an ONNX file in another program and compare its outputs with the net's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import UsageError
from dragon.export.onnx.preprocessing import Preprocessing
from dragon.export.samples import sample_inputs
from dragon.graph.net import Net

__all__ = ["RUNTIMES", "largest_difference", "runtime", "verify"]

Values = dict[str, NDArray[Any]]
_SCALES = (0.5, 30.0)
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


RUNTIMES: dict[str, Callable[[], Run]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}


def runtime(name: str) -> Run:
    """What runs a file. Raises UsageError, with what to install, if the package is missing."""
    try:
        return RUNTIMES[name]()
    except ImportError:
        raise UsageError(f"verifying by {name} needs its package: pip install {name}") from None


def verify(
    path: str | os.PathLike[str], net: Net, name: str = "onnxruntime", preprocessing: Mapping[str, Preprocessing] = {}
) -> dict[str, float]:
    """Run a file and its net on the same random inputs; the largest difference of each output.

    It is divided by the output's largest value. The inputs are noise, small and as large as images, since large values
    may saturate a net. preprocessing: what the file does to its inputs before, by name. Raises UsageError without the
    program, or if it cannot run the file.
    """
    run = runtime(name)
    worst = dict.fromkeys(net.outputs, 0.0)
    for scale in _SCALES:
        inputs = sample_inputs(net, scale=scale)
        for key, value in inputs.items():
            net.blobs[key].data[...] = preprocessing[key].apply(value) if key in preprocessing else value
        net.run_forward()
        try:
            found = run(str(path), inputs)
        except Exception as error:
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UsageError(f"{path}: {name} cannot run it: {line}") from error
        for key, value in net.output_values().items():
            worst[key] = max(worst[key], largest_difference(found[key], value))
    return worst


def largest_difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference, divided by the largest expected value; infinite for other shapes or NaN in one only."""
    if found.shape != expected.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        distance = np.where(np.isnan(found) & np.isnan(expected), 0, np.abs(found - expected.astype(np.float64)))
    distance = np.where(found == expected, 0, distance)
    scale = float(np.abs(expected).max(where=np.isfinite(expected), initial=0.0))
    worst = float(np.where(np.isnan(distance), np.inf, distance).max(initial=0.0))
    return worst / scale if scale else worst
