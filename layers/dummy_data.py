"""The layer type DummyData, and the form of it with constant fillers."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.fillers import FILLERS, fill
from dragon.bases.layer import Layer, LayerClass, register
from dragon.counting import how_many
from dragon.errors import nearest
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["DummyData"]


@register()
class DummyData(Layer):
    """Tops of given shapes, filled by fillers: random ones in every forward pass, constant ones once.

    A constant filler fills its top when the layer is set up, and again only if the top has grown and nothing has
    written to it since; so a script may use such a top as an input, as in Caffe.
    """

    type = "DummyData"
    settings = ("dummy_data_param",)
    bottoms = (0, 0)
    tops = (1, None)
    is_source = True

    @classmethod
    def form(cls, param: pb.LayerParameter) -> LayerClass:
        constant = all(_is_constant(filler) for filler in param.dummy_data_param.data_filler)
        return ConstantDummyData if constant else cls

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.dummy_data_param
        sizes = (p.num, p.channels, p.height, p.width)
        if p.shape and any(sizes):
            self.bad_param("give shape or num, channels, height and width, not both")
        for what, given in (
            ("shape", p.shape),
            *zip(("num", "channels", "height", "width"), sizes, strict=True),
            ("data_filler", p.data_filler),
        ):
            if len(given) not in (0, 1, len(top)):
                self.bad_param(f"has {len(given)} of {what}, expected 1 or one for each of {how_many(len(top), 'top')}")
        if not p.shape and not all(sizes):
            self.bad_param("needs shape, or all of num, channels, height and width")
        for i, blob in enumerate(top):
            if p.shape:
                blob.reshape(*p.shape[i % len(p.shape)].dim)
            else:
                blob.reshape(*(size[i % len(size)] for size in sizes))
        fillers = list(p.data_filler) or [pb.FillerParameter()]
        for filler in fillers:
            if filler.type not in FILLERS:
                self.bad_param(f'unknown filler type "{filler.type}"{nearest(filler.type, FILLERS)}')
        self._fillers = [fillers[i % len(fillers)] for i in range(len(top))]
        for blob, filler in zip(top, self._fillers, strict=True):
            if _is_constant(filler):
                self._fill(blob, filler)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob, filler in zip(top, self._fillers, strict=True):
            if _is_constant(filler) and blob.data_storage.is_new:
                self._fill(blob, filler)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob, filler in zip(top, self._fillers, strict=True):
            if _is_constant(filler):
                blob.peek()  # makes the host copy, which engines read, the newest
            else:
                self._fill(blob, filler)

    def _fill(self, blob: Blob, filler: pb.FillerParameter) -> None:
        out = blob.data_storage.overwrite()[: blob.count].reshape(blob.shape)
        fill(out, filler, self.rng, f"top of shape {blob.shape}")

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass


class ConstantDummyData(DummyData):
    """DummyData with constant fillers only: a forward pass has nothing to do."""

    passes_memory = True


def _is_constant(filler: pb.FillerParameter) -> bool:
    return filler.type == "constant"
