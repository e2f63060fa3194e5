"""Snapshots: PREFIX_iter_N.caffemodel and PREFIX_iter_N.solverstate (or .h5 of both), whole or not written at all.

The state file is written after the model and names it, so a state that exists always has its model; it also holds the
model's checksum, by which the model of another run under the same name is recognised. It stores what
BVLC Caffe stores (iteration, history, current step) in the same fields, and, in fields that BVLC skips: the seed, the
draws of every random stream, every layer's own state (data position) and the smoothing window of the loss. A run that
goes on from it computes the same bits as one that was never interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dragon.counting import how_many
from dragon.errors import WeightsError
from dragon.files.folders import make_folder
from dragon.files.stored_weights import h5_checksum
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.checksum import stored_checksum
from dragon.solver.layer_states import layer_states, restore_layers, unchanged_on_error
from dragon.solver.mismatch import check_history, check_rule, other_net
from dragon.solver.rate import Plateau
from dragon.solver.snapshot_names import snapshot_names
from dragon.solver.state_files import read_state, write_state

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["read_snapshot", "write_snapshot"]


def write_snapshot(solver: Solver) -> tuple[str, str]:
    """Write model and state; return their paths. Raises WeightsError when they cannot be written."""
    model, state = snapshot_names(solver)
    try:
        make_folder(Path(model).parent)
        solver.net.save(model, solver.param.snapshot_diff)
        write_state(state, _state_of(solver, model), _history_arrays(solver))
    except OSError as error:
        raise WeightsError(f"cannot write the snapshot {error.filename or model}: {error.strerror}") from None
    return model, state


def _state_of(solver: Solver, model: str) -> pb.SolverState:
    """What a state file holds beside the history."""
    from dragon.version import __version__

    state = pb.SolverState(
        iter=solver.iter,
        learned_net=model,
        learned_net_checksum=_checksum_of(Path(model)),
        current_step=solver.current_step,
        random_seed=solver.seed,
        layer_state=list(layer_states(solver)),
        losses=list(solver.losses),
        version=__version__,
        solver_type=solver.updater.rule.name,
    )
    if solver.plateau is not None:
        state.minimum_loss = state.exact_minimum_loss = solver.plateau.lowest
        state.iter_last_event = solver.plateau.since
    return state


def read_snapshot(solver: Solver, path: str) -> None:
    """Give `solver` the state of a .solverstate file and the weights of the model that it names.

    Raises WeightsError for a missing or damaged file, or one of another net or rule.
    """
    if not os.path.exists(path):
        raise WeightsError(f"{path}: no such snapshot")
    state = read_state(path)
    rule = solver.updater.rule
    check_rule(path, state.solver_type, rule)
    history = _history_slots(solver)
    if len(state.history) != len(history):
        raise WeightsError(
            f"{path}: {how_many(len(state.history), 'history blob')}, solver type {rule.name} needs "
            f"{len(history)}" + other_net(solver.net, _model_of(path, state))
        )
    values = []
    for k, ((blob, what), stored) in enumerate(zip(history, state.history, strict=True)):
        value = _array(stored, f"{path}: history of {what}")
        if blob is not None and value.size != blob.count:
            other = other_net(solver.net, _model_of(path, state))
            raise WeightsError(
                f"{path}: history of {what} has {how_many(value.size, 'element')}, expected {blob.count}{other}"
            )
        check_history(f"{path}: history of {what}", value, k // len(solver.net.owned), rule)
        values.append(value)
    if state.iter < 0:
        raise WeightsError(f"{path}: damaged: iteration {state.iter}")
    model = _model_of(path, state)
    with unchanged_on_error(solver):
        if state.HasField("random_seed"):
            restore_layers(path, solver, state)
        solver.net.copy_from(model)
    for (blob, _), value in zip(history, values, strict=True):
        if blob is not None:
            blob.data_storage.overwrite()[...] = value.reshape(-1)
    solver.iter = state.iter
    if state.HasField("random_seed"):
        solver.set_losses(list(state.losses))
    if solver.plateau is not None:
        lowest = state.exact_minimum_loss if state.HasField("exact_minimum_loss") else state.minimum_loss
        solver.plateau = Plateau(lowest, state.iter_last_event, state.current_step)


def _model_of(path: str, state: pb.SolverState) -> str:
    """The path of the model that a state names, first beside the state. WeightsError unless its checksum agrees."""
    learned_net = state.learned_net
    if not learned_net or not isinstance(learned_net, str):  # protobuf returns bytes for a string that is not UTF-8
        raise WeightsError(f"{path}: names no learned net")
    beside = Path(path).parent / Path(learned_net).name
    for candidate in (beside, Path(learned_net)):
        if os.path.isfile(candidate):  # False, too, for a damaged name that no file can have
            if state.HasField("learned_net_checksum") and _checksum_of(candidate) != state.learned_net_checksum:
                raise WeightsError(f"{path}: {candidate} is not the model that this state was written with")
            return str(candidate)
    raise WeightsError(f"{path}: its learned net {learned_net} is missing")


def _history_slots(solver: Solver) -> list[tuple[Blob | None, str]]:
    """History blobs in Caffe's order, slot by slot; None for those that Caffe has for running statistics."""
    position = {id(p): k for k, p in enumerate(solver.updater.params)}
    return [
        (slot[position[id(param)]] if param is not None else None, param.name if param else "a running statistic")
        for slot in solver.updater.history
        for _, param in solver.net.owned
    ]


def _history_arrays(solver: Solver) -> Iterator[Array]:
    owned = [blob for blob, _ in solver.net.owned] * solver.updater.rule.slots
    for (blob, _), like in zip(_history_slots(solver), owned, strict=True):
        yield blob.peek() if blob is not None else np.zeros(like.shape, like.dtype)


def _checksum_of(model: Path) -> int | None:
    """The checksum that a weights file holds; None in files of other programs. Raises OSError."""
    return h5_checksum(model) if model.suffix == ".h5" else stored_checksum(model)


def _array(blob: pb.BlobProto, what: str) -> Array:
    from dragon.proto.blobs import blobproto_to_array

    try:
        array: Array = blobproto_to_array(blob)
        return array
    except WeightsError as error:
        raise WeightsError(f"{what} is damaged: {error}") from None
