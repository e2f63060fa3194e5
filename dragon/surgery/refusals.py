"""What keeps a net from being made: of each layer that refuses its settings or its bottoms, what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dragon.bases.layer import TEST, TRAIN, Context
from dragon.errors import DataError, DragonError, EngineError
from dragon.graph.definition import admits, run_state
from dragon.graph.wiring import Wiring
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.surgery.without_data import without_data

__all__ = ["refusal", "refusals"]


def refusals(definition: Definition[pb.NetParameter]) -> list[tuple[int, str]]:
    """Index of the layer and message, of all layers that cannot be made in TRAIN or in TEST; nothing is said twice.

    Layers that read the tops of such a layer are not looked at, nor is what Python layers of the user do. Data that is
    not there is done without where the definition says its shape; where it does not, what reads it is not looked at.
    """
    found: dict[tuple[int, str], None] = {}
    for phase in (TRAIN, TEST):
        found |= dict.fromkeys(_in_phase(definition, run_state(definition.message.state, phase, 0, [])))
    return sorted(found)


def _in_phase(definition: Definition[pb.NetParameter], state: pb.NetState) -> Iterator[tuple[int, str]]:
    places = [i for i, layer in enumerate(definition.message.layer) if admits(layer, state)]
    while places:
        error = refusal(_part(definition, places), state)
        if error is None:
            return
        name = None if error.layer is None else error.layer.name
        failed = next((i for i in places if definition.message.layer[i].name == name), None)
        if failed is None:
            return
        layers = {i: definition.message.layer[i] for i in places}
        made = {top for i, layer in layers.items() if i < failed for top in layer.top}
        # a layer whose bottom another phase makes belongs to that phase, and a Python layer's code is not run
        if made.issuperset(layers[failed].bottom) and not isinstance(error, EngineError | DataError):
            yield failed, error.message
        lost = set(layers[failed].top)
        places.remove(failed)
        for i in [i for i in places if i > failed]:
            if not lost.isdisjoint(layers[i].bottom):
                lost.update(layers[i].top)
                places.remove(i)


def _part(definition: Definition[pb.NetParameter], places: list[int]) -> Definition[pb.NetParameter]:
    """The definition with only these layers."""
    net = pb.NetParameter()
    net.CopyFrom(definition.message)
    del net.layer[:]
    net.layer.extend(definition.message.layer[i] for i in places)
    return replace(definition, message=net, lines=())


def refusal(definition: Definition[pb.NetParameter], state: pb.NetState) -> DragonError | None:
    """What making the net in a state raises; None if nothing. Inputs take the place of data that is not there."""
    try:
        _make(definition, state)
    except DataError as missing:
        try:
            _make(without_data(definition, state)[0], state)
        except DataError:
            return missing
        except DragonError as error:
            return error
    except DragonError as error:
        return error
    return None


def _make(definition: Definition[pb.NetParameter], state: pb.NetState) -> None:
    folder = None if definition.folder is None else definition.folder.resolve()
    Wiring(definition, state, Context(folder=folder, allow_python=False)).close()
