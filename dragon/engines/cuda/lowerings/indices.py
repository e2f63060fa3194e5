"""Embed and BatchReindex, which pick rows by the indices in a bottom, by indices.cu."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.engines.cuda.kernels import indices as kernels
from dragon.engines.cuda.lowerings.channels import Channels, channel_gradient
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["BatchReindexLowering", "EmbedLowering", "Indexed"]


class Indexed(Lowering):
    """The lowering of a layer one of whose bottoms has indices."""

    what = "index"  # what an error calls one
    each = 1  # elements from one index to the next

    def check(self, values: Blob, size: int) -> None:
        """Launch the check that all indices in `values` are in 0 .. size - 1; see `out_of_range`."""
        self._checked = values, size
        found = self.out_of_range
        if found is None:  # in a dry run
            found = self.buffer("out_of_range", 1, "int32")
        count = values.count // self.each
        self.launch(
            kernels.check_indices, values=values.data, out_of_range=found, count=count, each=self.each, size=size
        )

    def describe_out_of_range(self, bottom: Sequence[Blob], position: int) -> str:
        values, size = self._checked
        value = float(values.peek().ravel()[position * self.each])
        return f"{self.what} {value:g} at position {position}: expected 0 to {size - 1}"


@lowers("Embed")
class EmbedLowering(Indexed):
    """Embed: the rows of the weights that the bottom's indices name, plus the bias."""

    writes_gradients = True

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        weight, y = self.layer.blobs[0].data, top[0].data
        size, row = weight.shape
        bias = self.layer.blobs[1].data if len(self.layer.blobs) > 1 else None
        self.check(bottom[0], size)
        picks = bottom[0].data
        self.launch(kernels.pick_rows, x=weight, picks=picks, bias=bias, y=y, count=y.size, row=row, size=size)

    def learned(self) -> Sequence[Blob]:
        return super().learned() if self.node.bottoms[0].count else ()

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy, blobs = top[0].diff, self.layer.blobs
        dw, picks = blobs[0].diff, bottom[0].data
        row = dw.shape[1]
        self.launch(
            kernels.sum_picked, dy=dy, picks=picks, dx=dw, count=dw.size, row=row, n_picks=picks.size,
            add=self.adds(blobs[0]),
        )  # fmt: skip
        if len(blobs) > 1 and picks.size:
            at = Channels.of(self.device, picks.size, row, 1)
            channel_gradient(self.device, at, dy, blobs[1].diff, add=self.adds(blobs[1]))


@lowers("BatchReindex")
class BatchReindexLowering(Indexed):
    """BatchReindex: the items of bottom 0 that the indices in bottom 1 name."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        items = x.shape[0]
        self.check(bottom[1], items)
        row, picks = x.size // max(1, items), bottom[1].data
        self.launch(kernels.pick_rows, x=x, picks=picks, bias=None, y=y, count=y.size, row=row, size=items)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            self.layer.bad_param("bottom 1 lists indices and has no gradient; set its propagate_down to false")
        if propagate_down[0]:
            dx, picks = bottom[0].diff, bottom[1].data
            row = dx.size // max(1, dx.shape[0])
            self.launch(
                kernels.sum_picked, dy=top[0].diff, picks=picks, dx=dx, count=dx.size, row=row, n_picks=picks.size,
                add=False,
            )  # fmt: skip
