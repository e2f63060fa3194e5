"""Runs an imported net and the model that it was made of on the same random data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dragon.bases.layer import TEST
from dragon.errors import DragonError, NumericError, UsageError, first_line
from dragon.files.onnx_package import onnx_module
from dragon.importing.convert import Imported
from dragon.importing.graph import Array
from dragon.surgery.distance import distances, largest_finite
from dragon.surgery.prove import build_net

__all__ = ["Comparison", "verify"]

_SEED = 7
_HALF = 1e-2  # for models in 16 bits


@dataclass
class Comparison:
    """The largest difference of an output, the largest value in it, and the program that ran the ONNX model."""

    output: str
    difference: float
    largest: float
    program: str

    @property
    def relative(self) -> float:
        """The difference divided by the largest value, or itself where that is 0."""
        return self.difference / self.largest if self.largest else self.difference


def verify(imported: Imported, tolerance: float = 1e-4) -> list[Comparison]:
    """Compare all outputs of the net, on the NumPy reference in float64, with those of the ONNX model.

    Inputs are Gaussian noise, and 0 or 1 where they are integers. The model is run by ONNX Runtime or, where that is
    not installed, by the reference of the package onnx. tolerance: largest difference, relative to the largest value.
    Raises NumericError for outputs that differ, UsageError where the model cannot be run.
    """
    graph = imported.graph
    try:
        net = build_net(imported.model, TEST, None)
    except DragonError as error:
        error.task, error.hint = "the imported net cannot be run", ""
        raise
    rng = np.random.default_rng(_SEED)
    onnx = onnx_module()
    feeds: dict[str, Array] = {}
    halves = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    half = any(kind in halves for kind in graph.types.values())
    try:
        for name in graph.inputs:
            kind = onnx.helper.tensor_dtype_to_np_dtype(graph.types[name])
            shape = graph.shapes[name]
            floating = np.dtype(kind).kind not in "iub"
            values = rng.standard_normal(shape) if floating else rng.integers(0, 2, shape)
            feeds[name] = values.astype(kind)
            net.blobs[imported.blobs[name]].data[...] = feeds[name].astype(np.float64)
        net.run_forward()
        expected, program = _run(imported.source, feeds)
        found = []
        for name, array in zip(graph.outputs, expected, strict=True):
            mine = net.blobs[imported.blobs[name]].peek()
            if mine.shape != array.shape:
                raise NumericError(f'output "{name}" has shape {mine.shape}, by {program} {array.shape}')
            wide = array.astype(np.float64)
            difference = float(distances(mine, wide).max(initial=0.0))
            found.append(Comparison(name, difference, largest_finite(wide), program))
    finally:
        net.close()
    worst = max(found, key=lambda one: one.relative, default=None)
    if worst is not None and not worst.relative <= (max(tolerance, _HALF) if half else tolerance):
        raise NumericError(
            f'the net differs from the model: output "{worst.output}" by {worst.difference:.3g} of {worst.largest:.3g},'
            f" as run by {program}"
        )
    return found


def _run(model: Any, feeds: dict[str, Array]) -> tuple[list[Array], str]:
    """The outputs of a model, and what ran it."""
    try:
        import onnxruntime as runtime
    except ImportError:
        runtime = None
    try:
        if runtime is not None:
            options = runtime.SessionOptions()
            options.log_severity_level = 4
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.intra_op_num_threads = 1
            session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            return [np.asarray(v) for v in session.run(None, feeds)], "ONNX Runtime"
        evaluator = onnx_module("onnx.reference").ReferenceEvaluator(model)
        return [np.asarray(v) for v in evaluator.run(None, feeds)], "onnx.reference"
    except Exception as error:
        raise UsageError(
            f"the ONNX model cannot be run to compare: {first_line(error)}; --no-verify writes without it"
        ) from None
