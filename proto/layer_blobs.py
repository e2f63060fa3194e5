"""The values of parameters that are written in a definition, as `blobs` of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from dragon.errors import LayerName, PrototxtError, WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.blobs import array_to_blobproto, blobproto_to_array

__all__ = ["arrays_in", "put_blobs", "take_blobs", "without_blobs"]


def arrays_in(layer: pb.LayerParameter) -> list[NDArray[Any]]:
    """The blobs of a layer, in the shapes that are written. PrototxtError where values and shape do not fit."""
    arrays = []
    for i, blob in enumerate(layer.blobs):
        try:
            arrays.append(blobproto_to_array(blob))
        except WeightsError as error:
            raise PrototxtError(f"blob {i}: {error}", layer=LayerName(layer.name, layer.type)) from None
    return arrays


def take_blobs(net: pb.NetParameter) -> dict[str, list[NDArray[Any]]]:
    """Remove the blobs of all layers of a net and return them by the layer's name. Raises PrototxtError."""
    taken: dict[str, list[NDArray[Any]]] = {}
    for layer in net.layer:
        if layer.blobs:
            taken.setdefault(layer.name, arrays_in(layer))
            layer.ClearField("blobs")
    return taken


def put_blobs(net: pb.NetParameter, arrays: Mapping[str, Sequence[NDArray[Any]]]) -> pb.NetParameter:
    """A copy of a net with these arrays as blobs of the layers of their names."""
    new = pb.NetParameter()
    new.CopyFrom(net)
    types: dict[str, str] = {}
    for layer in new.layer:
        # layers of one name share their weights, say one for each phase; one of another type has none
        if layer.name in arrays and types.setdefault(layer.name, layer.type) == layer.type:
            layer.ClearField("blobs")
            layer.blobs.extend(array_to_blobproto(array) for array in arrays[layer.name])
    return new


def without_blobs(net: pb.NetParameter) -> pb.NetParameter:
    """A copy of a net without the blobs of its layers; the same net if it has none."""
    if not any(layer.blobs for layer in net.layer):
        return net
    new = pb.NetParameter()
    new.CopyFrom(net)
    for layer in new.layer:
        layer.ClearField("blobs")
    return new
