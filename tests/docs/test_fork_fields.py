"""The page docs/fork_fields.md is what the experiments of tests/layers/fork_fields say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dragon.bases.layer import find_class
from dragon.proto.comments import message_comments
from dragon.proto.hints import _HINTS
from dragon.proto.refused import _FIELDS
from tests.layers.fork_fields import MORE, PROBES
from tests.layers.fork_fields.probe import leaves

PAGE = Path(__file__).parents[2] / "docs/fork_fields.md"
BEGIN = "## AnnotatedData\n"
KINDS = list(dict.fromkeys(probe.kind for probe in PROBES))
_WORDS = {"=": "no effect", "!": "error", "~": "warning"}


def tables() -> str:
    """The tables; write them to the page by `python -m tests.docs.test_fork_fields`."""
    parts = []
    for kind in KINDS:
        rows = [f"| `{path}` | {_word(kind, path)} | {_meaning(field)} |\n" for path, field in _settings(kind)]
        parts.append(f"## {kind}\n\n| setting | | what it is |\n|---|---|---|\n{''.join(rows)}")
    messages = {field.containing_type.name for kind in KINDS for _, field in _settings(kind)}
    refused = [
        f"| `{message}` | {', '.join(f'`{name}`' for name in names)} | in {fork} it {what}; {instead} |\n"
        for message in sorted(messages & _FIELDS.keys())
        for (fork, what, instead), names in _by_reason(message).items()
    ]
    skipped = [
        f"| `{message}` | `{name}` | {fork}: {what} |\n"
        for message in sorted(messages & _HINTS.keys())
        for name, (fork, what) in _HINTS[message].items()
    ]
    for rows, text in ((refused, "Each is an error that says this."), (skipped, "Each is skipped with a warning.")):
        head = f"## Settings that Dragon's schema lacks: {'errors' if rows is refused else 'warnings'}\n\n{text}\n\n"
        parts.append(f"{head}| message | settings | what it is |\n|---|---|---|\n{''.join(rows)}")
    return "\n".join(parts)


def _settings(kind: str) -> list[tuple[str, Any]]:
    return list(leaves(kind, MORE.get(kind, ())))


def _word(kind: str, path: str) -> str:
    """What Dragon does with a setting: "followed" if one of its probes says so."""
    signs = {probe.fields[path][0] for probe in PROBES if probe.kind == kind and path in probe.fields}
    return next((word for sign, word in _WORDS.items() if signs == {sign}), "followed")


def _meaning(field: Any) -> str:
    return message_comments(field.containing_type.name).fields[field.name].replace("|", "\\|")


def _by_reason(message: str) -> dict[tuple[str, str, str], list[str]]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for name, reason in _FIELDS[message].items():
        found.setdefault(reason, []).append(name)
    return found


def test_the_page_has_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(BEGIN)[2] == tables().removeprefix(BEGIN)


@pytest.mark.parametrize("page", ["detection.md", "sequences.md"])
def test_types_of_the_pages_on_the_forks_are_there(page: str) -> None:
    """Those that the pages name in a table and that have settings of their own."""
    named = {name for name in _names((PAGE.parent / page).read_text(encoding="utf-8")) if find_class(name)}
    assert len(named) > 5
    for name in named:
        cls = find_class(name)
        assert cls is not None
        own = set(cls.settings) - {"loss_param", "transform_param", "softmax_param", "recurrent_param"}
        assert not own or cls.type in KINDS, name


def _names(text: str) -> set[str]:
    """What stands between backticks in the first column of tables."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in cell.split("`")[1::2]}


if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text(encoding="utf-8").partition(BEGIN)[0] + tables(), encoding="utf-8")
