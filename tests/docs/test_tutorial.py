"""The notebook runs from its first cell to its last, and shows outputs of the kinds that it is stored with."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/tutorial.ipynb"

_EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3", coalesce_streams=True).execute()
nbformat.write(notebook, sys.argv[2])
"""


def stored(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def kinds(cell: dict[str, Any]) -> list[str]:
    """What a cell shows: `stdout`, or the kinds of a result. The log is left out, since others may write there too."""
    found = []
    for output in cell["outputs"]:
        found += [output["name"]] if output["output_type"] == "stream" else sorted(output["data"])
    return [kind for kind in found if kind != "stderr"]


def test_every_cell_is_stored_with_its_outputs() -> None:
    cells = stored(NOTEBOOK)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    shown = {kind for cell in cells for kind in kinds(cell)}
    assert {"stdout", "text/html", "image/png"} <= shown
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert "Traceback" not in text


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("nbclient") is None, reason="nbclient is not installed")
def test_the_notebook_runs(tmp_path: Path) -> None:
    target = tmp_path / "run.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", _EXECUTE, str(NOTEBOOK), str(target)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [kinds(cell) for cell in stored(target)] == [kinds(cell) for cell in stored(NOTEBOOK)]
    (cell,) = [cell for cell in stored(target) if "np.abs(losses" in "".join(cell["source"])]
    assert "".join(cell["outputs"][0]["text"]) == "0.0e+00\n"  # split and merged are one computation
