"""What engines do with a net that is to run in int8: they check it, and compare the weights with the calibration's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dragon.bases.layer import TEST
from dragon.errors import UsageError

if TYPE_CHECKING:
    from dragon.engines.base import Options
    from dragon.engines.int8.arithmetic import Range
    from dragon.engines.int8.table import Calibration
    from dragon.graph.net import Net

__all__ = ["Int8Run"]

log = logging.getLogger("dragon")


class Int8Run:
    """The ranges of a net, by the names of its layers; none in other precisions.

    Raises UsageError for a net in phase TRAIN, and for one that the calibration is not of.
    """

    def __init__(self, net: Net, options: Options) -> None:
        self.ranges: dict[str, Range] = {}
        self._net = net
        self._unchecked: Calibration | None = None  # whose weights were not compared yet
        self.enabled = options.precision == "int8"
        if not self.enabled:
            return
        if net.phase != TEST:
            raise UsageError(
                "precision int8 runs nets in phase TEST only: train in fp32 or bf16, then use `dragon calibrate` "
                "(`dragon time`: --phase test --no-backward)"
            )
        if options.calibration is None:
            raise UsageError("precision int8 needs the ranges of a calibration: `dragon calibrate` measures them")
        from dragon.engines.int8.table import read

        self._unchecked = read(options.calibration)
        self.ranges = self._unchecked.ranges(net)

    def begin(self) -> None:
        """A forward pass begins. The first one warns about weights that are not those that were calibrated."""
        table = self._unchecked
        if table is None:
            return
        from dragon.engines.int8.table import digest_of

        self._unchecked = None
        if table.weights != digest_of(self._net):
            log.warning(
                '%s was measured with other weights of net "%s": its ranges may be wrong',
                table.file or "the calibration",
                self._net.name,
            )

    def refuse_backward(self) -> None:
        """Raise UsageError in int8, which has no backward."""
        if self.enabled:
            raise UsageError("precision int8 runs forward only, it has no backward (`dragon time`: --no-backward)")
