"""Parameters that start from the blobs of their layer in the definition, in place of what their fillers made."""

from __future__ import annotations

from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.blobs import same_but_ones
from dragon.proto.layer_blobs import arrays_in

__all__ = ["take_initial_values"]


def take_initial_values(layer: Layer, param: pb.LayerParameter) -> None:
    """Copy the blobs of `param` to those of the layer, as Caffe does, and remove them: they are not kept twice.

    Raises PrototxtError unless number and shapes agree, up to axes of 1.
    """
    arrays = arrays_in(param)
    if len(arrays) != len(layer.blobs):
        hint = layer.explain_blobs(len(arrays))
        raise PrototxtError(
            f"has {how_many(len(layer.blobs), 'parameter blob')}, its definition gives {len(arrays)}"
            + (f"; {hint}" if hint else "")
        )
    for i, (blob, array) in enumerate(zip(layer.blobs, arrays, strict=True)):
        if not same_but_ones(blob.shape, array.shape):
            raise PrototxtError(f"parameter blob {i}: expected shape {blob.shape}, its definition has {array.shape}")
        blob.data_storage.overwrite()[: blob.count] = array.reshape(-1)
    param.ClearField("blobs")
