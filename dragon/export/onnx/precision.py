"""Lower precision: float16, and int8 with scales from calibration, by the tools of the package onnxruntime."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import DataError, UsageError
from dragon.files.onnx_package import onnx_module

__all__ = ["to_float16", "to_int8"]

_NEEDED = "needs the package onnxruntime: pip install onnxruntime"


def to_float16(model: Any) -> Any:
    """The model with weights and arithmetic in float16; inputs and outputs stay float32.

    Values beyond 65504 become the largest float16. Raises UsageError without onnxruntime.
    """
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError:
        raise UsageError(f"float16 {_NEEDED}") from None
    return _sorted(convert_float_to_float16(model, keep_io_types=True))


def _sorted(model: Any) -> Any:
    """The model with each node behind those whose values it reads, as the format demands; otherwise in their order."""
    known = {one.name for one in (*model.graph.input, *model.graph.initializer)} | {""}
    waiting, placed = list(model.graph.node), []
    while waiting:
        later = []
        for node in waiting:
            if known.issuperset(_reads(node)):
                placed.append(node)
                known.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise RuntimeError("the nodes cannot be put in order")
        waiting = later
    del model.graph.node[:]
    model.graph.node.extend(placed)
    return model


def _reads(node: Any) -> set[str]:
    """The values of the graph that a node reads, also inside its body."""
    found = set(node.input)
    for attribute in node.attribute:
        inner = attribute.g.node
        made = {one.name for one in attribute.g.input} | {value for one in inner for value in one.output}
        found |= {value for one in inner for value in _reads(one)} - made
    return found


def to_int8(model: Any, batches: Iterable[Mapping[str, NDArray[Any]]]) -> Any:
    """The model with weights and activations in int8, as QuantizeLinear and DequantizeLinear around float operators.

    batches: values of the inputs by name, from which the scales of activations are taken (smallest and largest value).
    Weights have a scale for each output channel. Raises UsageError without onnxruntime, without a
    batch, or where the net gives NaN or infinity; DataError for such values in a batch.
    """
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError:
        raise UsageError(f"int8 {_NEEDED}") from None

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands the batches over."""

        def __init__(self) -> None:
            self.batches: Iterator[Mapping[str, NDArray[Any]]] = iter(batches)
            self.count = 0

        def get_next(self) -> Any:
            found = next(self.batches, None)
            for name, values in (found or {}).items():
                if not np.isfinite(values).all():
                    raise DataError(f'calibration batch {self.count} of "{name}" holds NaN or infinity')
            self.count += found is not None
            return found and {name: np.asarray(value, np.float32) for name, value in found.items()}

    reader, root = Reader(), logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises to use other tools of its own first
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "int8.onnx")
            try:
                with warnings.catch_warnings(
                    action="ignore", category=RuntimeWarning
                ):  # of NaN, which end in the error
                    quantize_static(
                        model, path, reader, quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
                        nodes_to_exclude=_grouped_deconvolutions(model),
                    )  # fmt: skip
            except AssertionError as error:  # a scale of NaN
                raise UsageError("int8: a value of the net is NaN or infinite on the calibration data") from error
            quantized = onnx_module().load(path)
    finally:
        root.setLevel(level)
    if not reader.count:
        raise UsageError("int8 needs calibration data, and there is none")
    quantized.producer_name, quantized.producer_version = model.producer_name, model.producer_version
    return quantized


def _grouped_deconvolutions(model: Any) -> list[str]:
    """Names of ConvTransposes with groups and a bias, which stay in float32.

    Their weights are (C, outputs of a group, ...), so a scale for each of axis 1 is none for each value of the bias.
    """
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "ConvTranspose"
        and len(node.input) > 2
        and any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    ]
