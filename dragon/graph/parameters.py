"""The learned blobs of a net: their names, multipliers, and which layers share them."""

from __future__ import annotations

from dataclasses import dataclass

from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.errors import PrototxtError, ShapeError
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Param", "ParamTable"]


@dataclass
class Param:
    """A learned blob: `name` is that of its ParamSpec or LAYER/INDEX; multipliers are those of the owner."""

    name: str
    blob: Blob
    layer: str
    index: int
    lr_mult: float
    decay_mult: float
    lr_given: bool
    decay_given: bool


class ParamTable:
    """The parameter blobs of a net, each shared one once.

    learnable: the blobs that the solver updates. owned: the blobs that a snapshot stores, in Caffe's order: a learned
    one with its Param, or a running statistic with None.
    """

    def __init__(self) -> None:
        self.learnable: list[Param] = []
        self.owned: list[tuple[Blob, Param | None]] = []
        self._named: dict[str, Param] = {}
        self._statistics: dict[str, Blob] = {}

    def add(self, layer: Layer) -> bool:
        """Record a layer's blobs and let shared ones use their owner's memory; return whether any is learned.

        Raises PrototxtError or ShapeError for ParamSpecs that contradict the layer or the owner.
        """
        param = layer.param
        if len(param.param) > len(layer.blobs):
            raise PrototxtError(
                f"{how_many(len(param.param), 'param entry')} for a layer with "
                f"{how_many(len(layer.blobs), 'parameter blob')}"
            )
        learns = False
        layer.param_propagate_down = []
        for i, blob in enumerate(layer.blobs):
            spec = param.param[i] if i < len(param.param) else pb.ParamSpec()
            if i in layer.buffers:
                layer.param_propagate_down.append(False)
                if not spec.name or self._share_statistic(spec.name, layer.blobs[i]):
                    self.owned.append((blob, None))
                continue
            owner = self._named.get(spec.name) if spec.name else None
            if owner is None:
                name = spec.name or f"{param.name}/{i}"
                owner = Param(
                    name, blob, param.name, i, spec.lr_mult, spec.decay_mult,
                    spec.HasField("lr_mult"), spec.HasField("decay_mult"),
                )  # fmt: skip
                self.learnable.append(owner)
                self.owned.append((blob, owner))
                if spec.name:
                    self._named[spec.name] = owner
            else:
                _share(owner, blob, spec)
            layer.param_propagate_down.append(owner.lr_mult != 0)
            learns |= owner.lr_mult != 0
        return learns

    def _share_statistic(self, name: str, blob: Blob) -> bool:
        """Let a running statistic use the memory of the first one of its name; return whether it is that one."""
        first = self._statistics.setdefault(name, blob)
        if first is not blob:
            blob.share_data(first)
        return first is blob


def _share(owner: Param, blob: Blob, spec: pb.ParamSpec) -> None:
    what = f'param "{spec.name}" shared with layer "{owner.layer}"'
    if spec.share_mode == pb.ParamSpec.PERMISSIVE:
        if blob.count != owner.blob.count:
            raise ShapeError(f"{what}: {how_many(blob.count, 'element')} here, {owner.blob.count} there")
    elif blob.shape != owner.blob.shape:
        raise ShapeError(f"{what}: shape {blob.shape} here, {owner.blob.shape} there")
    for field, given in (("lr_mult", "lr_given"), ("decay_mult", "decay_given")):
        if spec.HasField(field):
            value = getattr(spec, field)
            if getattr(owner, given) and getattr(owner, field) != value:
                raise PrototxtError(f"{what}: {field} is {value:g} here, {getattr(owner, field):g} there")
            setattr(owner, field, value)
            setattr(owner, given, True)
    blob.share_data(owner.blob)
    blob.share_diff(owner.blob)
