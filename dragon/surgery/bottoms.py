"""Bottoms that one phase lacks, since the rules of the layers that make them leave these out."""

from __future__ import annotations

from collections.abc import Iterator

from dragon.graph.definition import left_out
from dragon.graph.states import present, states
from dragon.proto import dragon_pb2 as pb

__all__ = ["missing_in_a_phase"]


def missing_in_a_phase(net: pb.NetParameter) -> Iterator[tuple[int, str]]:
    """Positions of layers with a message about a bottom that a phase lacks in every level and stage.

    Bottoms that no layer before makes in any phase are not among them. A net may be meant for one phase, which only its
    data says: a phase in which nothing stands before a layer, and so no data, is passed over.
    """
    for phase in (pb.TRAIN, pb.TEST):
        wanted: dict[tuple[int, str], bool] = {}  # by layer and bottom: whether a state has it
        for state in states(net, phase):
            made: set[str] = set()
            for index in present(net, state):
                layer = net.layer[index]
                for bottom in layer.bottom if made else ():
                    wanted[index, bottom] = wanted.get((index, bottom), False) or bottom in made
                if made or not layer.bottom:
                    made.update(layer.top)
        for (index, bottom), has in wanted.items():
            if not has and any(bottom in other.top for other in net.layer[:index]):
                yield index, f'bottom "{bottom}" is not made in {pb.Phase.Name(phase)}{left_out(bottom, net)}'
