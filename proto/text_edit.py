"""Text changed so that it says what a changed message says: only what differs is written, all else stays as typed.

Comments, order, numbers, indentation and skipped fields survive. What is removed takes along the comment behind it on
its line and those inside it; comments on lines of their own between entries stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dragon.proto.lexer import Tokens
from dragon.proto.text_style import find_style, indentation
from dragon.proto.text_tree import Entry, Item, Tree, read_tree

__all__ = ["Editor", "without_unknown"]


class Editor:
    """Collects changes of a text that the parser has accepted; each replaces the characters from start to end.

    tree: the entries of the text. style: how it is written.
    """

    def __init__(self, text: str) -> None:
        tokens = Tokens(text, "<string>")
        self.text, self.tree = text, read_tree(tokens)
        self.style = find_style(text, self.tree, tokens)
        self.edits: list[tuple[int, int, str]] = []
        self._gone: dict[int, Entry] = {}  # entries that are removed, by their starts

    def apply(self, start: int = 0, end: int | None = None) -> str:
        """The characters from start to end, by default all, with all changes within."""
        end = len(self.text) if end is None else end
        out, done = [], start
        edits = [*self.edits, *self._removals(start, end)]
        for first, last, replacement in sorted(edits, key=lambda edit: edit[:2]):
            if first >= start and last <= end:
                out += [self.text[done:first], replacement]
                done = max(done, last)
        return "".join([*out, self.text[done:end]])

    # -- places ------------------------------------------------------------------------------------------------
    def line_end(self, offset: int) -> int:
        """The end of the line of an offset, before its line break; -1 if more than a comment stands there."""
        end = self.text.find("\n", offset)
        end = len(self.text) if end < 0 else end
        rest = self.text[offset:end].strip()
        return end - self.text[offset:end].endswith("\r") if not rest or rest.startswith("#") else -1

    def _lines(self, entry: Entry) -> tuple[int, int] | None:
        """Start and end of the lines of an entry, its last line break among them; None if it shares them."""
        indent, end = indentation(self.text, entry.start), self.line_end(entry.end)
        if indent is None or end < 0:
            return None
        after = self.text.find("\n", end) + 1
        return entry.start - len(indent), after or len(self.text)

    # -- what goes -----------------------------------------------------------------------------------------------
    def remove(self, entry: Entry) -> None:
        """Remove an entry; a line on which nothing else stays goes as a whole."""
        self._gone[entry.start] = entry

    def _removals(self, start: int, end: int) -> Iterator[tuple[int, int, str]]:
        """The changes that remove entries from start to end; those behind one another on a line go as one."""
        spans: list[tuple[int, int, bool]] = []  # bool: whole lines
        run: Entry | None = None
        gone = [entry for at, entry in sorted(self._gone.items()) if start <= at and entry.end <= end]
        for entry in gone:
            if run is not None and not self.text[run.end : entry.start].strip(" \t"):
                run = replace(run, end=entry.end)
                continue
            if run is not None:
                self._extend(spans, run)
            run = entry
        if run is not None:
            self._extend(spans, run)
        for first, last, whole in spans:
            yield first, last + (self._blank_behind(first, last) if whole else 0), ""

    def _extend(self, spans: list[tuple[int, int, bool]], run: Entry) -> None:
        """Add the characters that go with an entry, to the lines right before it where those go too."""
        lines = self._lines(run)
        if lines is None:
            spans.append((*self._within_line(run), False))
        elif spans and spans[-1][1:] == (lines[0], True):
            spans[-1] = (spans[-1][0], lines[1], True)
        else:
            spans.append((*lines, True))

    def _within_line(self, entry: Entry) -> tuple[int, int]:
        """The entry with the space before it; with that behind it where it is the first of its line or message."""
        start = entry.start
        while start and self.text[start - 1] in " \t":
            start -= 1
        behind = self._skip(entry.end)
        if (start == 0 or self.text[start - 1] in "\n{<\ufeff") and self.text[behind : behind + 1] not in ("\r", "\n"):
            return entry.start, behind
        return start, entry.end

    def _skip(self, offset: int) -> int:
        """The first character from an offset on that is no space."""
        while offset < len(self.text) and self.text[offset] in " \t":
            offset += 1
        return offset

    def _blank_behind(self, start: int, end: int) -> int:
        """The length of the blank line behind lines that go, if one is before them or they are the first."""
        if start and not self.text.endswith(("\n\n", "\n\r\n", "{\n", "{\r\n"), 0, start):
            return 0
        after = self.text.find("\n", end) + 1
        return after - end if after and not self.text[end:after].strip() else 0

    def add(
        self, tree: Tree, after: Entry | None, name: str, content: Message | str, before: Entry | None = None
    ) -> None:
        """Add an entry behind another one of its message, or before one; as the first if neither is given."""
        near = after or before or next(iter(tree.entries), None)
        indent = None if near is None else indentation(self.text, near.start)
        if near is None:
            indent = self._indent_within(tree)
        lines = indent is not None and (after is None or self._lines(after) is not None)
        body = self._entry(name, content, indent or "", inline=not lines or self._short_messages(tree))
        newline = self.style.newline
        if after is not None and lines:
            place = self.line_end(after.end)
            self.edits.append((place, place, f"{newline}{indent}{body}"))
        elif after is not None:
            self.edits.append((after.end, after.end, f" {body}"))
        elif near is not None and lines:
            place = near.start - len(indent or "")
            self.edits.append((place, place, f"{indent}{body}{newline}"))
        elif near is not None:
            self.edits.append((near.start, near.start, f"{body} "))
        elif "\n" in self.text[tree.opened : tree.closed]:
            place = self.line_end(tree.opened)
            self.edits.append((place, place, f"{newline}{indent}{body}"))
        else:
            self.edits.append((tree.opened, tree.closed, f" {body} "))

    def remove_unknown(self, tree: Tree, fields: Mapping[str, Any]) -> None:
        """Remove the entries of a message, and of those inside it, that are none of its fields."""
        for entry in tree.entries:
            field = fields.get(entry.name)
            if field is None:
                self.remove(entry)
                continue
            for item in entry.items:
                if item.body is not None and field.message_type is not None:
                    self.remove_unknown(item.body, field.message_type.fields_by_name)

    def _short_messages(self, tree: Tree) -> bool:
        """Whether a message has others inside that are written on one line."""
        bodies = [item.body for entry in tree.entries for item in entry.items if item.body is not None]
        return any("\n" not in self.text[body.opened : body.closed] for body in bodies if body.entries)

    def _indent_within(self, tree: Tree) -> str | None:
        """The indentation of what would stand in an empty message of several lines; None if it has one line."""
        if "\n" not in self.text[tree.opened : tree.closed]:
            return None
        return (indentation(self.text, tree.closed) or "") + self.style.unit

    def _entry(self, name: str, content: Message | str, indent: str, inline: bool) -> str:
        if isinstance(content, str):
            return self.style.scalar(name, content)
        return self.style.message(name, content, indent, inline)

    # -- differences -------------------------------------------------------------------------------------------
    def change(self, tree: Tree, old: Message, new: Message, skip: Iterable[str] = ()) -> None:
        """Let the entries of a message say what `new` says; old: what they say."""
        fields: list[Any] = sorted(new.DESCRIPTOR.fields, key=lambda field: field.number)  # for _before
        for field in fields:
            if field.name in skip:
                continue
            if field.is_repeated:
                self._change_repeated(tree, field, old, new)
            elif new.HasField(field.name) != old.HasField(field.name):
                self._change_presence(tree, field, new)
            elif new.HasField(field.name) and getattr(new, field.name) != getattr(old, field.name):
                item = tree.items(field.name)[0][1]
                self._change_item(item, field, getattr(old, field.name), getattr(new, field.name), new, None)

    def _change_presence(self, tree: Tree, field: FieldDescriptor, new: Message) -> None:
        if not new.HasField(field.name):
            self.remove(tree.items(field.name)[0][0])
        else:
            self.add(tree, self._before(tree, field, new), field.name, self._content(field, new, None))

    def _content(self, field: FieldDescriptor, message: Message, index: int | None) -> Message | str:
        if field.message_type is None:
            return self.style.value(message, field.name, index)
        value = getattr(message, field.name)
        content: Message = value if index is None else value[index]
        return content

    def _change_item(
        self, item: Item, field: FieldDescriptor, old: Any, new: Any, message: Message, index: int | None
    ) -> None:
        if item.body is not None:
            self.change(item.body, old, new)
        else:
            self.edits.append((item.start, item.end, self.style.value(message, field.name, index)))

    def _change_repeated(self, tree: Tree, field: FieldDescriptor, old: Message, new: Message) -> None:
        before, after = list(getattr(old, field.name)), list(getattr(new, field.name))
        if before == after:
            return
        found = tree.items(field.name)
        if len(before) != len(after) and any(entry.listed for entry, _ in found):
            self._rewrite_list(tree, field, new, len(after))
            return
        for tag, i, i_end, j, j_end in _opcodes(before, after):
            if tag == "equal":
                continue
            common = min(i_end - i, j_end - j)
            for k in range(common):
                self._change_item(found[i + k][1], field, before[i + k], after[j + k], new, j + k)
            for entry, _ in found[i + common : i_end]:
                self.remove(entry)
            for k in range(j + common, j_end):
                at, content = i + common - 1, self._content(field, new, k)
                if found and at < 0:
                    self.add(tree, None, field.name, content, before=found[0][0])
                else:
                    self.add(tree, found[at][0] if found else self._before(tree, field, new), field.name, content)

    def _rewrite_list(self, tree: Tree, field: FieldDescriptor, new: Message, count: int) -> None:
        """Replace what is written as [a, b] by as many values as there are now."""
        entries = list({entry.start: entry for entry, _ in tree.items(field.name)}.values())
        contents = [self._content(field, new, k) for k in range(count)]
        if len(entries) == 1 and contents and all(isinstance(content, str) for content in contents):
            items = entries[0].items
            self.edits.append((items[0].start, items[-1].end, ", ".join(map(str, contents))))
            return
        for entry in entries:
            self.remove(entry)
        for content in contents:
            self.add(tree, self._before(tree, field, new), field.name, content)

    def _before(self, tree: Tree, field: FieldDescriptor, message: Message) -> Entry | None:
        """The entry that a new one of a field goes behind: the last of those with a smaller number that stay."""
        numbers = {f.name: f.number for f in message.DESCRIPTOR.fields}
        found = [e for e in tree.entries if e.name in numbers and numbers[e.name] <= field.number]
        staying = [entry for entry in found if entry.start not in self._gone]
        return staying[-1] if staying else None


def without_unknown(text: str, message: Message) -> str:
    """A text of such a message without the fields that its type, and the types inside it, do not have."""
    editor = Editor(text)
    editor.remove_unknown(editor.tree, message.DESCRIPTOR.fields_by_name)
    return editor.apply()


def _opcodes(before: Sequence[Any], after: Sequence[Any]) -> Sequence[tuple[str, int, int, int, int]]:
    old, new = [[_key(value) for value in values] for values in (before, after)]
    return SequenceMatcher(None, old, new, autojunk=False).get_opcodes()


def _key(value: Any) -> Any:
    return value.SerializeToString(deterministic=True) if isinstance(value, Message) else value
