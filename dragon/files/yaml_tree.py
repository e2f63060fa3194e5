"""A YAML file as sections that know the line of every key, with limits on what aliases may make of it."""

from __future__ import annotations

import os
import re
from typing import Any

import yaml

from dragon.errors import UsageError, one_line
from dragon.files.kinds import CALIBRATION, EXPERIMENT, LFS, WEB_PAGE, kind_of
from dragon.files.reading import read_text
from dragon.files.yaml_section import Section

__all__ = ["read_yaml"]

_MAX_VALUES = 10_000  # or as many as the file has characters, which no file without aliases exceeds
_MAX_DEPTH = 50
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: str | os.PathLike[str], expected: str) -> tuple[Section, str]:
    """The file's mapping and its text. Raises UsageError when it cannot be read or is not a YAML mapping.

    expected: the kind of the file, one of dragon.files.kinds; a file of another kind is refused by that.
    """
    file = os.fspath(path)
    kind, what = kind_of(path), expected.partition(",")[0]
    if kind in {CALIBRATION, EXPERIMENT, LFS, WEB_PAGE} - {expected}:
        raise UsageError(f"{file}: expected {what}, this is {kind}")
    try:
        text = read_text(path)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = _Tree(file, max(_MAX_VALUES, len(text))).convert("", root) if root is not None else None
    except RecursionError:
        raise UsageError(f"{file}: nested too deeply") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{file}: cannot be read: {reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        said = one_line(getattr(error, "problem", None) or str(error))
        other = "" if kind in (None, expected, "a text file") else f"; expected {what}, this is {kind}"
        raise UsageError(f"{where}: {said}{other}") from None
    if not isinstance(tree, Section):
        raise UsageError(f"{file}: expected a mapping of settings at the top")
    return tree, text


class _Tree:
    """Converts the nodes of a file to sections, lists and values. Each alias is a full copy, hence the limits."""

    def __init__(self, file: str, most: int) -> None:
        self.file = file
        self.most = most
        self.count = 0

    def convert(self, path: str, node: yaml.Node, depth: int = 0) -> Any:
        """A node as a value. UsageError for too many values or levels, as an alias within itself has."""
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > self.most or depth > _MAX_DEPTH:
            what = f"more than {self.most:,} values" if self.count > self.most else f"more than {_MAX_DEPTH} levels"
            raise UsageError(f"{self.file}:{line}: {what}, aliases written out")
        if isinstance(node, yaml.MappingNode):
            return self._section(path, node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(f"{path}[{i}]", item, depth + 1) for i, item in enumerate(node.value)]
        if isinstance(node.value, str):
            self._check_text(node.value, line)
        try:
            return _scalar(node)
        except yaml.YAMLError:
            raise
        except Exception:  # errors of any type from the constructors of tags, such as int and timestamp
            raise UsageError(f"{self.file}:{line}: {one_line(repr(node.value[:40]))} is no {node.tag[-20:]}") from None

    def _section(self, path: str, node: yaml.MappingNode, depth: int) -> Section:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: list[Section] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise UsageError(f"{self.file}:{line}: a key must be a string")
            if key_node.tag == _MERGE:
                merged += self._merged(path, value_node, line, depth)
                continue
            key = str(key_node.value)
            self._check_text(key, line)
            lines[key] = line
            if key in values:
                raise UsageError(f'{self.file}:{line}: key "{one_line(key)}" is given twice')
            values[key] = self.convert(f"{path}.{key}" if path else key, value_node, depth + 1)
        for other in merged:  # what stands here comes before, and then the first of them
            values, lines = {**other.values, **values}, {**other.lines, **lines}
        return Section(self.file, path, node.start_mark.line + 1, values, lines)

    def _merged(self, path: str, node: yaml.Node, line: int, depth: int) -> list[Section]:
        """The mappings of a merge key: `<<: *a`, or `<<: [*a, *b]`."""
        value = self.convert(path, node, depth + 1)
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(one, Section) for one in found):
            raise UsageError(f'{self.file}:{line}: "<<" takes a mapping, such as *name, or a list of them')
        return found

    def _check_text(self, text: str, line: int) -> None:
        """Raise UsageError for characters that only an escape can give, and that no report could show or hold."""
        if wrong := _NO_TEXT.search(text):
            raise UsageError(f"{self.file}:{line}: {text[:40]!a} is no text: it has the character {wrong[0]!a}")


def _scalar(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()
