"""Snapshots: PREFIX_iter_N.caffemodel and PREFIX_iter_N.solverstate (or .h5 of both), whole or not written at all.

The state file is written after the model and names it, so a state that exists always has its model; it also holds the
model's checksum, by which the model of another run under the same name is recognised. It stores what
BVLC Caffe stores (iteration, history, current step) in the same fields, and, in fields that BVLC skips: the seed, the
draws of every random stream, every layer's own state (data position) and the smoothing window of the loss. A run that
goes on from it computes the same bits as one that was never interrupted.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.errors import Position, WeightsError, one_line
from dragon.files.atomic import write_atomically
from dragon.files.reading import open_regular, was_read
from dragon.files.stored_weights import h5_checksum
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.checksum import check, stored_checksum, with_checksum
from dragon.rng import Stream
from dragon.solver.mismatch import other_net

if TYPE_CHECKING:
    from dragon.bases.layer import Layer
    from dragon.graph.net import Net
    from dragon.solver.solver import Solver

__all__ = ["check_snapshots", "existing_targets", "read_snapshot", "snapshot_base", "snapshot_names", "write_snapshot"]

_MAX_INTEGER = 2**53  # of a stored integer (draws, positions); a larger one is damaged
_WEIGHTS = "(weights) "  # followed by a number: a key among the values of a layer
ENGINE = "(engine)"  # among the states of layers, which are named train/LAYER


def snapshot_base(solver: Solver) -> str:
    """The beginning that the paths of all snapshots of a run share, up to the iteration."""
    p = solver.param
    prefix = p.snapshot_prefix or (str(Path(solver.path).with_suffix("")) if solver.path else "snapshot")
    if p.snapshot_prefix and Path(prefix).is_dir():
        prefix = str(Path(prefix) / (Path(solver.path).stem if solver.path else "snapshot"))
    return f"{prefix}_iter_"


def snapshot_names(solver: Solver) -> tuple[str, str]:
    """Paths of the model and of the state for the present iteration."""
    ending = ".h5" if solver.param.snapshot_format == pb.SolverParameter.HDF5 else ""
    base = f"{snapshot_base(solver)}{solver.iter}"
    return f"{base}.caffemodel{ending}", f"{base}.solverstate{ending}"


def check_snapshots(solver: Solver) -> None:
    """Raise WeightsError when a snapshot of the coming run would overwrite a file that this process has read."""
    for path, iteration in existing_targets(solver):
        if was_read(path):
            raise WeightsError(
                f"{path} is read, and the snapshot at iteration {iteration} would overwrite it: "
                "choose another snapshot_prefix"
            )


def existing_targets(solver: Solver) -> Iterator[tuple[str, int]]:
    """Paths that exist already of snapshots that the coming run will write, and their iterations."""
    for name in snapshot_names(solver):
        before, _, ending = name.rpartition(f"_iter_{solver.iter}")
        for path in glob.glob(f"{glob.escape(before)}_iter_*{ending}"):
            iteration = path.removeprefix(f"{before}_iter_").removesuffix(ending)
            if iteration.isdecimal() and _is_due(solver.param, solver.iter, int(iteration)):
                yield path, int(iteration)


def _is_due(p: pb.SolverParameter, now: int, iteration: int) -> bool:
    """Whether the run from iteration `now` to its end makes a snapshot at `iteration`."""
    last = p.snapshot_after_train and iteration == p.max_iter
    return now < iteration <= p.max_iter and (last or bool(p.snapshot and iteration % p.snapshot == 0))


def write_snapshot(solver: Solver) -> tuple[str, str]:
    """Write model and state; return their paths. Raises WeightsError when they cannot be written."""
    model, state = snapshot_names(solver)
    try:
        Path(model).parent.mkdir(parents=True, exist_ok=True)
        solver.net.save(model, solver.param.snapshot_diff)
        if state.endswith(".h5"):
            _write_h5(solver, model, state)
        else:
            content = _to_proto(solver, model).SerializeToString()
            write_atomically(state, with_checksum(content, pb.SolverState.LEARNED_NET_FIELD_NUMBER, model))
    except OSError as error:
        raise WeightsError(f"cannot write the snapshot {error.filename or model}: {error.strerror}") from None
    return model, state


def read_snapshot(solver: Solver, path: str) -> None:
    """Give `solver` the state of a .solverstate file and the weights of the model that it names.

    Raises WeightsError for a missing or damaged file, or one of another net or rule.
    """
    if not os.path.exists(path):
        raise WeightsError(f"{path}: no such snapshot")
    state = _read_h5(path) if path.endswith(".h5") else _read_proto(path)
    history = _history_slots(solver)
    if len(state.history) != len(history):
        raise WeightsError(
            f"{path}: {len(state.history)} history blobs, solver type {solver.param.type} needs {len(history)}"
            + other_net(solver.net, _model_of(path, state))
        )
    values = []
    for (blob, what), stored in zip(history, state.history, strict=True):
        value = _array(stored, f"{path}: history of {what}")
        if blob is not None and value.size != blob.count:
            other = other_net(solver.net, _model_of(path, state))
            raise WeightsError(f"{path}: history of {what} has {value.size} elements, expected {blob.count}{other}")
        values.append(value)
    if state.iter < 0:
        raise WeightsError(f"{path}: damaged: iteration {state.iter}")
    model = _model_of(path, state)
    with _unchanged_on_error(solver):
        if state.HasField("random_seed"):
            _restore_layers(path, solver, state)
        solver.net.copy_from(model)
    for (blob, _), value in zip(history, values, strict=True):
        if blob is not None:
            blob.data_storage.overwrite()[...] = value.reshape(-1)
    solver.iter = state.iter
    if state.HasField("random_seed"):
        solver.set_losses(list(state.losses))


def _model_of(path: str, state: pb.SolverState) -> str:
    """The path of the model that a state names, first beside the state. WeightsError unless its checksum agrees."""
    learned_net = state.learned_net
    if not learned_net or not isinstance(learned_net, str):  # protobuf returns bytes for a string that is not UTF-8
        raise WeightsError(f"{path}: names no learned net")
    beside = Path(path).parent / Path(learned_net).name
    for candidate in (beside, Path(learned_net)):
        if os.path.isfile(candidate):  # False, too, for a damaged name that no file can have
            if state.HasField("learned_net_checksum") and checksum_of(candidate) != state.learned_net_checksum:
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


# -- the part that BVLC does not store -----------------------------------------------------------------------
def _nets(solver: Solver) -> list[tuple[str, Net]]:
    return [("train", solver.net)] + [(f"test{i}", net) for i, net in enumerate(solver.test_nets)]


def _own_weights(solver: Solver, layer: Layer) -> dict[str, bytes]:
    """The blobs of a layer that only a test net has, which are not in the weights file; empty for other layers."""
    if layer.name in solver.net.params:
        return {}
    found = [blob.peek() for blob in layer.blobs]
    return {f"{_WEIGHTS}{i}": a.astype(_stored_type(a.dtype.itemsize)).tobytes() for i, a in enumerate(found)}


def _put_own_weights(layer: Layer, values: dict[str, int | float | bytes]) -> None:
    """Move `_own_weights` from the values of a layer into its blobs. Raises ValueError when they do not fit."""
    for i, blob in enumerate(layer.blobs):
        stored = values.pop(f"{_WEIGHTS}{i}", None)
        if stored is not None:
            if not isinstance(stored, bytes) or len(stored) not in (4 * blob.count, 8 * blob.count):
                raise ValueError(f"blob {i}")
            blob.data_storage.overwrite()[: blob.count] = np.frombuffer(
                stored, _stored_type(len(stored) // max(1, blob.count))
            )


def _stored_type(size: int) -> str:
    """How values of `size` bytes stand in a state: float32, or float64 of a solver that computes in it."""
    return "<f8" if size == 8 else "<f4"


def _layer_states(solver: Solver) -> Iterator[pb.LayerState]:
    engine = solver.net.executor.state()
    if engine:
        state = pb.LayerState(name=ENGINE)
        for key, value in engine.items():
            state.entry.add(key=key, float_value=value)
        yield state
    for which, net in _nets(solver):
        for layer in net.layers:
            values: dict[str, Any] = {"draws": layer.rng.draws, **layer.state(), **_own_weights(solver, layer)}
            if len(values) == 1 and not values["draws"]:
                continue
            state = pb.LayerState(name=f"{which}/{layer.identity}")
            for key, value in values.items():
                field = (
                    "bytes_value"
                    if isinstance(value, bytes)
                    else "float_value"
                    if isinstance(value, float)
                    else "int_value"
                )
                state.entry.add(key=key, **{field: value})
            yield state


@contextmanager
def _unchanged_on_error(solver: Solver) -> Iterator[None]:
    """Restore seeds, random streams and layers if reading a state fails half-way; a context manager."""
    seed, engine = solver.seed, solver.net.executor.state()
    nets = [
        (net, net.seed, [(layer, layer.rng, {**layer.state(), **_own_weights(solver, layer)}) for layer in net.layers])
        for _, net in _nets(solver)
    ]
    try:
        yield
    except BaseException:
        solver.seed = seed
        solver.net.executor.load_state(engine)
        for net, net_seed, layers in nets:
            net.seed = net.context.seed = net_seed
            for layer, stream, values in layers:
                layer.rng = stream
                _put_own_weights(layer, values)
                if values:
                    layer.load_state(values)
        raise


def _restore_layers(path: str, solver: Solver, state: pb.SolverState) -> None:
    by_name = {s.name: s for s in state.layer_state}
    if ENGINE in by_name:
        solver.net.executor.load_state({entry.key: entry.float_value for entry in by_name[ENGINE].entry})
    for which, net in _nets(solver):
        net.seed = net.context.seed = state.random_seed
        for layer in net.layers:
            layer.rng = Stream(state.random_seed, layer.identity, layer.context.share)
            stored = by_name.get(f"{which}/{layer.identity}")
            if stored is None:
                continue
            values: dict[str, int | float | bytes] = {}
            for entry in stored.entry:
                for field in ("int_value", "float_value", "bytes_value"):
                    if entry.HasField(field):
                        values[entry.key] = getattr(entry, field)
            if any(isinstance(value, int) and not 0 <= value <= _MAX_INTEGER for value in values.values()):
                raise WeightsError("its state is damaged", layer=layer.where, position=Position(path))
            draws = values.pop("draws", 0)
            if not isinstance(draws, int):
                raise WeightsError("its random state is damaged", layer=layer.where, position=Position(path))
            layer.rng.draws = draws
            if values:
                try:
                    _put_own_weights(layer, values)
                    if values:
                        layer.load_state(values)
                except (KeyError, ValueError, TypeError, OverflowError):
                    raise WeightsError("its state is damaged", layer=layer.where, position=Position(path)) from None
    solver.seed = state.random_seed


def checksum_of(model: Path) -> int | None:
    """The checksum that a weights file holds; None in files of other programs. Raises OSError."""
    return h5_checksum(model) if model.suffix == ".h5" else stored_checksum(model)


# -- binary protobuf -----------------------------------------------------------------------------------------
def _to_proto(solver: Solver, model: str) -> pb.SolverState:
    from dragon.proto.blobs import array_to_blobproto
    from dragon.version import __version__

    return pb.SolverState(
        iter=solver.iter,
        learned_net=model,
        learned_net_checksum=checksum_of(Path(model)),
        current_step=solver.current_step,
        history=[array_to_blobproto(a) for a in _history_arrays(solver)],
        random_seed=solver.seed,
        layer_state=list(_layer_states(solver)),
        losses=list(solver.losses),
        version=__version__,
    )


def _read_proto(path: str) -> pb.SolverState:
    state = pb.SolverState()
    try:
        with open_regular(path) as file:
            check(file, os.fstat(file.fileno()).st_size, path)
            _parse(path, state, file.read())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    if not state.HasField("iter"):
        raise WeightsError(f"{path}: not a solver state (it has no iteration)")
    return state


def _parse(path: str, state: pb.SolverState, content: bytes) -> None:
    from google.protobuf.message import DecodeError

    try:
        state.ParseFromString(content)
    except DecodeError as error:
        raise WeightsError(f"{path}: not a solver state, or damaged: {one_line(str(error))}") from None


def _array(blob: pb.BlobProto, what: str) -> Array:
    from dragon.proto.blobs import blobproto_to_array

    try:
        array: Array = blobproto_to_array(blob)
        return array
    except WeightsError as error:
        raise WeightsError(f"{what} is damaged: {error}") from None


# -- HDF5, Caffe's datasets plus the attribute "dragon" ------------------------------------------------------
def _write_h5(solver: Solver, model: str, path: str) -> None:
    from dragon.files.hdf5 import atomic_h5, write_text, write_values

    extra = _to_proto(solver, model)
    del extra.history[:]
    with atomic_h5(path, checksum=True) as file:
        file.create_dataset("iter", data=np.array([solver.iter], np.int32))
        write_text(file, "learned_net", model)
        file.create_dataset("current_step", data=np.array([solver.current_step], np.int32))
        group = file.create_group("history")
        for k, array in enumerate(_history_arrays(solver)):
            write_values(group, str(k), array)
        write_values(file, "dragon", np.frombuffer(extra.SerializeToString(), np.uint8))


def _read_h5(path: str) -> pb.SolverState:
    from dragon.files.hdf5 import open_h5, read_array, read_number, read_text
    from dragon.files.hdf5_checks import check_sizes
    from dragon.proto.blobs import array_to_blobproto

    state = pb.SolverState()
    with open_h5(path) as file:
        if "dragon" in file:
            _parse(path, state, read_array(file["dragon"]).tobytes())
        state.iter = read_number(file["iter"])
        learned = file["learned_net"]
        if learned.dtype.kind == "S":
            state.learned_net = read_text(learned)
        elif not state.learned_net:  # else it is known already; the library may hang on a damaged heap of strings
            raise WeightsError(f"{path}: expected learned_net to be a string of fixed length, got {learned.dtype}")
        state.current_step = read_number(file["current_step"])
        history = [file["history"][str(k)] for k in range(len(file["history"]))]
        check_sizes(history)
        state.history.extend(array_to_blobproto(read_array(dataset)) for dataset in history)
    return state
