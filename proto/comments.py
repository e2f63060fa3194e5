"""The comments of dragon.proto on messages and their fields, which the compiled schema does not contain."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from importlib import resources

__all__ = ["MessageComments", "message_comments"]

_MESSAGE = re.compile(r"message (\w+) \{")
_FIELD = re.compile(r"\s+(?:optional|repeated|required)\s+[\w.]+\s+(\w+)\s*=[^;]*;\s*//\s*(.*)$")


@dataclass
class MessageComments:
    """The comment above a message, and those behind its fields, by name."""

    text: str = ""
    fields: dict[str, str] = field(default_factory=dict)


def message_comments(name: str) -> MessageComments:
    """The comments on a top-level message; empty if there are none."""
    return _all().get(name, MessageComments())


@functools.cache
def _all() -> dict[str, MessageComments]:
    found: dict[str, MessageComments] = {}
    above: list[str] = []
    inside = MessageComments()
    for line in resources.files("dragon.proto").joinpath("dragon.proto").read_text("utf-8").splitlines():
        message, entry = _MESSAGE.match(line), _FIELD.match(line)
        if message:
            inside = found[message[1]] = MessageComments(" ".join(above))
        elif entry:
            inside.fields[entry[1]] = entry[2]
        above = [*above, line.removeprefix("//").strip()] if line.startswith("//") else []
    return found
