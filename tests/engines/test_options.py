"""Options of a run: a number of threads that OpenMP cannot start is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dragon.engines import Options
from dragon.engines.base import MOST_THREADS
from dragon.engines.onednn.library.threads import default_threads
from dragon.errors import UsageError
from dragon.tools.main import run

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 4] } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 3 } }
"""


@pytest.mark.parametrize("count", [0, -1, MOST_THREADS + 1, 100_000, 2**40])
def test_threads_have_a_bound(count: int) -> None:
    with pytest.raises(UsageError, match=f"threads must lie between 1 and {MOST_THREADS} on this machine, got {count}"):
        Options(threads=count)


@pytest.mark.parametrize("count", ["2", 1.5, [1]])
def test_threads_are_a_whole_number(count: Any) -> None:
    with pytest.raises(UsageError, match="threads must lie between 1 and"):
        Options(threads=count)


def test_the_environment_has_the_same_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert default_threads() == MOST_THREADS


def test_the_command_line_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    assert run(["time", "--model", str(path), "--threads", "100000"], False) == 2
    assert capsys.readouterr().err.count("\n") == 1
