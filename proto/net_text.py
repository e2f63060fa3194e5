"""The text of a net, changed as the net is: layers keep their places, and their text where they do not change."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.layer_names import name_layers
from dragon.proto.text import parse_text
from dragon.proto.text_edit import Editor, without_unknown
from dragon.proto.text_style import indentation
from dragon.proto.text_tree import Entry
from dragon.proto.upgrade import upgrade_net
from dragon.proto.v1_text import present_layers

__all__ = ["NetSource", "quiet", "silent"]

_LAYER = "layer"


@dataclass(frozen=True)
class NetSource:
    """The text of a net with what it says: `raw` as written, `net` in the present form.

    origin: for each layer of `net` its position in `raw`; negative for one that was made from the net's inputs.
    """

    text: str
    raw: pb.NetParameter
    net: pb.NetParameter
    origin: tuple[int, ...]

    def edit(self, new: pb.NetParameter) -> str | None:
        """The text, changed to say what `new` says; None where it has no such form.

        new: the net in the present form, changed. There is no form for text of V0. Where a layer changes that the text
        does not have, such as an Input that is made of `input` and `input_dim`, all that is of an older form goes.
        """
        if self.raw.layers:
            source = self._of_present_layers()
            return None if source is None else source.edit(new)
        edited = self._edit(new)
        return self._from_raw(self.text, self.net)._edit(new) if edited is None else edited

    def _edit(self, new: pb.NetParameter) -> str | None:
        wanted = name_layers(new)
        for write_names in (False, True):
            edited = _NetEditor(self.text, self, write_names).edit(wanted)
            if edited is None or _says(edited, wanted):
                return edited
        return None

    def upgrade(self, new: pb.NetParameter, drop_unknown: bool = False) -> str | None:
        """As `edit`, with all that is of an older form in the present one.

        drop_unknown: leave out fields that the schema does not have, which else stay.
        """
        source = self._of_present_layers() if self.raw.layers else self
        if source is None:
            return None
        text = without_unknown(source.text, source.raw) if drop_unknown else source.text
        return source._from_raw(text, new)._edit(new)

    def _from_raw(self, text: str, upgraded: pb.NetParameter) -> NetSource:
        """The source whose changes begin with the net as it is written.

        upgraded: with the names that layers without one have: those depend on their types, which change.
        """
        raw = pb.NetParameter()
        raw.CopyFrom(self.raw)
        for of, layer in zip(self.origin, name_layers(upgraded).layer, strict=True):
            if of >= 0 and not raw.layer[of].name:
                raw.layer[of].name = layer.name
        return replace(self, text=text, net=raw, origin=tuple(range(len(raw.layer))))

    def _of_present_layers(self) -> NetSource | None:
        """The source of the same net whose text has `layer` in place of V1's `layers`; None for V0."""
        text = present_layers(self.text, self.raw)
        return None if text is None else replace(self, text=text, raw=_parsed(text))


def _parsed(text: str) -> pb.NetParameter:
    return parse_text(text, pb.NetParameter(), allow_unknown=True, warn=silent)


def silent(line: str) -> None:
    """Say nothing of skipped fields, which were reported when the text was read."""


def _says(text: str, net: pb.NetParameter) -> bool:
    """Whether text means a net."""
    try:
        with quiet():
            return name_layers(upgrade_net(_parsed(text))) == net
    except PrototxtError:
        return False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Say nothing of upgrades, which were reported when the text was read."""
    log = logging.getLogger("dragon")

    def refuse(record: logging.LogRecord) -> bool:
        return False

    log.addFilter(refuse)
    try:
        yield
    finally:
        log.removeFilter(refuse)


class _NetEditor(Editor):
    """Changes the layers of a net; each is known by its name, its conditions and, among equals, its number."""

    def __init__(self, text: str, source: NetSource, write_names: bool) -> None:
        super().__init__(text)
        self._source, self._write_names = source, write_names
        self._entries = [entry for entry in self.tree.entries if entry.name == _LAYER]

    def edit(self, new: pb.NetParameter) -> str | None:
        """The changed text; None where it cannot say what `new` says."""
        if any(entry.listed for entry in self._entries):
            return None
        base, origin = name_layers(self._source.net), self._source.origin
        matched = _match(base.layer, new.layer)
        kept: list[int | None] = []  # for each layer that the text will have: its entry, or None for a new one
        fresh: list[pb.LayerParameter] = []
        changed: list[tuple[int, pb.LayerParameter]] = []
        alike = {at for at, layer in zip(matched, new.layer, strict=True) if at is not None and base.layer[at] == layer}
        for at, layer in zip(matched, new.layer, strict=True):
            entry = None if at is None else origin[at]
            same = at in alike and not (self._write_names and entry is not None and self._unnamed(entry))
            if entry is not None and (entry < 0 or origin.count(entry) > 1):
                if not same:
                    return None
                if entry < 0 or entry in kept:
                    continue
            if entry is not None and not same:
                changed.append((entry, layer))
            kept.append(entry)
            fresh.append(layer)
        if any(of < 0 and at not in alike for at, of in enumerate(origin)):
            return None
        for entry, layer in changed:
            body = self._entries[entry].items[0].body
            assert body is not None
            self.change(body, self._as_typed(entry, base, origin), layer)
        self._arrange(kept, fresh)
        inputs = ("input", "input_shape", "input_dim") if any(of < 0 for of in origin) else ()
        self.change(self.tree, self._source.raw, new, (_LAYER, *inputs))
        return self.apply()

    def _unnamed(self, entry: int) -> bool:
        return entry >= 0 and not self._source.raw.layer[entry].name

    def _as_typed(self, entry: int, base: pb.NetParameter, origin: Sequence[int]) -> pb.LayerParameter:
        layer = pb.LayerParameter()
        layer.CopyFrom(self._source.raw.layer[entry])
        if not layer.name and not self._write_names:
            layer.name = base.layer[origin.index(entry)].name
        return layer

    def _arrange(self, kept: Sequence[int | None], fresh: Sequence[pb.LayerParameter]) -> None:
        """Put the layers into their order: entries stay where they can, others move, new ones are written."""
        order = [entry for entry in kept if entry is not None]
        blocks = SequenceMatcher(None, sorted(order), order, autojunk=False).get_matching_blocks()
        staying = {entry for block in blocks for entry in order[block.b : block.b + block.size]}
        moved = {entry: self._take(self._entries[entry]) for entry in order if entry not in staying}
        for k, entry in enumerate(self._entries):
            if k not in order:
                self.remove(entry)
        anchor: Entry | None = None
        for entry_at, layer in zip(kept, fresh, strict=True):
            if entry_at in staying and entry_at is not None:
                anchor = self._entries[entry_at]
                continue
            near = anchor or (self._entries[0] if self._entries else None)
            text = moved[entry_at] if entry_at in moved and entry_at is not None else self._written(layer, near)
            self._put(anchor, text)

    def _take(self, entry: Entry) -> str:
        """The changed text of an entry that moves."""
        text = self.apply(entry.start, entry.end)
        self.edits = [edit for edit in self.edits if not entry.start <= edit[0] < entry.end]
        self._gone = {at: gone for at, gone in self._gone.items() if not entry.start <= at < entry.end}
        self.remove(entry)
        return text

    def _written(self, layer: pb.LayerParameter, near: Entry | None) -> str:
        body = None if near is None else near.items[0].body
        one_line = False
        if body is not None and body.entries:
            one_line = "\n" not in self.text[body.opened : body.entries[0].start]
        return self.style.message(_LAYER, layer, self._indent(), one_line)

    def _indent(self) -> str:
        """The indentation of the net's entries: a net within a solver has one."""
        found = (indentation(self.text, entry.start) for entry in self.tree.entries)
        return next((indent for indent in found if indent is not None), "")

    def _put(self, anchor: Entry | None, text: str) -> None:
        """Write a layer on lines of its own behind another one, or before the first."""
        newline, indent = self.style.newline, self._indent()
        gap = newline * (2 if self._spaced(anchor) else 1)
        if anchor is not None:
            end = self.line_end(anchor.end)
            place = anchor.end if end < 0 else end
            tail = newline if end < 0 else ""
            self.edits.append((place, place, f"{gap}{indent}{text}{tail}"))
        elif self._entries:
            first = self._above_comments(self._entries[0].start)
            added = f"{text}{gap}{indent}" if first == self._entries[0].start else f"{indent}{text}{gap}"
            self.edits.append((first, first, added))
        else:
            end = len(self.text)
            start = "" if not self.text or self.text.endswith("\n") else newline
            self.edits.append((end, end, f"{start}{indent}{text}{newline}"))

    def _above_comments(self, start: int) -> int:
        """Where the lines of comments above a layer begin; the layer itself, where they are the first of the text."""
        indent = indentation(self.text, start)
        place = top = start if indent is None else start - len(indent)
        while top and self.text[: top - 1].rpartition("\n")[2].lstrip().startswith("#"):
            top = self.text.rfind("\n", 0, top - 1) + 1
        return top if top and top < place else start

    def _spaced(self, anchor: Entry | None) -> bool:
        """Whether an empty line follows a layer; behind the last one and before the first, as most have it."""
        pairs = list(pairwise(self._entries))
        spaced = {a.start: "\n\n" in self.text[a.end : b.start].replace("\r", "") for a, b in pairs}
        if anchor is not None and anchor.start in spaced:
            return spaced[anchor.start]
        return sum(spaced.values()) * 2 > len(pairs)


def _match(old: Sequence[pb.LayerParameter], new: Sequence[pb.LayerParameter]) -> list[int | None]:
    """For each new layer the position of the old one that it was; by name and conditions, then by name alone."""
    position = {key: at for at, key in enumerate(_keys(old))}
    found = [position.get(key) for key in _keys(new)]
    left = {at for at in range(len(old)) if at not in found}
    for k, layer in enumerate(new):
        if found[k] is None:
            found[k] = next((at for at in sorted(left) if old[at].name == layer.name), None)
            left -= {found[k]}
    return found


def _keys(layers: Iterable[pb.LayerParameter]) -> list[tuple[str, bytes, int]]:
    seen: Counter[tuple[str, bytes]] = Counter()
    found = []
    for layer in layers:
        rules = pb.LayerParameter(include=layer.include, exclude=layer.exclude).SerializeToString(deterministic=True)
        found.append((layer.name, rules, seen[layer.name, rules]))
        seen[layer.name, rules] += 1
    return found
