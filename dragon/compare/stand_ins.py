"""Python layers of py-faster-rcnn, which take settings from files beside the net, and what decides their results."""

from __future__ import annotations

import hashlib

from dragon.bases.layer import TEST, TRAIN
from dragon.bases.rcnn_settings import STAND_INS, stand_in
from dragon.compare.data_files import find_files, named_digest, named_files
from dragon.errors import PrototxtError
from dragon.files.paths import find, path_or_none
from dragon.proto import dragon_pb2 as pb

__all__ = ["stand_in_digest", "stand_in_nets"]


def stand_in_nets(layer: pb.LayerParameter, folder: str | None) -> list[pb.NetParameter]:
    """Dragon's layer that takes the place of a Python layer, for each phase, as nets with the files that are found.

    folder: that of the net, where the settings are, too. Empty for other layers, and for settings that are wrong, of
    which the layer tells when it is made.
    """
    p = layer.python_param
    if layer.type != "Python" or (p.module, p.layer) not in STAND_INS:
        return []
    place = path_or_none(folder)
    nets = []
    for phase in (TRAIN, TEST):
        try:
            net = pb.NetParameter(layer=[stand_in(layer, phase, place, lambda path: str(find(path, place) or path))])
        except PrototxtError:
            return []
        net.layer[0].python_param.Clear()
        if place is not None:
            find_files(net, place)
        nets.append(net)
    return nets


def stand_in_digest(layer: pb.LayerParameter, folder: str | None) -> str:
    """The digest of the settings of `stand_in_nets`, and of the files that they name; empty where there are none."""
    nets = stand_in_nets(layer, folder)
    total = hashlib.sha256()
    for net in nets:
        for message, field, root in list(named_files(net)):
            setattr(message, field, named_digest(getattr(message, field), field, root, folder))
        total.update(net.SerializeToString(deterministic=True))
    return total.hexdigest() if nets else ""
