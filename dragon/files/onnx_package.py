"""The package onnx, imported where ONNX files are read or written."""

from __future__ import annotations

import importlib
from typing import Any

from dragon.errors import UsageError
from dragon.extras import install_command

__all__ = ["onnx_module"]


def onnx_module(name: str = "onnx") -> Any:
    """The package onnx or one of its modules. Raises UsageError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(f"ONNX files need a package: {install_command('onnx')}") from None
