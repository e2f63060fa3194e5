"""Upgrade of the oldest nets: from V0 layers, whose settings are one flat message, to V1 layers."""

from __future__ import annotations

import logging

from dragon.errors import LayerName, PrototxtError, nearest
from dragon.proto import dragon_pb2 as pb

_log = logging.getLogger("dragon")

__all__ = ["upgrade_v0", "v0_type"]

_V1 = pb.V1LayerParameter

# V0 type -> V1 type and the V1 message that holds its settings.
_TYPES: dict[str, tuple[_V1.LayerType, str]] = {
    "accuracy": (_V1.ACCURACY, "accuracy_param"),
    "bnll": (_V1.BNLL, ""),
    "concat": (_V1.CONCAT, "concat_param"),
    "conv": (_V1.CONVOLUTION, "convolution_param"),
    "data": (_V1.DATA, "data_param"),
    "dropout": (_V1.DROPOUT, "dropout_param"),
    "euclidean_loss": (_V1.EUCLIDEAN_LOSS, ""),
    "flatten": (_V1.FLATTEN, ""),
    "hdf5_data": (_V1.HDF5_DATA, "hdf5_data_param"),
    "hdf5_output": (_V1.HDF5_OUTPUT, "hdf5_output_param"),
    "im2col": (_V1.IM2COL, "convolution_param"),
    "images": (_V1.IMAGE_DATA, "image_data_param"),
    "infogain_loss": (_V1.INFOGAIN_LOSS, "infogain_loss_param"),
    "innerproduct": (_V1.INNER_PRODUCT, "inner_product_param"),
    "lrn": (_V1.LRN, "lrn_param"),
    "multinomial_logistic_loss": (_V1.MULTINOMIAL_LOGISTIC_LOSS, ""),
    "pool": (_V1.POOLING, "pooling_param"),
    "relu": (_V1.RELU, ""),
    "sigmoid": (_V1.SIGMOID, ""),
    "softmax": (_V1.SOFTMAX, ""),
    "softmax_loss": (_V1.SOFTMAX_LOSS, ""),
    "split": (_V1.SPLIT, ""),
    "tanh": (_V1.TANH, ""),
    "window_data": (_V1.WINDOW_DATA, "window_data_param"),
}

# V0 fields that have another name in the V1 messages; the others keep theirs.
_RENAMED = {
    "biasterm": "bias_term",
    "kernelsize": "kernel_size",
    "batchsize": "batch_size",
    "shuffle_images": "shuffle",
    "det_fg_threshold": "fg_threshold",
    "det_bg_threshold": "bg_threshold",
    "det_fg_fraction": "fg_fraction",
    "det_context_pad": "context_pad",
    "det_crop_mode": "crop_mode",
}
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_REPEATED_IN_V1 = ("pad", "kernel_size", "stride")  # of convolution_param


def upgrade_v0(layers: list[pb.V1LayerParameter]) -> tuple[list[pb.V1LayerParameter], list[int]]:
    """V1 layers for V0 ones, and the former position of each.

    A "padding" layer disappears: its pad goes to the convolutions and poolings that read it.
    Raises PrototxtError for an unknown type and for a setting the type does not have.
    """
    padding: dict[str, tuple[str, int]] = {}  # top of a padding layer -> its bottom and pad
    upgraded: list[pb.V1LayerParameter] = []
    positions: list[int] = []
    for position, layer in enumerate(layers):
        old = layer.layer
        if old.type == "padding":
            if len(layer.bottom) != 1 or len(layer.top) != 1:
                raise PrototxtError("expected one bottom and one top", layer=LayerName(old.name, "padding"))
            padding[layer.top[0]] = (layer.bottom[0], old.pad)
            continue
        new = _upgrade_layer(layer) if layer.HasField("layer") else layer
        _take_padding(new, padding)
        for top in layer.top:
            padding.pop(top, None)
        upgraded.append(new)
        positions.append(position)
    return upgraded, positions


def v0_type(name: str) -> _V1.LayerType | None:
    """V1 type of a V0 type name; None for "padding" and unknown ones."""
    return _TYPES[name][0] if name in _TYPES else None


def _take_padding(layer: pb.V1LayerParameter, padding: dict[str, tuple[str, int]]) -> None:
    for i, bottom in enumerate(layer.bottom):
        if bottom not in padding:
            continue
        source, pad = padding[bottom]
        if layer.type == _V1.CONVOLUTION:
            layer.convolution_param.pad[:] = [pad]
        elif layer.type == _V1.POOLING:
            layer.pooling_param.pad = pad
        else:
            raise PrototxtError(
                f'only convolution and pooling can read the padding layer\'s "{bottom}"', layer=LayerName(layer.name)
            )
        layer.bottom[i] = source


def _upgrade_layer(layer: pb.V1LayerParameter) -> pb.V1LayerParameter:
    old = layer.layer
    layer_name = LayerName(old.name)
    if old.type not in _TYPES:
        known = [*_TYPES, "padding"]
        raise PrototxtError(f'unknown V0 layer type "{old.type}"{nearest(old.type, known)}', layer=layer_name)
    kind, param_name = _TYPES[old.type]
    new = pb.V1LayerParameter(name=old.name, type=kind, bottom=layer.bottom, top=layer.top)
    new.blobs.extend(old.blobs)
    new.blobs_lr.extend(old.blobs_lr)
    new.weight_decay.extend(old.weight_decay)
    param = getattr(new, param_name) if param_name else None
    for field, value in old.ListFields():
        name = str(field.name)
        if name in ("name", "type", "blobs", "blobs_lr", "weight_decay"):
            continue
        if name in _TRANSFORM:
            setattr(new.transform_param, _TRANSFORM[name], value)
        elif name == "hdf5_output_param" and old.type == "hdf5_output":
            new.hdf5_output_param.CopyFrom(value)
        elif param is not None and _RENAMED.get(name, name) in param.DESCRIPTOR.fields_by_name:
            _put(param, _RENAMED.get(name, name), value)
        else:
            _log.warning('layer "%s": a V0 layer of type "%s" has no setting "%s"; skipped', old.name, old.type, name)
    return new


def _put(param: object, name: str, value: object) -> None:
    if isinstance(param, pb.ConvolutionParameter) and name in _REPEATED_IN_V1:
        getattr(param, name).append(value)
    elif isinstance(value, pb.FillerParameter):
        getattr(param, name).CopyFrom(value)
    else:
        setattr(param, name, value)
