"""What Dragon does with each setting of the forks' layers, as experiments that a test makes.

A `Probe` has a layer that runs, and for each of its settings two values. tests/layers/test_fork_fields.py makes the
experiments, and tests/docs/test_fork_fields.py the page docs/fork_fields.md.
"""

from __future__ import annotations

from tests.layers.fork_fields import boxes, data, regions, sequences, yolo
from tests.layers.fork_fields.probe import Probe

__all__ = ["MORE", "PROBES"]

PROBES: list[Probe] = [*data.PROBES, *boxes.PROBES, *regions.PROBES, *yolo.PROBES, *sequences.PROBES]
# settings in messages that a type shares with others
MORE = {
    "AnnotatedData": data.SHARED,
    **{kind: ["loss_param"] for kind in ("MultiBoxLoss", "CTCLoss", "SoftmaxWithLossOHEM", "SmoothL1LossOHEM")},
}
