"""Settings of a net that are changed after it is read: `conv1.convolution_param.num_output=64`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dragon.bases.registry import canonical, class_of, unread_by_all
from dragon.errors import nearest
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment, has_field
from dragon.proto.definition import Definition

__all__ = ["NetChanges", "change_net"]

_NET = "net."


class NetChanges:
    """Assignments to fields of nets, applied to each net that is read.

    The path of one begins with the name or the type of layers, in quotes where the name has them or is that of a field,
    and goes on with a field of LayerParameter, or of the settings that the layer's type reads: `conv1.num_output=64`.
    `conv1[0]` is the first of several layers of the name. Other paths are fields of NetParameter. A path may begin
    with `net.`. known: further names that an unknown one may be a slip of.
    """

    def __init__(self, assignments: Iterable[Assignment], known: Iterable[str] = ()) -> None:
        self.assignments = tuple(assignments)
        self._known = [*known, *pb.NetParameter.DESCRIPTOR.fields_by_name]
        self._fitting: set[Assignment] = set()
        self._names: dict[str, None] = {}

    def apply(self, definition: Definition[pb.NetParameter]) -> Definition[pb.NetParameter]:
        """The definition with the assignments, of which some may fit no layer of it. Raises UsageError."""
        if not self.assignments:
            return definition
        net = pb.NetParameter()
        net.CopyFrom(definition.message)
        self._names |= dict.fromkeys(name for layer in net.layer for name in (layer.name, layer.type))
        for assignment in self.assignments:
            if self._apply(net, assignment):
                self._fitting.add(assignment)
        return replace(definition, message=net)

    def check(self) -> None:
        """Raise UsageError for an assignment that fits none of the nets that `apply` was given."""
        for assignment in self.assignments:
            if assignment not in self._fitting:
                name, rest = _head(assignment)
                if name in self._names and rest.startswith("["):
                    assignment.fail(f"the net has no layer {name}{rest.partition('.')[0]}")
                if name in self._names:
                    assignment.fail(f'"{name}" is a layer: say which of its fields, as in {name}.FIELD=VALUE')
                if name in self._known and assignment.split_quoted()[0] is None:
                    assignment.fail(
                        f'"{name}" is a field: expected the number of an entry behind it, as in {name}[0], or a field '
                        f'of it, as in {name}.FIELD, got "{rest}"'
                    )
                hint = nearest(name, [*self._names, *self._known])
                assignment.fail(f'no layer has the name or type "{name}"{hint}')

    def _apply(self, net: pb.NetParameter, assignment: Assignment) -> bool:
        quoted, path = assignment.split_quoted()
        if quoted is not None:
            layers, rest = [layer for layer in net.layer if layer.name == quoted], path
            found = _numbered(layers, rest)
        else:
            path = path.removeprefix(_NET)
            found = _layers(net.layer, path)
            if found is None and has_field(net, path):
                assignment.set(net, path)
                return True
        if found is None or not found[0]:
            return False
        for layer in found[0]:
            path = _with_settings(layer, found[1])
            assignment.set(layer, path)
        if why := unread_by_all(found[0], re.split(r"[.\[]", path, maxsplit=1)[0]):
            assignment.fail(f'layer "{found[0][0].name}" ({found[0][0].type}) does not read this: {why}')
        return True


def change_net(
    definition: Definition[pb.NetParameter], assignments: Iterable[Assignment]
) -> Definition[pb.NetParameter]:
    """The definition of a net with assignments that must all fit it. Raises UsageError."""
    changes = NetChanges(assignments)
    changed = changes.apply(definition)
    changes.check()
    return changed


def _layers(layers: Iterable[pb.LayerParameter], path: str) -> tuple[list[pb.LayerParameter], str] | None:
    """The layers that a path begins with the name of, the longest such name, or the type; and the rest of the path."""
    by_name: dict[str, list[pb.LayerParameter]] = {}
    for layer in layers:
        by_name.setdefault(layer.name, []).append(layer)
    for name in sorted(by_name, key=len, reverse=True):
        if name and path.startswith(name):
            found = _numbered(by_name[name], path[len(name) :])
            if found is not None:
                return found
    kind, _, rest = path.partition(".")
    of_type = [layer for layer in layers if layer.type and canonical(layer.type) == canonical(kind)]
    return (of_type, rest) if of_type and rest else None


def _numbered(layers: Sequence[pb.LayerParameter], path: str) -> tuple[list[pb.LayerParameter], str] | None:
    """For a path behind a layer's name, `.field` or `[1].field`: the layers that are meant, and the field."""
    match = re.match(r"(?:\[(\d{1,6})\])?\.(?=.)", path)
    if match is None:
        return None
    chosen = list(layers) if match[1] is None else list(layers[int(match[1]) : int(match[1]) + 1])
    return chosen, path[match.end() :]


def _with_settings(layer: pb.LayerParameter, path: str) -> str:
    """The path from LayerParameter: a field of the settings that the layer's type reads gets their name before it."""
    if has_field(layer, path):
        return path
    for name in class_of(layer).settings:
        if has_field(getattr(layer, name), path):
            return f"{name}.{path}"
    first = path.partition(".")[0]
    for name in class_of(layer).settings:  # a slip: its message names the field that was meant
        if nearest(first, getattr(layer, name).DESCRIPTOR.fields_by_name):
            return f"{name}.{path}"
    return path


def _head(assignment: Assignment) -> tuple[str, str]:
    """What an assignment calls its layer, as far as that can be said without the net, and the path behind it."""
    quoted, path = assignment.split_quoted()
    if quoted is not None:
        return quoted, path
    path = path.removeprefix(_NET)
    name = re.split(r"[.\[]", path, maxsplit=1)[0]
    return name, path[len(name) :]
