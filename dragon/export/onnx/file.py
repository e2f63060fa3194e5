"""ONNX files: checked, then written whole or not at all; large models keep their weights in a second file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from dragon.files.atomic import sync_folder, write_atomically
from dragon.files.onnx_package import onnx_module

__all__ = ["LIMIT", "check", "write_onnx"]

LIMIT = 2**31 - 2**24  # bytes of weights: a protobuf message holds less than 2 GiB


def check(model: Any) -> None:
    """Check a model, or the file at a path, by onnx.checker with full inference of shapes.

    Raises its ValidationError or InferenceError, which would be a fault in Dragon.
    """
    onnx_module().checker.check_model(model, full_check=True)


def write_onnx(model: Any, path: str | os.PathLike[str], limit: int = LIMIT) -> list[str]:
    """Check a model and write it; the paths that were written. Equal models give equal bytes.

    limit: with more bytes of weights than this, they go to a second file, PATH.data, which has to stay beside the
    first. Raises OSError.
    """
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights <= limit:
        check(model)
        write_atomically(path, model.SerializeToString(deterministic=True))
        return [str(path)]
    return _write_two(model, Path(path))


def _write_two(model: Any, path: Path) -> list[str]:
    helper = onnx_module().external_data_helper
    data = path.with_name(f"{path.name}.data")
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        new, new_data = Path(folder) / path.name, Path(folder) / data.name
        with new_data.open("wb") as file:
            for tensor in model.graph.initializer:
                content = tensor.raw_data
                helper.set_external_data(tensor, data.name, file.tell(), len(content))
                tensor.ClearField("raw_data")
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        write_atomically(new, model.SerializeToString(deterministic=True))
        check(str(new))
        # the weights first: a model that exists has its weights
        new_data.replace(data)
        new.replace(path)
    sync_folder(path.parent)
    return [str(path), str(data)]
