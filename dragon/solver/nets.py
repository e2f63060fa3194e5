"""The nets of a solver: the one that it trains, and those that it tests with the same parameters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.share import ALONE, Share
from dragon.solver.definition import NetChoice, find_model, test_choices, train_choice

if TYPE_CHECKING:  # brings the parser of prototxt
    from dragon.graph.changes import NetChanges

__all__ = ["SolverNets"]

log = logging.getLogger("dragon")


class SolverNets:
    """Makes the nets that a solver's definition names.

    make: a Net of a model, with the settings that all nets of the solver have. changes: made to each net after it is
    read. folder: where the files that a net names are looked for, else as its own file says.
    """

    def __init__(
        self,
        definition: Definition[pb.SolverParameter],
        make: Callable[..., Net],
        *,
        changes: NetChanges | None,
        folder: Path | None,
        allow_unknown: bool,
    ) -> None:
        self.definition = definition
        self._make = make
        self._changes = changes if changes is not None and changes.assignments else None
        self._folder = folder
        self._allow_unknown = allow_unknown
        self._read: dict[str, Definition[pb.NetParameter]] = {}  # by path: a file is read, and warned of, once

    @property
    def changed(self) -> bool:
        """Whether the nets are changed after they are read."""
        return self._changes is not None

    def source(self, model: str | pb.NetParameter) -> Definition[pb.NetParameter]:
        """A net of the solver's definition as it is used. Raises PrototxtError."""
        if isinstance(model, str):
            path = str(find_model(model, self.definition))
            if path not in self._read:
                from dragon.proto.text import read_net_definition

                profile = self.definition.message.profile or None
                self._read[path] = read_net_definition(path, self._allow_unknown, profile)
            net = self._read[path]
        else:
            net = Definition(model)
        if self._folder is not None:
            net = replace(net, folder=self._folder)
        return net if self._changes is None else self._changes.apply(net)

    def train(self, share: Share) -> Net:
        """The net to train, of which this process has `share`. Warns where it has no loss."""
        net = self._net(train_choice(self.definition.message), share)
        if not any(node.makes_loss for node in net.nodes):
            log.warning('net "%s" has no loss in TRAIN, so no weight gets a gradient', net.name)
        return net

    def tests(self, trained: Net) -> list[Net]:
        """The nets to test, which have parameters of their own until their first test, as in Caffe.

        Scripts may set those, and the net that is trained keeps its own. Raises ShapeError where a net could not use
        the parameters of the one that is trained.
        """
        nets = []
        for choice in test_choices(self.definition.message):
            net = self._net(choice)
            _warn_untrained(net, trained)
            nets.append(net)
        return nets

    def _net(self, choice: NetChoice, share: Share = ALONE) -> Net:
        model, phase, state = choice
        level, stages = (state.level, list(state.stage)) if state else (0, [])
        return self._make(self.source(model), phase=phase, level=level, stages=stages, share=share)


def _warn_untrained(net: Net, trained: Net) -> None:
    """Warn of a layer of a test net whose parameters the train net has not, which may be a slip in its name."""
    found = {blob.data_storage for blob, _ in net.shared_blobs(trained)}
    for node in net.nodes:
        if node.layer.blobs and all(blob.data_storage not in found for blob in node.layer.blobs):
            log.warning(
                "%s: the train net has no layer of this name, so training leaves its parameters as they are",
                node.layer.where,
            )
