"""The Python blocks of the documents that are marked "run" are run, in order, and print what the documents say.

A block opens with ```python run; tests that it defines are run too. A block that opens with ```text output is what the
one before it prints.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from docs.site.generated import generated
from docs.site.places import anchor as anchor_of
from tests.imports import LINKED

ROOT = Path(__file__).parents[2]
LAYERS = ROOT / "docs/adding_a_layer.md"
DOCUMENTS = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")])
READMES = sorted(ROOT.glob("models/**/*.md"))  # pages of the site too
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Runs the blocks given on stdin in one namespace; one JSON list of what each printed.
_RUNNER = """
import contextlib, io, json, sys
namespace, printed = {"__name__": "__main__"}, []
for name, line, code in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile("\\n" * line + code, name, "exec"), namespace)
        for test in [namespace.pop(name) for name in list(namespace) if name.startswith("test_")]:
            test()
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


@dataclass
class Example:
    """line: where the code begins, from 1. output: what it must print, None where the document does not say."""

    line: int
    code: str
    output: str | None = None


def examples(text: str) -> list[Example]:
    found: list[Example] = []
    for match in _FENCE.finditer(text):
        kind, body = match[1].strip(), match[2]
        line = text.count("\n", 0, match.start()) + 2
        if kind == "python run":
            found.append(Example(line, body))
        elif kind == "text output":
            assert found, f"line {line}: an output without an example"
            assert found[-1].output is None, f"line {line}: a second output"
            found[-1].output = body
    return found


def run(name: str, found: list[Example], folder: Path) -> list[str]:
    """What each example prints, all of them run in one fresh process."""
    content = json.dumps([(name, e.line - 1, e.code) for e in found])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUNNER],
        input=content, capture_output=True, text=True, timeout=300, cwd=folder, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed: list[str] = json.loads(done.stdout)
    return printed


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_examples(path: Path, tmp_path: Path) -> None:
    found = examples(path.read_text(encoding="utf-8"))
    if not found:
        return
    for example, printed in zip(found, run(path.name, found, tmp_path), strict=True):
        where = f"{path.name}:{example.line}"
        assert printed == (example.output or ""), f"{where} prints something else than the document says"


def test_the_page_on_layers_has_examples() -> None:
    found = examples(LAYERS.read_text(encoding="utf-8"))
    assert len(found) >= 5
    assert sum(e.output is not None for e in found) >= 4


def files_of_the_page_on_layers() -> list[Example]:
    """The examples that are files of their own: layers and a test."""
    return [
        e for e in examples(LAYERS.read_text(encoding="utf-8")) if re.search(r"^(class|def) ", e.code, re.MULTILINE)
    ]


def test_the_page_on_layers_shows_two_layers_and_a_test() -> None:
    assert [re.findall(r"^class (\w+)", e.code, re.MULTILINE) for e in files_of_the_page_on_layers()] == [
        ["SoftSign"],
        ["ChannelGain"],
        [],
    ]


@pytest.mark.parametrize("example", files_of_the_page_on_layers(), ids=lambda e: f"line {e.line}")
def test_a_layer_that_the_page_shows_is_a_whole_file(example: Example) -> None:
    """Names are imported, imports are in order."""
    command = ["ruff", "check", "-q", "--select", "F,I", "--stdin-filename", "layers/example.py", "-"]
    done = subprocess.run(
        [sys.executable, "-m", *command], input=example.code, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, f"{LAYERS.name}:{example.line}: {done.stdout}{done.stderr}"


def test_the_solver_that_the_page_shows_trains(tmp_path: Path) -> None:
    text = LAYERS.read_text(encoding="utf-8")
    (solver,) = [body for kind, body in _FENCE.findall(text) if kind == "prototxt"]
    (tmp_path / "solver.prototxt").write_text(solver)
    (command,) = re.findall(r"`\.venv/bin/dragon (train [^`]*)`", text)
    layer = next(e for e in examples(text) if "class SoftSign" in e.code)
    train = Example(1, f"from dragon.tools.main import run\nassert run({command.split()}) == 0\n")
    run(LAYERS.name, [layer, train], tmp_path)
    assert (tmp_path / "soft_sign_iter_20.caffemodel").exists()


def test_lowerings_that_a_page_shows_are_those_of_the_engines() -> None:
    """Definitions and calls, compared without white space and the formatter's marks."""
    page = (ROOT / "docs/adding_an_engine.md").read_text(encoding="utf-8")
    shown = [part for kind, body in _FENCE.findall(page) if kind == "python" for part in re.split(r"\n\n(?=\S)", body)]
    assert len(shown) >= 4
    code = [bare(path.read_text(encoding="utf-8")) for path in (ROOT / "dragon/engines").rglob("*.py")]
    assert not [part for part in shown if not any(bare(part) in text for text in code)]


def bare(code: str) -> str:
    return re.sub(r"#fmt:skip$", "", re.sub(r"[ \t]", "", code), flags=re.MULTILINE).replace("\n", "")


def test_a_wrong_example_is_seen(tmp_path: Path) -> None:
    (example,) = examples("text\n\n```python run\nprint(1)\n```\n\n```text output\n2\n```\n")
    assert (example.line, example.output) == (4, "2\n")
    assert run("x.md", [example], tmp_path) == ["1\n"]
    with pytest.raises(AssertionError, match=r'x\.md", line 4'):
        run("x.md", [Example(4, "nonsense()\n")], tmp_path)


@pytest.mark.parametrize("path", [*DOCUMENTS, *READMES], ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)\s]*)?\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file = Path(os.path.normpath(path.parent / target)) if target else path
        if file.is_relative_to(ROOT / "docs/reference"):  # made when the site is
            assert os.path.relpath(file, ROOT / "docs") in generated(), f"{path.name}: {target} is not made"
            continue
        assert file.exists(), f"{path.name}: {target} is not there"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            known = {anchor_of(heading) for heading in headings}
            assert anchor[1:] in known, f"{path.name}: {target}{anchor} is not there"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(path: Path) -> None:
    """By the end of their path: `plan/arena.py` is in some folder. NAME stands for a name."""
    named = re.findall(r"`([\w./]+\.(?:py|cuh?|proto|yaml)|dragon/[\w/]+)`", path.read_text(encoding="utf-8"))
    assert not [name for name in named if "NAME" not in name and f"/{name}".rstrip("/") not in tree()]


@cache
def tree() -> frozenset[str]:
    """Files and folders of the checkout, from "/", and the ends of their paths."""
    found = [
        p for top in ("dragon", *LINKED, "tests", "docs", "benchmarks", "install") for p in (ROOT / top).rglob("*")
    ]
    parts = [p.relative_to(ROOT).parts for p in found]
    return frozenset("/" + "/".join(names[i:]) for names in parts for i in range(len(names)))
