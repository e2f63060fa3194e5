"""The part of a snapshot that BVLC Caffe does not store: random streams, data positions, weights of test nets alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.errors import Position, WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

if TYPE_CHECKING:
    from dragon.bases.layer import Layer
    from dragon.graph.net import Net
    from dragon.solver.solver import Solver

__all__ = ["layer_states", "restore_layers", "unchanged_on_error"]

_MAX_INTEGER = 2**53  # of a stored integer (draws, positions); a larger one is damaged
_WEIGHTS = "(weights) "  # followed by a number: a key among the values of a layer
_ENGINE = "(engine)"  # among the states of layers, which are named train/LAYER


def layer_states(solver: Solver) -> Iterator[pb.LayerState]:
    """The states of the layers of all nets of a solver, and first that of the engine, if it has one."""
    engine = solver.net.executor.state()
    if engine:
        state = pb.LayerState(name=_ENGINE)
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
def unchanged_on_error(solver: Solver) -> Iterator[None]:
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


def restore_layers(path: str, solver: Solver, state: pb.SolverState) -> None:
    """Give the engine, the nets and their layers the states that stand in `state`, which was read from `path`.

    Raises WeightsError for a state that is damaged; some layers then have theirs already.
    """
    by_name = {s.name: s for s in state.layer_state}
    if _ENGINE in by_name:
        solver.net.executor.load_state({entry.key: entry.float_value for entry in by_name[_ENGINE].entry})
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
