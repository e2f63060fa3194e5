"""The check that a training of the zoo goes on bit for bit from its snapshot."""

from __future__ import annotations

from typing import Any

import numpy as np

from dragon import get_solver
from dragon.proto.text import read_net, read_solver
from tests.helpers import weights_of
from tests.models.test_other_tasks import ROOT

__all__ = ["goes_on_bit_for_bit"]


MOST_IMAGES = 8  # of a batch


def goes_on_bit_for_bit(name: str, test_batches: int) -> None:
    """Check that three iterations are two, a snapshot, and one more, in the working folder, which holds the data."""
    net = read_net(ROOT / name / "train_val.prototxt")
    for layer in net.layer:
        if layer.data_param.batch_size > MOST_IMAGES:
            layer.data_param.batch_size = MOST_IMAGES
    param = read_solver(ROOT / name / "solver.prototxt")
    param.net_param.CopyFrom(net)
    param.ClearField("net")
    param.snapshot_prefix = "s"
    param.max_iter, param.test_interval, param.snapshot, param.test_iter[0] = 3, 2, 2, test_batches

    def run(start: str = "") -> tuple[dict[str, Any], float]:
        with get_solver(param, engine="onednn", verbose=False, seed=None if start else 5) as solver:
            if start:
                solver.restore(start)  # with the seed of that run
            solver.step(3 - solver.iter)
            return weights_of(solver.net), float(solver.test()["detection_eval"])

    whole, score = run()
    again, other = run("s_iter_2.solverstate")
    assert score == other
    for key, value in whole.items():
        np.testing.assert_array_equal(again[key], value, key)
