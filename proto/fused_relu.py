"""Intel Caffe's ReLU inside another layer (`relu`, `negative_slope`) as the ReLU layer in place that it stands for."""

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
    """Whether a layer gives one of the fields."""
    return any(p.HasField(name) for p in _settings(layer) for name in _fields(p))


def write_out(net: pb.NetParameter, origin: list[int]) -> list[int]:
    """Clear the fields, and put a ReLU layer in place behind each layer whose `relu` is true.

    origin: the former position of each layer. Returns it for the new list: a ReLU has the position of its layer.
    """
    names = {layer.name for layer in net.layer}
    layers, positions = [], []
    for layer, position in zip(list(net.layer), origin, strict=True):
        behind: list[pb.LayerParameter] = []
        for p in _settings(layer):
            if p.relu:
                slope = 0.0 if isinstance(p, pb.BatchNormParameter) else p.negative_slope
                behind += [_relu(layer, top, slope, names) for top in layer.top]
            for name in _fields(p):
                p.ClearField(name)
        layers += [layer, *behind]
        positions += [position] * (1 + len(behind))
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
