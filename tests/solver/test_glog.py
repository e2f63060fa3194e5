"""What `step` and `solve` log, and how a program switches it off."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dragon
from dragon.solver.meter import Meter
from tests.helpers import toy_solver

GLOG = re.compile(r"^[IWE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.py:\d+\] (.*)$")
SCRIPT = """
import dragon
from tests.helpers import toy_solver
%s
solver = toy_solver(display=2, test_iter=[1], test_interval=4)
solver.step(5)
"""


def printed(before: str = "", **environment: str) -> list[str]:
    """The lines that a fresh process writes on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT % before],
        capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )  # fmt: skip
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_script_sees_the_lines_of_caffe() -> None:
    lines = printed()
    matches = [GLOG.match(line) for line in lines]
    assert all(matches), lines
    texts = [match[1] for match in matches if match]
    shape = [re.sub(r"(?<=[ (#/])-?\d[\d.]*(e-?\d+)?", "N", text) for text in texts]
    display = [
        "Iteration N (N iter/s, Ns/N iters), loss = N",
        "    Train net output #N: loss = N (* N = N loss)",
        "Iteration N, lr = N",
    ]
    test = [
        "Iteration N, Testing net (#N)",
        "    Test net output #N: accuracy = N",
        "    Test net output #N: loss = N (* N = N loss)",
    ]
    assert shape == [*test, *display, *display, *test, *display]
    assert "/0 iters" in texts[3]
    assert "/2 iters" in texts[6]


@pytest.mark.parametrize(
    ("before", "environment"),
    [
        ("dragon.set_logging(1)", {}),
        ("dragon.init_log(0, stderr=False)", {}),
        ("import logging; logging.basicConfig()", {}),
        ("", {"GLOG_minloglevel": "2"}),
    ],
)
def test_it_can_be_switched_off(before: str, environment: dict[str, str]) -> None:
    assert printed(before, **environment) == []


def test_a_program_that_sets_up_logging_gets_the_lines_in_its_own_form() -> None:
    lines = printed("import logging; logging.basicConfig(level='INFO', format='%(name)s|%(message)s')")
    assert lines[0] == "dragon|Iteration 0, Testing net (#0)"


def test_solve_says_where_it_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dragon"):
        toy_solver(display=10).solve()
    texts = [record.getMessage() for record in caplog.records]
    assert texts[:2] == ["Solving toy", "Learning Rate Policy: fixed"]
    assert texts[-1] == "Optimization Done."


def test_a_solver_that_is_not_verbose_has_no_observer(caplog: pytest.LogCaptureFixture) -> None:
    solver = dragon.get_solver(toy_solver(display=1).param, engine="numpy", verbose=False)
    with caplog.at_level(logging.INFO, "dragon"):
        solver.step(2)
    assert solver.observers == []
    assert caplog.records == []


def test_time_between_two_steps_is_not_counted() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    solver = toy_solver()
    solver.observers = [meter]
    for _ in range(3):
        solver.step(1)
        now[0] += 5
    assert (meter.iterations, meter.seconds) == (3, 0.0)


def test_history_is_thinned_and_cut_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.solver.history._MOST", 8)
    solver = toy_solver(tmp_path, test_iter=[1], test_interval=5)
    solver.step(6)
    state = solver.snapshot()
    assert [k for k, _ in solver.history.losses] == [1, 2, 3, 4, 5, 6]
    solver.step(14)
    assert [k for k, _ in solver.history.losses] == [4, 8, 12, 16, 20]
    assert [test.iteration for test in solver.history.tests] == [0, 5, 10, 15]
    assert set(solver.history.tests[0].outputs) == {"accuracy", "loss"}
    solver.restore(state)
    solver.step(2)
    assert [k for k, _ in solver.history.losses] == [4, 8]
    assert [test.iteration for test in solver.history.tests] == [0, 5]
