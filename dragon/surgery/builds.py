"""Whether a changed net can be built, and computes the same, in every state in which the net before it could."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from dragon.data.progress import Progress, silent
from dragon.errors import DragonError
from dragon.graph.definition import run_state
from dragon.graph.states import present, states
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.surgery.model import Model, Note, silent_note
from dragon.surgery.prove import build_net, prove
from dragon.surgery.refusals import refusal

__all__ = ["check_builds", "prove_others"]

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


def prove_others(
    old: Model,
    new: Model,
    phases: tuple[int, ...],
    batches: int = 2,
    shape: tuple[int, ...] | None = None,
    progress: Progress = silent,
    note: Note = silent_note,
) -> list[str]:
    """Prove two models equal in the other levels and stages too, where the old one can be built; these in words.

    See `dragon.surgery.prove.prove`. note: told of states in which the old net cannot be run, since its data is not
    there or the weights do not fit. Raises NumericError, with the state, where the nets differ.
    """
    proved = []
    for phase in phases:
        for state in _others(old, phase):
            words = _text(state)
            first, second = (replace(one, level=state.level, stages=list(state.stage)) for one in (old, new))
            try:
                build_net(first, phase, shape).close()
            except DragonError as error:  # its data is not there, or the weights are of another state
                note(f"not proved in {words}: {error}")
                continue
            try:
                prove(first, second, (phase,), batches, shape, progress=progress)
            except DragonError as error:
                error.task = f"the new net differs from the old one in {words}"
                raise
            proved.append(words)
    return proved


def _others(model: Model, phase: int) -> Iterator[pb.NetState]:
    """States of a phase whose layers are others than those of the model's own state, and with which it can be built."""
    own = present(model.net, run_state(model.net.state, phase, model.level, model.stages))
    definition = Definition(model.net, folder=model.folder)
    for state in islice(states(model.net, phase), _MOST):
        if present(model.net, state) != own and refusal(definition, state) is None:
            yield state


def _text(state: pb.NetState) -> str:
    words = [pb.Phase.Name(state.phase), *(f'stage "{name}"' for name in state.stage)]
    return ", ".join([*words, *([f"level {state.level}"] if state.level else [])])
