"""The packages of the extra `onnx`, imported where they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from dragon.errors import UsageError
from dragon.extras import install_command

__all__ = ["onnx_module", "onnxruntime_or_none"]


def onnx_module(name: str = "onnx") -> Any:
    """The package onnx or one of its modules. Raises UsageError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(f"ONNX files need a package: {install_command('onnx')}") from None


def onnxruntime_or_none() -> Any:
    """The package onnxruntime; None where it is not installed."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        return None
