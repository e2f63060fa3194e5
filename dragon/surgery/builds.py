"""Whether a changed net can still be built in every phase and stage in which the net before it could."""

from __future__ import annotations

from itertools import islice

from dragon.graph.states import states
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.surgery.model import Model
from dragon.surgery.refusals import refusal

__all__ = ["check_builds"]

_MOST = 16  # states of a phase: each is built


def check_builds(old: Model, new: Model) -> None:
    """Raise DragonError for a new net that cannot be built in a phase, level and stage in which the old one can.

    Data that is not there is done without, as in `refusals`, and the code of Python layers is not run.
    """
    before, after = (Definition(model.net, folder=model.folder) for model in (old, new))
    for phase in (pb.TRAIN, pb.TEST):
        for state in islice(states(old.net, phase), _MOST):
            error = refusal(after, state)
            if error is not None and refusal(before, state) is None:
                error.task = f"the new net cannot be built in {_text(state)}"
                raise error


def _text(state: pb.NetState) -> str:
    words = [pb.Phase.Name(state.phase), *(f'stage "{name}"' for name in state.stage)]
    return ", ".join([*words, *([f"level {state.level}"] if state.level else [])])
