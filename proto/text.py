"""Prototxt: nets, solvers and other messages as text.

Errors are PrototxtError, one line: ``file:line:column: what is wrong, in layer "name"``.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from dragon.counting import how_many
from dragon.errors import MissingModelError, Position, PrototxtError
from dragon.files.kinds import HEAD, kind_of_content, other_text
from dragon.files.reading import read_bytes
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.dialects import DOUBT, doubtful_layers, set_profile
from dragon.proto.lexer import Tokens
from dragon.proto.parser import Parser
from dragon.proto.upgrade import upgrade_net_tracked, upgrade_solver

if TYPE_CHECKING:
    from dragon.proto.net_text import NetSource
    from dragon.proto.solver_text import SolverSource

__all__ = [
    "format_text",
    "parse_text",
    "read_message",
    "read_net",
    "read_net_definition",
    "read_net_source",
    "read_solver",
    "read_solver_definition",
    "read_solver_source",
]

_M = TypeVar("_M", bound=Message)
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\v\f\r")  # bytes that no text has
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_USUAL = ("solver.prototxt", "train_val.prototxt", "deploy.prototxt")  # in the folder of a net
_TEXT = re.compile(r"\{|\w\s*:\s")  # prototxt where a path was expected; a solver may have no bracket
_Path = str | os.PathLike[str]
_log = logging.getLogger("dragon")
_warned: set[str | None] = set()  # files with layers that may be of another dialect


def parse_text(
    text: str,
    message: _M,
    filename: str = "<string>",
    allow_unknown: bool = False,
    warn: Callable[[str], None] = _log.warning,
) -> _M:
    """Add what the text says to message, and return it.

    allow_unknown skips fields the schema does not have, sub-messages included, and calls warn for each.
    Raises PrototxtError.
    """
    Parser(Tokens(text, filename), allow_unknown, warn).parse(message)
    return message


def format_text(message: Message) -> str:
    """The message as prototxt; parse_text reads the same message back."""
    return str(text_format.MessageToString(message, as_utf8=True))


def read_message(path: _Path, message: _M, allow_unknown: bool = False) -> _M:
    """Any message from a prototxt file, not upgraded. Raises PrototxtError, also when the file is missing."""
    return parse_text(_read(path), message, str(path), allow_unknown)


def read_net(path: _Path, allow_unknown: bool = False, profile: str | None = None) -> pb.NetParameter:
    """A net from a prototxt file, upgraded to the present form. Raises PrototxtError.

    profile: the dialect that it is written in (see dragon.proto.dialects), if it does not say.
    """
    return read_net_definition(path, allow_unknown, profile).message


def read_net_definition(
    path: _Path, allow_unknown: bool = False, profile: str | None = None
) -> Definition[pb.NetParameter]:
    """As read_net, with the file, the line on which each layer begins, and the folder. Raises PrototxtError."""
    return _parse_net(_read(path), path, allow_unknown, profile)[0]


def read_net_source(
    path: _Path, profile: str | None = None, allow_unknown: bool = False
) -> tuple[Definition[pb.NetParameter], NetSource]:
    """As read_net_definition, with the text, so that it can be changed as the net is. Raises PrototxtError."""
    from dragon.proto.net_text import NetSource

    text, raw = _read(path), pb.NetParameter()
    definition, origin = _parse_net(text, path, allow_unknown, profile, raw)
    net = pb.NetParameter()
    net.CopyFrom(definition.message)
    return definition, NetSource(text, raw, net, tuple(origin))


def _parse_net(
    text: str, path: _Path, allow_unknown: bool, profile: str | None, raw: pb.NetParameter | None = None
) -> tuple[Definition[pb.NetParameter], list[int]]:
    """The net of a text, and the position in the text of each of its layers. raw: is given the net as it is written."""
    net = pb.NetParameter()
    parser = Parser(Tokens(text, str(path)), allow_unknown, _log.warning)
    parser.parse(net)
    if raw is not None:
        raw.CopyFrom(net)
    lines = parser.entries.get("layer") or parser.entries.get("layers") or []
    try:
        set_profile(net, profile)
        net, origin = upgrade_net_tracked(net)
    except PrototxtError as error:
        error.at(position=Position(str(path), _second_form(parser.entries)))
        raise
    definition = Definition(net, str(path), tuple(lines[i] if i >= 0 else 0 for i in origin), Path(path).parent)
    _warn_of_doubtful_layers(definition)
    return definition, origin


def _second_form(lines: Mapping[str, Sequence[int]]) -> int:
    """The line of the first layer that is written in another form than those before it; 0 if all have one form."""
    starts = [lines[form][0] for form in ("layer", "layers") if lines.get(form)]
    return max(starts) if len(starts) > 1 else 0


def read_solver(path: _Path, allow_unknown: bool = False, profile: str | None = None) -> pb.SolverParameter:
    """A solver from a prototxt file, upgraded to the present form. Raises PrototxtError.

    profile: the dialect of its nets, if neither it nor they say.
    """
    return read_solver_definition(path, allow_unknown, profile).message


def read_solver_definition(
    path: _Path, allow_unknown: bool = False, profile: str | None = None
) -> Definition[pb.SolverParameter]:
    """As read_solver, with the file and its folder. Raises PrototxtError."""
    return _parse_solver(_read(path), path, allow_unknown, profile)


def read_solver_source(
    path: _Path, profile: str | None = None, allow_unknown: bool = False
) -> tuple[Definition[pb.SolverParameter], SolverSource]:
    """As read_solver_definition, with the text, so that it can be changed as the solver is. Raises PrototxtError."""
    from dragon.proto.solver_text import SolverSource

    text, raw = _read(path), pb.SolverParameter()
    definition = _parse_solver(text, path, allow_unknown, profile, raw)
    return definition, SolverSource(text, raw)


def _parse_solver(
    text: str, path: _Path, allow_unknown: bool, profile: str | None, raw: pb.SolverParameter | None = None
) -> Definition[pb.SolverParameter]:
    """The solver of a text. raw: is given the solver as it is written."""
    solver = pb.SolverParameter()
    tokens = Tokens(text, str(path))
    parser = Parser(tokens, allow_unknown, _log.warning)
    parser.parse(solver)
    if raw is not None:
        raw.CopyFrom(solver)
    fields = {name: tokens.line(start) for name, start in parser.given.items()}
    try:
        set_profile(solver, profile)
        return Definition(upgrade_solver(solver), str(path), folder=Path(path).parent, fields=fields)
    except PrototxtError as error:
        error.at(position=Position(str(path)))
        raise


def _warn_of_doubtful_layers(definition: Definition[pb.NetParameter]) -> None:
    """Warn, once for each file, of layers that may be of another dialect."""
    found = doubtful_layers(definition.message)
    if not found or definition.file in _warned:
        return
    _warned.add(definition.file)
    layer = definition.message.layer[found[0]]
    others = f", and {how_many(len(found) - 1, 'more such layer')}" if len(found) > 1 else ""
    _log.warning('%s: layer "%s" (%s) %s%s', definition.position(found[0]), layer.name, layer.type, DOUBT, others)


def _read(path: _Path) -> str:
    if path == "":
        raise MissingModelError("the path of the prototxt is empty")
    try:
        content = read_bytes(path)
    except OSError as error:
        if _TEXT.search(text := os.fspath(path)):
            raise PrototxtError(
                f'expected the path of a prototxt, got its text ("{text.strip()[:40]}..."): write it into a file, or '
                "parse it and pass the message"
            ) from None
        refused = MissingModelError(f"cannot be read: {error.strerror}", position=Position(str(path)))
        if held := [name for name in _USUAL if os.path.isfile(os.path.join(path, name))]:
            refused.hint = f"it holds {', '.join(held)}"
        raise refused from None
    except ValueError:  # a NUL in the name
        raise PrototxtError(f"{path!r}: not a file name") from None
    if any(byte in _CONTROL for byte in content[:HEAD]):
        kind = kind_of_content(content[:HEAD]) or ("text in UTF-16" if content.startswith(_UTF16) else None)
        if kind is None:
            kind = "a binary file" + (", perhaps weights (.caffemodel)" if content.startswith(b"\n") else "")
        raise PrototxtError(f"expected a prototxt, this is {kind}", position=Position(str(path)))
    if (kind := other_text(content[:HEAD])) is not None:
        raise PrototxtError(f"expected a prototxt, this is {kind}", position=Position(str(path)))
    return content.decode("utf-8", "surrogateescape")  # comments may be in any encoding; names are checked
