"""Reads the values of a PyTorch state_dict: from a .safetensors file, or from one that torch.save wrote."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dragon.errors import MissingWeightsError, WeightsError, one_line
from dragon.export.torch.state import Array
from dragon.extras import install_command
from dragon.files.kinds import PICKLES, SAFETENSORS, is_safetensors, kind_of
from dragon.files.safetensors import read_safetensors

__all__ = ["read_state"]

_NESTED = ("state_dict", "model_state_dict", "model")  # what training scripts call it within a checkpoint
_COUNT = "num_batches_tracked"  # of no use, also where a script made all of a state_dict float16
_PREFIX = "module."  # of DataParallel


def read_state(path: str | Path) -> dict[str, Array]:
    """The floating-point tensors of a file by key, as float32, in the order of the file.

    The keys of a .safetensors file are sorted, numbers in them by value. Nothing of a file that torch.save wrote is
    executed (weights_only). Raises WeightsError.
    """
    if not os.path.isfile(path):
        raise MissingWeightsError(f"{path}: no such weights file")
    if is_safetensors(path) or kind_of(path) == SAFETENSORS:
        stored, metadata = read_safetensors(path)
        if metadata.get("format") == "dragon":
            raise WeightsError(
                f"{path}: expected a state_dict of PyTorch, these are weights as `dragon export --safetensors` writes "
                "them, which every --weights reads"
            )
        # such files are sorted by name: layer.10 comes after layer.9 again
        found: Mapping[str, Any] = {key: stored[key] for key in sorted(stored, key=_natural)}
    else:
        found = _read_torch(path)
    state = {key: np.asarray(value) for key, value in found.items()}
    state = {
        key: value.astype(np.float32, copy=False)
        for key, value in state.items()
        if value.dtype.kind == "f" and not key.endswith(_COUNT)
    }
    if not state:
        raise WeightsError(f"{path}: holds no tensors of floating-point numbers")
    if all(key.startswith(_PREFIX) for key in state):
        state = {key.removeprefix(_PREFIX): value for key, value in state.items()}
    return state


def _natural(key: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", key)]


def _read_torch(path: str | Path) -> dict[str, Any]:
    kind = kind_of(path) or ("a .caffemodel" if str(path).endswith(".caffemodel") else None)
    if kind and kind not in PICKLES:  # which no package would change
        raise WeightsError(f"{path}: expected a state_dict of PyTorch, this is {kind}")
    try:
        import torch
    except ImportError:
        raise WeightsError(f"{path}: to read it takes a package: {install_command('torch')}") from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many types: pickle's, zipfile's, torch's own
        first = one_line(str(error)).split(". ")[0][:200]
        what = f"this is {kind or 'something else'}; it is damaged or holds more than tensors, as a whole module does"
        raise WeightsError(
            f"{path}: expected a state_dict of PyTorch, {what} (write m.state_dict()): {first}"
        ) from None
    for name in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping):
        raise WeightsError(f"{path}: expected a state_dict of PyTorch, got {type(found).__name__}; save m.state_dict()")
    tensors = {
        str(key): value.detach()
        for key, value in found.items()
        if isinstance(value, torch.Tensor) and value.dtype.is_floating_point
    }
    for key, value in tensors.items():
        if value.device.type == "meta":
            raise WeightsError(f'{path}: "{key}" has no values, as tensors of the device meta')
    dense = {key: value if value.layout == torch.strided else value.to_dense() for key, value in tensors.items()}
    return {key: value.to(torch.float32).numpy() for key, value in dense.items()}
