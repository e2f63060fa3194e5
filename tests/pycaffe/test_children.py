"""Processes that scripts under `dragon run` start with multiprocessing; more in tests/tools/test_run.py."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import caffe


class Found:
    def __init__(self, by):
        self.by = by


def child():
    return Found(caffe.__name__)


def parent(method):
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        found = pool.submit(child).result(timeout=60)
    assert type(found) is Found
    return found


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context(sys.argv[1])) as pool:
        found = pool.submit(parent, sys.argv[2]).result(timeout=60)
    print(type(found) is Found, found.by)
"""


@pytest.mark.parametrize(
    ("method", "of_the_child"), [("spawn", "spawn"), ("forkserver", "forkserver"), ("fork", "spawn"), ("spawn", "fork")]
)
def test_children_have_children_and_send_objects_of_the_script(tmp_path: Path, method: str, of_the_child: str) -> None:
    if not {method, of_the_child} <= set(multiprocessing.get_all_start_methods()):
        pytest.skip("this system has no such way")
    (tmp_path / "script.py").write_text(SCRIPT)
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "dragon", "run", "script.py", method, of_the_child],
        cwd=tmp_path, capture_output=True, text=True, timeout=180, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "True dragon\n", "")
