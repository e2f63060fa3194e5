"""Blobs that layers share by the name of a param, which Caffe's HDF5 files hold for the first of these layers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.proto import dragon_pb2 as pb

__all__ = ["explain_missing", "with_shared_blobs"]


def with_shared_blobs(
    layers: Iterable[pb.LayerParameter], stored: Mapping[str, Sequence[Array | None]]
) -> dict[str, list[Array | None]]:
    """The blobs of each stored layer, with those that it lacks from the first layer that shares them, if that has them.

    layers: of the net, in its order. stored: by layer, None for a blob that is not in the file; none at all of a layer
    whose blobs are all another's.
    """
    found = {name: list(arrays) for name, arrays in stored.items()}
    owners: dict[str, Array] = {}
    for layer in layers:
        arrays = found.get(layer.name)
        if arrays is None:
            continue
        for i, spec in enumerate(layer.param):
            if not spec.name:
                continue
            if i < len(arrays) and (own := arrays[i]) is not None:
                owners.setdefault(spec.name, own)
            elif spec.name in owners and i <= len(arrays):
                arrays[i : i + 1] = [owners[spec.name]]
    return found


def explain_missing(layers: Sequence[pb.LayerParameter], name: str, lost: Sequence[int], held: int) -> str:
    """Why a file lacks blobs of layer `name`, and what helps: a clause on the first one for the end of an error.

    lost: the indices of the blobs. held: the blobs that the file can have, by its names of them; one beyond these that
    no other layer shares may be one that the net has too many, of which "" says nothing.
    """
    specs = {spec.name: layer.name for layer in layers if layer.name != name for spec in layer.param}
    own = next((layer.param for layer in layers if layer.name == name), ())
    for i in lost:
        param = own[i].name if i < len(own) else ""
        if param and param in specs:
            return (
                f'; blob {i} is missing: layer "{specs[param]}" shares it as param "{param}", and a file of Caffe has '
                "it for the first of the layers that share it, in the order of the net that wrote the file"
            )
        if i < held:
            return (
                f"; blob {i} is missing: in the net that wrote the file it belongs to another layer; share it here as "
                'well, by one name for both, as in param { name: "NAME" }'
            )
    return ""
