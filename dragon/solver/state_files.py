"""Files of a SolverState: binary protobuf, and HDF5 with Caffe's datasets plus the attribute "dragon"."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from dragon.errors import WeightsError
from dragon.files.atomic import write_atomically
from dragon.files.kinds import STATE, instead
from dragon.files.reading import open_regular
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.checksum import check, with_checksum

__all__ = ["read_state", "write_state"]


def write_state(path: str, state: pb.SolverState, history: Iterable[Array]) -> None:
    """Write a state, which has no history yet, with the arrays of `history`. Raises OSError."""
    if path.endswith(".h5"):
        _write_h5(path, state, history)
    else:
        _write_proto(path, state, history)


def read_state(path: str) -> pb.SolverState:
    """The state of a file. Raises WeightsError for one that is damaged or of another kind."""
    return _read_h5(path) if path.endswith(".h5") else _read_proto(path)


# -- binary protobuf -----------------------------------------------------------------------------------------
def _write_proto(path: str, state: pb.SolverState, history: Iterable[Array]) -> None:
    from dragon.proto.blobs import array_to_blobproto

    state.history.extend(array_to_blobproto(array) for array in history)
    content = state.SerializeToString()
    write_atomically(path, with_checksum(content, pb.SolverState.LEARNED_NET_FIELD_NUMBER, state.learned_net))


def _read_proto(path: str) -> pb.SolverState:
    state = pb.SolverState()
    try:
        with open_regular(path) as file:
            check(file, os.fstat(file.fileno()).st_size, path)
            _parse(path, state, file.read())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    if not state.HasField("iter"):
        weights = "; it may be weights, which belong to --weights" if path.endswith(".caffemodel") else ""
        raise WeightsError(f"{path}: not a solver state (it has no iteration){instead(path, STATE) or weights}")
    if (state.HasField("solver_type") or state.HasField("random_seed")) and not state.HasField(
        "version"
    ):  # cut between two fields it can be parsed
        raise WeightsError(f"{path}: the file is damaged: it is cut off")
    return state


def _parse(path: str, state: pb.SolverState, content: bytes) -> None:
    from google.protobuf.message import DecodeError

    try:
        state.ParseFromString(content)
    except DecodeError:
        raise WeightsError(f"{path}: not a solver state, or a damaged one{instead(path, STATE)}") from None


# -- HDF5 ----------------------------------------------------------------------------------------------------
def _write_h5(path: str, state: pb.SolverState, history: Iterable[Array]) -> None:
    from dragon.files.hdf5 import atomic_h5, write_text, write_values

    with atomic_h5(path, checksum=True) as file:
        file.create_dataset("iter", data=np.array([state.iter], np.int32))
        write_text(file, "learned_net", state.learned_net)
        file.create_dataset("current_step", data=np.array([state.current_step], np.int32))
        if state.HasField("minimum_loss"):  # SSD's, of the policy plateau
            file.create_dataset("iter_last_event", data=np.array([state.iter_last_event], np.int32))
            file.create_dataset("minimum_loss", data=np.array([state.minimum_loss], np.float32))
        group = file.create_group("history")
        for k, array in enumerate(history):
            write_values(group, str(k), array)
        write_values(file, "dragon", np.frombuffer(state.SerializeToString(), np.uint8))


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
        if "minimum_loss" in file and not state.HasField("minimum_loss"):  # of SSD's Caffe
            state.iter_last_event = read_number(file["iter_last_event"])
            lowest = read_array(file["minimum_loss"])
            if lowest.size != 1 or lowest.dtype.kind != "f":
                raise WeightsError(f"{path}: expected minimum_loss to be a number, got {lowest.dtype} {lowest.shape}")
            state.minimum_loss = float(lowest.reshape(-1)[0])
        history = [file["history"][str(k)] for k in range(len(file["history"]))]
        check_sizes(history)
        state.history.extend(array_to_blobproto(read_array(dataset)) for dataset in history)
    return state
