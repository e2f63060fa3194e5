"""Reduction: sums of rows, by rows.cu."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.engines.cuda.kernels import rows as kernels
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["ReductionLowering"]


@lowers("Reduction")
class ReductionLowering(Lowering):
    """Reduction: SUM, ASUM, SUMSQ and MEAN of each row."""

    half = True

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    @property
    def _operation(self) -> int:
        kinds = (pb.ReductionParameter.ASUM, pb.ReductionParameter.SUMSQ)
        return 1 + kinds.index(self.layer.operation) if self.layer.operation in kinds else 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        rows, length = self.layer.rows
        self.launch(
            kernels.reduce_rows, x=bottom[0].data, y=top[0].data, rows=rows, length=length,
            operation=self._operation, coeff=float(self.layer.coeff),
        )  # fmt: skip

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dx = bottom[0].diff
            self.launch(
                kernels.reduce_backward, x=bottom[0].data, dy=top[0].diff, dx=dx, count=dx.size,
                length=self.layer.rows[1], operation=self._operation, coeff=float(self.layer.coeff),
            )  # fmt: skip
