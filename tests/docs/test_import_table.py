"""The table of operators in docs/import.md is what the converters say of themselves."""

from __future__ import annotations

from pathlib import Path

from dragon.importing.registry import converters

PAGE = Path(__file__).parents[2] / "docs/import.md"


def table() -> str:
    """The table; write it to the page by `python -m tests.docs.test_import_table`."""
    rows = []
    for name, function in converters().items():
        line = " ".join((function.__doc__ or "").split("\n\n")[0].split()).removesuffix(".")
        rows.append(f"| {name} | {line.removeprefix('The layer ')} |\n")
    return "| operator | layers |\n|---|---|\n" + "".join(rows)


def test_the_page_has_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith(table())


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.partition("| operator | layers |")[0] + table(), encoding="utf-8")
