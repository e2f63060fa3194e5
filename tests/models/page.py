"""Writes the table of docs/zoo_nets.md: `python -m tests.models.page [NAME ...]`.

Counts come from the readmes, published ones from test_published_counts.py. The nets named, or all, are compared with
OpenCV; for the others the figure that the page has stays. `--counts` compares none.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from dragon.files.atomic import write_atomically
from dragon.models.facts import read_facts
from dragon.models.generate import MODELS
from tests.models.opencv import BOUND, compare
from tests.models.test_published_counts import MULTIPLY_ADDS, PARAMS, Count

PAGE = Path(__file__).parents[2] / "docs" / "zoo_nets.md"
HEAD = ("net", "task", "input", "parameters", "multiply-adds", "published", "OpenCV")
_BEGIN, _END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"


def table_of(text: str) -> dict[str, list[str]]:
    """The cells of the page's table by net, without the name."""
    lines = text.partition(_BEGIN)[2].partition(_END)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {re.sub(r"\[(.*)\]\(.*\)", r"\1", row[0]): row[1:] for row in rows}


def facts_of(name: str) -> list[str]:
    """The cells of a net that come from its readme and from what is published."""
    facts = read_facts(name)
    shapes = facts.input.values() if isinstance(facts.input, dict) else [facts.input]
    shape = ", ".join(" x ".join(map(str, one[1:])) for one in shapes)
    published = [_published(table[name]) for table in (PARAMS, MULTIPLY_ADDS) if name in table]
    return [facts.task, shape, f"{facts.deployed:,}", f"{facts.multiply_adds:,}", "; ".join(published) or "-"]


def _published(count: Count) -> str:
    return count.text + (f" ({count.plus:+,} here: {count.because})" if count.plus else "")


def agreement(name: str) -> str:
    """The figure of a comparison with OpenCV, or why there is none."""
    found = compare(name, importlib.import_module("cv2"))
    return f"none: {found.why}" if found.difference is None else f"{found.difference:.1e}"


def main(arguments: list[str]) -> int:
    """Write the page; 1 if a net that was compared is further from OpenCV than the bound, 2 for a wrong name."""
    names = [argument for argument in arguments if argument != "--counts"]
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        print(f"no such net: {', '.join(unknown)}", file=sys.stderr)
        return 2
    chosen = [] if "--counts" in arguments else names or list(MODELS)
    text = PAGE.read_text(encoding="utf-8")
    old, rows, far = table_of(text), [], []
    for name in sorted(MODELS):
        figure = old[name][-1] if name in old else "not run"
        if name in chosen:
            figure = agreement(name)
            print(f"{name}: {figure}", flush=True)
            if figure[0].isdigit() and float(figure) > BOUND:
                far.append(name)
        rows.append([f"[{name}](../models/{name}/readme.md)", *facts_of(name), figure])
    lines = ["| " + " | ".join(row) + " |" for row in (list(HEAD), *rows)]
    lines.insert(1, "|---|---|---|" + "--:|" * 2 + "---|--:|")
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    write_atomically(PAGE, (before + _BEGIN + "\n".join(lines) + "\n" + _END + after).encode())
    if far:
        print(f"further than {BOUND:g} from OpenCV: {', '.join(far)}", file=sys.stderr)
    return bool(far)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
