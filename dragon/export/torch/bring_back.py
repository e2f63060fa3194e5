"""Weights of a PyTorch state_dict for a net: a Definition with the arrays of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dragon.errors import WeightsError
from dragon.export.deployed import Deployed
from dragon.export.torch.matching import Matched, match
from dragon.export.torch.module import export
from dragon.export.torch.read_state import read_state
from dragon.proto.layer_blobs import without_blobs
from dragon.surgery.model import Model, arrays_of

__all__ = ["bring_back"]


def bring_back(deployed: Deployed, path: str | Path, names: Mapping[str, str]) -> tuple[Model, Matched]:
    """The net with the weights of a state_dict, and how these were matched (see `dragon.export.torch.matching`).

    names: prefixes of the state_dict by layer. Raises WeightsError for a file that cannot be read or does not fit.
    """
    state = read_state(path)
    with deployed.net() as net:
        try:
            matched = match(export(net).entries, state, names)
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from None
        for name, values in matched.blobs.items():
            for index, value in values.items():
                blob = net.params[name][index]
                blob.data[...] = np.asarray(value, np.float32).reshape(blob.shape)
        arrays = arrays_of(net)
    return Model(without_blobs(deployed.definition.message), arrays, deployed.definition.folder), matched
