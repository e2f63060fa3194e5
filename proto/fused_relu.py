"""Upgrade of Intel Caffe's ReLU within another layer (`relu`, `negative_slope`) to an in-place ReLU layer."""

from __future__ import annotations

from collections.abc import Iterator

from dragon.proto import dragon_pb2 as pb

__all__ = ["has_fused_relu", "write_out"]

_Settings = pb.ConvolutionParameter | pb.InnerProductParameter | pb.BatchNormParameter
_PARAMS = ("convolution_param", "inner_product_param", "batch_norm_param")
_FIELDS = ("relu", "negative_slope")


def _settings(layer: pb.LayerParameter) -> Iterator[_Settings]:
    for name in _PARAMS:
        if layer.HasField(name):
            yield getattr(layer, name)


def has_fused_relu(layer: pb.LayerParameter) -> bool:
    """Whether a layer sets one of the fields of such a ReLU."""
    return any(p.HasField(name) for p in _settings(layer) for name in _fields(p))


def write_out(net: pb.NetParameter, origin: list[int]) -> list[int]:
    """Clear these fields, and insert an in-place ReLU layer after each layer whose `relu` is true.

    origin: the former position of each layer. Returns the same for the new layers; a ReLU has that of its layer.
    """
    names = {layer.name for layer in net.layer}
    layers, positions = [], []
    for layer, position in zip(list(net.layer), origin, strict=True):
        added: list[pb.LayerParameter] = []
        for p in _settings(layer):
            if p.relu:
                slope = 0.0 if isinstance(p, pb.BatchNormParameter) else p.negative_slope
                added += [_relu(layer, top, slope, names) for top in layer.top]
            for name in _fields(p):
                p.ClearField(name)
        layers += [layer, *added]
        positions += [position] * (1 + len(added))
    new = pb.NetParameter(layer=layers)
    net.ClearField("layer")
    net.layer.extend(new.layer)
    return positions


def _fields(p: _Settings) -> list[str]:
    return [name for name in _FIELDS if name in p.DESCRIPTOR.fields_by_name]


def _relu(layer: pb.LayerParameter, top: str, slope: float, names: set[str]) -> pb.LayerParameter:
    name = f"{layer.name}_relu"
    while name in names:
        name += "_"
    names.add(name)
    relu = pb.LayerParameter(name=name, type="ReLU", bottom=[top], top=[top])
    if slope:
        relu.relu_param.negative_slope = slope
    relu.include.extend(layer.include)
    relu.exclude.extend(layer.exclude)
    if layer.HasField("phase"):
        relu.phase = layer.phase
    return relu
