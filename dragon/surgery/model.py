"""A net's definition with its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import WeightsError, nearest
from dragon.files.atomic import write_atomically
from dragon.proto import dragon_pb2 as pb

__all__ = ["Arrays", "Model", "read_model", "write_model"]

Arrays = list[NDArray[Any]]  # the blobs of one layer


@dataclass
class Model:
    """A definition in the present form and, where weights were given, the arrays of each layer by name."""

    net: pb.NetParameter
    arrays: dict[str, Arrays] = field(default_factory=dict)
    folder: Path | None = None  # in which files that the net names are looked for

    def copy(self) -> Model:
        """A copy with its own definition and lists of arrays. The arrays are shared: replace, do not change them."""
        net = pb.NetParameter()
        net.CopyFrom(self.net)
        return Model(net, {name: list(arrays) for name, arrays in self.arrays.items()}, self.folder)


def read_model(prototxt: str | Path, weights: str | Path | None = None, profile: str | None = None) -> Model:
    """Definition and weights in today's form; layers that only the file has are left out.

    profile: of the prototxt and the weights (see dragon.proto.profiles). Raises PrototxtError or WeightsError.
    """
    from dragon.files.stored_weights import read_weights
    from dragon.proto.layer_names import name_layers
    from dragon.proto.profiles import find_profile
    from dragon.proto.text import read_net_definition
    from dragon.surgery.present import to_present

    definition = read_net_definition(prototxt, profile=profile)
    net, folder = name_layers(definition.message), definition.folder
    if weights is None:
        return to_present(Model(net, folder=folder))
    if find_profile(net.profile or None).dialect:
        profile = None  # the blobs are those of the layers as they stand
    names = {layer.name for layer in net.layer}
    stored = {name: [np.asarray(a) for a in arrays] for name, arrays in read_weights(weights, profile) if arrays}
    known = {name: arrays for name, arrays in stored.items() if name in names}
    if not known:
        wanted = next(iter(stored), "")
        raise WeightsError(f"{weights}: weights of another net than {prototxt}{nearest(wanted, names)}")
    return to_present(Model(net, known, folder))


def write_model(model: Model, prototxt: str | Path | None, weights: str | Path | None) -> None:
    """Write a model to the paths that are given; each file appears whole or not at all.

    Raises OSError or WeightsError.
    """
    from dragon.proto.binary import write_caffemodel
    from dragon.proto.text import format_text

    if weights is not None:
        write_caffemodel(weights, model.net, model.arrays)
    if prototxt is not None:
        write_atomically(prototxt, format_text(model.net).encode())
