"""A net's definition with its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import Position, WeightsError, nearest
from dragon.files.atomic import atomic_path
from dragon.graph.changes import change_net
from dragon.graph.definition import places_of
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.layer_blobs import put_blobs, take_blobs
from dragon.proto.net_text import NetSource
from dragon.proto.text import format_text

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Arrays", "Model", "Note", "arrays_of", "read_model", "silent_note", "write_model"]

Arrays = list[NDArray[Any]]  # the blobs of one layer
Note = Callable[[str], None]  # takes a line about what an operation did, or left and why


def silent_note(line: str) -> None:
    """The note that goes nowhere."""


@dataclass
class Model:
    """A definition in the present form and, where weights were given, the arrays of each layer by name."""

    net: pb.NetParameter
    arrays: dict[str, Arrays] = field(default_factory=dict)
    folder: Path | None = None  # in which files that the net names are looked for
    source: NetSource | None = None  # the text that the net was read from
    dialect: str = ""  # the profile whose layers became those of the present form when the net was read
    level: int = 0  # of the net state in which the model is run
    stages: Sequence[str] = ()  # the same
    # the layers whose arrays were read from files, where those of others are blobs of the definition and written there;
    # None: the definition has none
    from_files: frozenset[str] | None = None
    places: Mapping[str, Position] = field(default_factory=dict)  # of layers by name, as far as they stand in a file

    @classmethod
    def of(cls, net: pb.NetParameter, folder: Path | None = None) -> Model:
        """The model of a definition alone, with the blobs that are written in it. Raises PrototxtError."""
        return cls(net, folder=folder).with_blobs_of_definition()

    def with_blobs_of_definition(self) -> Model:
        """The model with the blobs of its definition among its arrays, which come first; itself if it has none."""
        if not any(layer.blobs for layer in self.net.layer):
            return self
        new = self.copy()
        new.from_files = frozenset(self.arrays)
        new.arrays = take_blobs(new.net) | new.arrays
        return new

    def definition(self) -> pb.NetParameter:
        """The net as it is written: with the blobs that its definition had."""
        if self.from_files is None:
            return self.net
        return put_blobs(self.net, {name: a for name, a in self.arrays.items() if name not in self.from_files})

    def copy(self) -> Model:
        """A copy with its own definition and lists of arrays. The arrays are shared: replace, do not change them."""
        net = pb.NetParameter()
        net.CopyFrom(self.net)
        return replace(self, net=net, arrays={name: list(arrays) for name, arrays in self.arrays.items()})

    def text(self) -> tuple[str, bool]:
        """The definition as text, and whether that is the text that it was read from, with what has changed."""
        net = self.definition()
        edited = None if self.source is None else self.source.edit(net)
        return (format_text(net), False) if edited is None else (edited, True)


def arrays_of(net: Net) -> dict[str, Arrays]:
    """Copies of a net's blobs, by layer."""
    return {name: [blob.peek().copy() for blob in blobs] for name, blobs in net.params.items()}


def read_model(
    prototxt: str | Path,
    weights: str | Path | None = None,
    profile: str | None = None,
    assignments: Iterable[Assignment] = (),
    level: int = 0,
    stages: Sequence[str] = (),
    as_written: bool = False,
) -> Model:
    """Definition and weights in today's form; layers that only the file has are left out.

    weights: a path, or several with commas between them, of which a later one replaces layers of those before.
    profile: of the prototxt and the weights (see dragon.proto.profiles). assignments: changes of the definition. level,
    stages: of the state in which the model is run. as_written: layers of a dialect stay, with their blobs. Raises
    PrototxtError, WeightsError, or UsageError for an assignment that does not fit.
    """
    from dragon.files.paths import split_paths
    from dragon.files.shared_blobs import explain_missing, with_shared_blobs
    from dragon.files.stored_weights import stored_layers
    from dragon.proto.layer_names import name_layers
    from dragon.proto.profiles import find_profile
    from dragon.proto.text import read_net_source
    from dragon.surgery.present import to_present

    definition, source = read_net_source(prototxt, profile)
    changed = change_net(definition, assignments)
    net, folder = name_layers(changed.message), definition.folder
    places = places_of(replace(changed, message=net))
    model = Model(net, {}, folder, source, net.profile, level, stages, places=places)
    if weights is None:
        found = model.with_blobs_of_definition()
        return found if as_written else to_present(found)
    if find_profile(net.profile or None).dialect:
        profile = None  # the blobs are those of the layers as they stand
    names = {layer.name for layer in net.layer}
    stored: dict[str, Sequence[Any]] = {}
    for path in split_paths(str(weights)):
        for name, arrays in stored_layers(path, profile):
            stored[name] = arrays or stored.get(name, ())
    known: dict[str, Arrays] = {}
    for name, arrays in with_shared_blobs(net.layer, stored).items():
        if name in names and arrays:
            known[name] = [np.asarray(array) for array in arrays if array is not None]
            if len(known[name]) < len(arrays):
                lost = [i for i, array in enumerate(arrays) if array is None]
                why = explain_missing(net.layer, name, lost, len(arrays))
                raise WeightsError(f'{weights}: layer "{name}" has a blob too few{why}')
    if not any(stored.values()):
        raise WeightsError(f"{weights}: has no parameters of any layer; leave it out if {prototxt} has none either")
    if not known:
        wanted = next(name for name, arrays in stored.items() if arrays)
        raise WeightsError(f"{weights}: weights of another net than {prototxt}{nearest(wanted, names)}")
    found = replace(model, arrays=known).with_blobs_of_definition()
    present = to_present(found)  # raises for another number of blobs
    return found if as_written else present


def write_model(model: Model, prototxt: str | Path | None, weights: str | Path | None) -> None:
    """Write a model to the paths that are given; each file appears whole or not at all, and neither without the other.

    Of a text that the net was read from, only what has changed is written anew; blobs in it go to the weights, where
    these are written too. weights: the ending chooses the
    format, as in `write_arrays`. Raises OSError or WeightsError.
    """
    from dragon.files.stored_weights import write_arrays

    with ExitStack() as stack:
        if prototxt is not None:
            written = model if weights is None else replace(model, from_files=None)  # values are written once
            text = written.text()[0].encode("utf-8", "surrogateescape")
            stack.enter_context(atomic_path(prototxt)).write_bytes(text)  # gets its name when the weights have theirs
        if weights is not None:
            write_arrays(weights, model.net, model.arrays)
