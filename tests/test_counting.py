"""Counts and their nouns, and that no message writes a plural behind a number by itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dragon
from dragon.counting import how_many, plural

PACKAGE = Path(dragon.__file__).parent
FOLDERS = {name: (PACKAGE / name).resolve() for name in ("layers", "models", "proto", "tools")}
VERBS = frozenset(
    {"and", "are", "become", "divides", "for", "has", "holds", "in", "is", "name", "names", "needs"}
    | {"of", "on", "runs", "takes", "that", "the", "to", "with"}
)
NOT_COUNTS = {
    ("data/augment.py", "channels"): "three or four",
    ("data/detection/written.py", "images"): '"train images"',
    ("data/image_file.py", "values"): "a dtype",
    ("data/mnist_lines.py", "lines"): '"train lines"',
    ("compare/progress.py", "statistics"): "batch or running",
    ("compare/report/lines.py", "points"): "a style of drawing",
    ("compare/report/tables.py", "points"): "percentage points",
    ("compare/sentences.py", "times"): "a ratio",
    ("engines/cuda/lowerings/filtering.py", "channels"): "several",
    ("engines/cuda/plan/loss_scale.py", "steps"): "two or more",
    ("engines/cuda/plan/memory.py", "bytes"): "text",
    ("engines/onednn/kernels/winograd.py", "outputs"): "of one's own call",
    ("engines/onednn/kernels/winograd.py", "points"): "of one's own call",
    ("files/yaml_tree.py", "values"): "a limit of 10,000",
    ("layers/decorrelated_bn.py", "channels"): "of an adjective",
    ("layers/hdf5_output.py", "items"): "a name",
    ("proto/binary_blobs.py", "values"): "a dtype",
    ("proto/blobs.py", "values"): "a dtype",
    ("tools/observers/busy.py", "cores"): "of a share",
    ("tools/observers/progress.py", "images"): "images/s",
    ("tools/observers/vitals.py", "images"): "images/s",
}


def sources() -> Iterator[tuple[str, str]]:
    """Name and code of each file of the package; folders at the top are links or stand beside it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] not in FOLDERS and not path.name.endswith("_pb2.py"):
            yield path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8")
    for name, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            if not path.name.endswith("_pb2.py"):
                yield f"{name}/{path.relative_to(folder).as_posix()}", path.read_text(encoding="utf-8")


def nouns(code: str) -> set[str]:
    """The plurals of the nouns that a file gives to `how_many`."""
    return {plural(found[1].split()[-1]) for found in re.finditer(r"how_many\([^\n]*?, ['\"]([\w -]+)['\"]\)", code)}


def by_hand(code: str, known: set[str]) -> Iterator[tuple[int, str]]:
    """Line and noun where an f-string writes a number, or a log message %d, and a plural behind it."""
    listed = "|".join(sorted(known))
    behind = re.compile(rf" (?:[a-z-]+ ){{0,2}}?({listed})\b")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.JoinedStr):
            for value, text in zip(node.values, node.values[1:], strict=False):
                if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                    found = behind.match(str(text.value))
                    if found and not VERBS.intersection(found[0].split()):
                        yield node.lineno, found[1]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for found in re.finditer(rf"%d (?:[a-z-]+ )?({listed})\b", node.value):
                yield node.lineno, found[1]


def test_numbers_and_nouns_agree() -> None:
    assert [how_many(n, "image") for n in (0, 1, 2, 60000)] == ["0 images", "1 image", "2 images", "60,000 images"]
    assert how_many(1, "spatial axis") == "1 spatial axis"
    words = "spatial axis, box, batch, class, entry, multiply-add, param entry, day"
    assert ", ".join(map(plural, words.split(", "))) == (
        "spatial axes, boxes, batches, classes, entries, multiply-adds, param entries, days"
    )


def test_what_is_looked_for_is_found() -> None:
    known = nouns("how_many(len(a), 'default box')\nhow_many(n, \"row\")")
    assert known == {"boxes", "rows"}
    code = 'f"{n} boxes"; f"{n:,} left out rows"; f"{a} of rows"; f"{name} has rows"; log("%d rows"); "%s rows"'
    assert [noun for _, noun in by_hand(code, known)] == ["boxes", "rows", "rows"]


def test_no_message_writes_a_plural_by_itself() -> None:
    files = dict(sources())
    known = set().union(*map(nouns, files.values()))
    assert len(known) > 50
    found = {(name, noun): line for name, code in files.items() for line, noun in by_hand(code, known)}
    wrong = {key: line for key, line in found.items() if key not in NOT_COUNTS}
    assert wrong == {}, "use dragon.counting.how_many"
    assert NOT_COUNTS.keys() <= found.keys(), "an exemption that nothing needs"


@pytest.mark.parametrize("code", ["f\"{'' if n == 1 else 's'}\"", "f\"{'s' if n > 1 else ''}\""])
def test_no_message_adds_an_s_by_itself(code: str) -> None:
    added = re.compile(r"""\{\s*(?:''|""|'s'|"s") if [^{}]*(?:== 1|> 1|!= 1)[^{}]*\}""")
    assert added.search(code)
    assert [name for name, text in sources() if added.search(text)] == []
