"""Upgrades of older nets and solvers to the present form.

V0 and V1 layers become `layer`, `input` an Input layer, transformation fields of data layers move to
`transform_param`, `normalize` becomes a `normalization` mode, a ReLU inside another layer a layer of its own,
`solver_type` the string `type`. Windows over three axes take the present form (dragon.proto.volumes), and layers of a
dialect are marked (dragon.proto.dialects). Each kind is logged in one line (logger "dragon", level info).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from dragon.counting import how_many
from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.dialects import mark_layers, needs_marks
from dragon.proto.fused_relu import has_fused_relu, write_out
from dragon.proto.quantised import is_quantised, upgrade_quantised
from dragon.proto.upgrade_v0 import upgrade_v0
from dragon.proto.volumes import has_volume, upgrade_volume

__all__ = [
    "V1_TYPES",
    "needs_upgrade",
    "nets_inside",
    "upgrade_net",
    "upgrade_net_tracked",
    "upgrade_solver",
    "upgrade_v1",
]

_log = logging.getLogger("dragon")
_V1 = pb.V1LayerParameter

# V1 types whose present name is not the old one in camel case.
_IRREGULAR = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONVOLUTION3D": "Convolution3D",
    "DECONVOLUTION3D": "Deconvolution3D",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "NONE": "",
    "POOLING3D": "Pooling3D",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
V1_TYPES = {
    int(number): _IRREGULAR.get(name, "".join(word.capitalize() for word in name.split("_")))
    for name, number in _V1.LayerType.items()
}
_SOLVERS = {
    pb.SolverParameter.SGD: "SGD",
    pb.SolverParameter.NESTEROV: "Nesterov",
    pb.SolverParameter.ADAGRAD: "AdaGrad",
    pb.SolverParameter.RMSPROP: "RMSProp",
    pb.SolverParameter.ADADELTA: "AdaDelta",
    pb.SolverParameter.ADAM: "Adam",
}
_DATA_PARAMS = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "MultiLabelImageData": "image_data_param",
    "ImageSegData": "image_data_param",
    "DenseImageData": "dense_image_data_param",
    "WindowData": "window_data_param",
    "VideoData": "video_data_param",
}
_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror", "crop_width", "crop_height")
_FROM_INPUT = -1  # former position of a layer that was made from the net's `input`


def needs_upgrade(net: pb.NetParameter) -> bool:
    """Whether anything in the net is of an older form."""
    return bool(
        net.layers
        or net.input
        or net.input_dim
        or net.input_shape
        or any(_old_transform(x) or _old_batch_norm(x) or _old_normalize(x) or _other_form(x) for x in net.layer)
        or needs_marks(net)
    )


def upgrade_net(net: pb.NetParameter) -> pb.NetParameter:
    """The net in the present form: a new message, or the same one if it is in this form already.

    Raises PrototxtError when the old form is inconsistent (unknown type, inputs without shape, forms mixed).
    """
    return upgrade_net_tracked(net)[0]


def upgrade_net_tracked(net: pb.NetParameter) -> tuple[pb.NetParameter, list[int]]:
    """As upgrade_net, with the former position of each layer (-1: made from the net's inputs)."""
    if not needs_upgrade(net):
        return net, list(range(len(net.layer)))
    new = pb.NetParameter()
    new.CopyFrom(net)
    origin = _upgrade_layers(new)
    if marked := mark_layers(new):
        _log.info("dialect %s: another meaning of %s", new.profile, how_many(marked, "layer"))
    upgrade_quantised(new)
    _log_upgrades("VideoData layer", "settings moved to video_data_param", map(_upgrade_video, new.layer))
    _log_upgrades("data layer", "transformation moved to transform_param", map(_upgrade_transform, new.layer))
    _log_upgrades("BatchNorm layer", "lr_mult of the statistics removed", map(_upgrade_batch_norm, new.layer))
    _log_upgrades("loss", "normalize replaced by normalization", map(_upgrade_normalize, new.layer))
    _log_upgrades("layer", "windows over three axes", map(upgrade_volume, new.layer))
    fused = sum(map(has_fused_relu, new.layer))
    if fused:
        origin = write_out(new, origin)
        _log.info("upgraded %s: relu is a ReLU layer", how_many(fused, "layer"))
    if new.input or new.input_dim or new.input_shape:
        origin = _upgrade_input(new, origin)
    return new, origin


def upgrade_solver(solver: pb.SolverParameter) -> pb.SolverParameter:
    """The solver, and nets written inside it, in the present form; a new message when anything changed.

    Raises PrototxtError when solver_type and type are both given.
    """
    new = pb.SolverParameter()
    new.CopyFrom(solver)
    for nets in nets_inside(new).values():
        for net in nets:
            net.CopyFrom(upgrade_net(net))
    if new.HasField("solver_type"):
        if new.HasField("type"):
            raise PrototxtError(f'solver gives both type ("{new.type}") and solver_type; keep type only')
        new.type = _SOLVERS[new.solver_type]
        new.ClearField("solver_type")
        _log.info('upgraded solver_type to type: "%s"', new.type)
    return new


def nets_inside(solver: pb.SolverParameter) -> dict[str, list[pb.NetParameter]]:
    """The nets that are written inside a solver, by the field that holds them."""
    single = ("net_param", "train_net_param")
    found = {name: [getattr(solver, name)] if solver.HasField(name) else [] for name in single}
    return found | {"test_net_param": list(solver.test_net_param)}


def _log_upgrades(noun: str, what: str, changes: Iterable[bool]) -> None:
    number = sum(changes)
    if number:
        _log.info("upgraded %s: %s", how_many(number, noun), what)


# -- layers


def _upgrade_layers(net: pb.NetParameter) -> list[int]:
    if not net.layers:
        return list(range(len(net.layer)))
    if net.layer:
        raise PrototxtError('net mixes "layer" and the older "layers"; write all of them as "layer"')
    layers = list(net.layers)
    origin = list(range(len(layers)))
    old = sum(layer.HasField("layer") for layer in layers)
    if old:
        layers, origin = upgrade_v0(layers)
        _log.info("upgraded %s from the V0 form", how_many(old, "layer"))
    net.layer.extend(upgrade_v1(layer) for layer in layers)
    net.ClearField("layers")
    _log.info('upgraded %s from the V1 form ("layers") to "layer"', how_many(len(layers), "layer"))
    return origin


def upgrade_v1(old: pb.V1LayerParameter) -> pb.LayerParameter:
    """A V1 layer as a layer of the same fields. Raises PrototxtError for one without a type."""
    if not V1_TYPES[old.type]:
        raise PrototxtError(f'layer "{old.name}" has no type')
    new = pb.LayerParameter(type=V1_TYPES[old.type], bottom=old.bottom, top=old.top)
    if old.name:
        new.name = old.name
    for field, value in old.ListFields():
        name = str(field.name)
        if name in ("include", "exclude", "blobs", "loss_weight"):
            getattr(new, name).extend(value)
        elif name.endswith("_param"):
            getattr(new, name).CopyFrom(value)
    for values, target in (
        (old.param, "name"),
        (old.blob_share_mode, "share_mode"),
        (old.blobs_lr, "lr_mult"),
        (old.weight_decay, "decay_mult"),
    ):
        for i, value in enumerate(values):
            while len(new.param) <= i:
                new.param.add()
            setattr(new.param[i], target, value)
    return new


def _old_transform(layer: pb.LayerParameter) -> bool:
    name = _DATA_PARAMS.get(layer.type)
    if name is None or not layer.HasField(name):
        return False
    param = getattr(layer, name)
    return any(f in param.DESCRIPTOR.fields_by_name and param.HasField(f) for f in _TRANSFORM)


def _upgrade_transform(layer: pb.LayerParameter) -> bool:
    if not _old_transform(layer):
        return False
    param = getattr(layer, _DATA_PARAMS[layer.type])
    for field in _TRANSFORM:
        if field in param.DESCRIPTOR.fields_by_name and param.HasField(field):
            if not layer.transform_param.HasField(field):
                setattr(layer.transform_param, field, getattr(param, field))
            param.ClearField(field)
    return True


def _old_batch_norm(layer: pb.LayerParameter) -> bool:
    return (
        layer.type == "BatchNorm"
        and len(layer.param) == 3
        and not layer.batch_norm_param.scale_bias
        and any(p.HasField("lr_mult") or p.HasField("decay_mult") for p in layer.param)
    )


def _upgrade_batch_norm(layer: pb.LayerParameter) -> bool:
    """Statistics are no parameters: what is left of their specs is the name they are shared under."""
    if not _old_batch_norm(layer):
        return False
    for param in layer.param:
        param.ClearField("lr_mult")
        param.ClearField("decay_mult")
    if not any(param.name for param in layer.param):
        layer.ClearField("param")
    return True


def _old_normalize(layer: pb.LayerParameter) -> bool:
    return layer.HasField("loss_param") and layer.loss_param.HasField("normalize")


def _upgrade_normalize(layer: pb.LayerParameter) -> bool:
    if not _old_normalize(layer):
        return False
    loss = layer.loss_param
    if not loss.HasField("normalization"):
        loss.normalization = pb.LossParameter.VALID if loss.normalize else pb.LossParameter.BATCH_SIZE
    loss.ClearField("normalize")
    return True


def _other_form(layer: pb.LayerParameter) -> bool:
    """Whether the layer is written as a fork writes it."""
    return has_fused_relu(layer) or has_volume(layer) or _old_video(layer) or is_quantised(layer)


def _old_video(layer: pb.LayerParameter) -> bool:
    return layer.type == "VideoData" and layer.HasField("image_data_param")


def _upgrade_video(layer: pb.LayerParameter) -> bool:
    """C3D's settings of a VideoData layer, in image_data_param, move to those of the type."""
    if not _old_video(layer):
        return False
    for field, value in layer.image_data_param.ListFields():
        name = str(field.name)
        if name in layer.video_data_param.DESCRIPTOR.fields_by_name:
            setattr(layer.video_data_param, name, value)
    layer.ClearField("image_data_param")
    return True


# -- inputs


def _upgrade_input(net: pb.NetParameter, origin: list[int]) -> list[int]:
    count = len(net.input)
    if not net.input_shape and not net.input_dim:  # BVLC Caffe drops such a leftover too
        _log.warning("%s without a shape, dropped: %s", how_many(count, "net input"), ", ".join(net.input))
        net.ClearField("input")
        return origin
    if not net.input:
        _log.warning("net %s without an input: dropped", "input_shape" if net.input_shape else "input_dim")
        net.ClearField("input_shape")
        net.ClearField("input_dim")
        return origin
    if net.input_shape and net.input_dim:
        raise PrototxtError("net gives both input_shape and input_dim; keep input_shape")
    if net.input_shape and len(net.input_shape) != count:
        raise PrototxtError(f"net has {count} input names, but {len(net.input_shape)} input_shape")
    if not net.input_shape and len(net.input_dim) != 4 * count:
        raise PrototxtError(
            f"net has {count} input names: expected {count} input_shape or {4 * count} input_dim, "
            f"got {len(net.input_dim)} input_dim"
        )
    layer = pb.LayerParameter(name="input", type="Input", top=net.input)
    shapes = (
        [list(shape.dim) for shape in net.input_shape]
        if net.input_shape
        else [list(net.input_dim[4 * i : 4 * i + 4]) for i in range(count)]
    )
    for dims in shapes:
        layer.input_param.shape.add(dim=dims)
    rest = list(net.layer)
    net.ClearField("layer")
    net.layer.append(layer)
    net.layer.extend(rest)
    for name in ("input", "input_shape", "input_dim"):
        net.ClearField(name)
    _log.info("upgraded %s to an Input layer", how_many(count, "net input"))
    return [_FROM_INPUT, *origin]
