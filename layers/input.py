"""The layer type Input."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob

__all__ = ["Input"]


@register()
class Input(Layer):
    """Tops of given shapes that the caller fills; their shapes may be changed between runs."""

    type = "Input"
    settings = ("input_param",)
    is_input = True
    takes_arrays = True
    bottoms = (0, 0)
    tops = (1, None)
    is_source = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shapes = self.param.input_param.shape
        if len(shapes) not in (0, 1, len(top)):
            self.bad_param(
                f"input_param has {how_many(len(shapes), 'shape')}, expected 1 or one for each of "
                f"{how_many(len(top), 'top')}"
            )
        for i, blob in enumerate(top):
            if shapes:
                blob.reshape(*shapes[i % len(shapes)].dim)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass
