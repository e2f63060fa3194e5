"""Several sets of weights of one net, opened as the ensemble that they make."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from dragon.engines import Options
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.proto.definition import Definition
from dragon.share import ALONE, Share
from dragon.surgery.ensemble import ensemble, member_name
from dragon.surgery.model import read_model, write_model
from dragon.tools.common.net_options import NetChoice

__all__ = ["open_ensemble"]


def open_ensemble(
    which: NetChoice, weights: Sequence[str], phase: int, engine: str | None, options: Options, share: Share = ALONE
) -> Net:
    """The net with a copy for each file of weights, and the accuracy of their mean probabilities.

    Raises DragonError for a net without Accuracy, for fewer than two files, and for weights of another net.
    """
    if len(weights) < 2:
        raise UsageError("--ensemble is given once for each of two nets or more, got one file")
    one = read_model(which.model, profile=which.profile, assignments=which.assignments)
    model = ensemble(one, len(weights))
    for k, file in enumerate(weights, 1):
        for name, arrays in read_model(which.model, file, which.profile).arrays.items():
            model.arrays[member_name(name, k)] = arrays
    net = Net(
        Definition(model.net, folder=model.folder),
        phase=phase,
        level=which.level,
        stages=which.stages,
        engine=engine,
        options=options,
        seed=1,
        share=share,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "members.caffemodel")
        write_model(model, None, path)
        net.copy_from([path])
    return net
