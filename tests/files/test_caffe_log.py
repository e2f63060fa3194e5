"""Figures out of logs, of Caffe's wording over the years."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dragon.errors import DataError
from dragon.files.caffe_log import read_log, write_tables

OLD = """\
Log file created at: 2014/12/31 23:59:50
I1231 23:59:50.000000  1 solver.cpp:40] Solving CIFAR10_quick
I1231 23:59:50.500000  1 solver.cpp:247] Iteration 0, Testing net (#0)
I1231 23:59:51.000000  1 solver.cpp:298]     Test net output #0: accuracy = 0.1
I1231 23:59:51.000001  1 solver.cpp:298]     Test net output #1: loss = 2.30 (* 1 = 2.30 loss)
I1231 23:59:52.000000  1 solver.cpp:191] Iteration 0, loss = 2.31
I1231 23:59:52.000001  1 solver.cpp:206]     Train net output #0: loss = 2.32 (* 1 = 2.32 loss)
I1231 23:59:52.000002  1 solver.cpp:403] Iteration 0, lr = 0.001
I0101 00:00:10.000000  1 solver.cpp:218] Iteration 100 (5.5 iter/s, 18.1s/100 iters), loss = 1.5
I0101 00:00:10.000001  1 solver.cpp:237]     Train net output #0: loss = 1.25e+00 (* 1 = 1.25 loss)
I0101 00:00:10.000002  1 sgd_solver.cpp:105] Iteration 100, lr = 1e-4
I0101 00:00:12.000000  1 solver.cpp:330] Iteration 100, Testing net (#0)
I0101 00:00:13.000000  1 solver.cpp:397]     Test net output #0: accuracy = 0.5
I0101 00:00:13.000001  1 solver.cpp:397]     Test net output #1: accuracy = 0.25
I0101 00:00:13.000001  1 solver.cpp:397]     Test net output #2: loss = nan (* 1 = nan loss)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "caffe.log"
    path.write_text(OLD)
    return path


def test_rows(log: Path) -> None:
    read = read_log(log)
    assert [row["NumIters"] for row in read.train] == [0, 100]
    assert [row["loss"] for row in read.train] == [2.32, 1.25]
    assert [row["smoothed_loss"] for row in read.train] == [2.31, 1.5]
    assert [row["LearningRate"] for row in read.train] == [0.001, 0.0001]
    assert read.train[1]["Seconds"] == pytest.approx(20), "over New Year"
    test = read.tests[0]
    assert [row["accuracy"] for row in test] == [0.1, 0.5]
    assert test[1]["accuracy_1"] == 0.25
    assert math.isnan(test[1]["loss"])


def test_tables_as_caffe_writes_them(log: Path, tmp_path: Path) -> None:
    assert write_tables(read_log(log), tmp_path, "x") == [(f"{tmp_path}/x.train", 2), (f"{tmp_path}/x.test", 2)]
    assert (tmp_path / "x.train").read_text() == (
        "NumIters,Seconds,LearningRate,loss\n0,2.0,0.001,2.32\n100,20.0,0.0001,1.25\n"
    )
    assert (tmp_path / "x.test").read_text().startswith("NumIters,Seconds,LearningRate,accuracy,loss,accuracy_1\n0,")


def test_several_test_nets(log: Path) -> None:
    log.write_text(OLD + OLD.splitlines()[2].replace("(#0)", "(#1)") + "\nTest net output #0: top5 = 0.75\n")
    read = read_log(log)
    assert [row["top5"] for row in read.tests[1]] == [0.75]


RESUMED = """\
I0801 10:00:00.000000  1 solver.cpp:279] Solving lenet
I0801 10:00:00.000000  1 solver.cpp:337] Iteration 0, Testing net (#0)
I0801 10:00:01.000000  1 solver.cpp:404]     Test net output #0: accuracy = 0.1
I0801 10:00:02.000000  1 solver.cpp:228] Iteration 0, loss = 2.3
I0801 10:00:02.000000  1 sgd_solver.cpp:106] Iteration 0, lr = 0.1
I0801 10:00:10.000000  1 solver.cpp:337] Iteration 500, Testing net (#0)
I0801 10:00:10.000000  1 solver.cpp:404]     Test net output #0: accuracy = 0.5
I0801 10:00:10.000000  1 solver.cpp:228] Iteration 500, loss = 1.5
I0801 10:00:10.000000  1 sgd_solver.cpp:106] Iteration 500, lr = 0.01
I0801 10:00:20.000000  1 solver.cpp:228] Iteration 700, loss = 1.4
I0801 10:00:20.000000  1 sgd_solver.cpp:106] Iteration 700, lr = 0.01
I0802 12:00:00.000000  2 solver.cpp:279] Solving lenet
I0802 12:00:00.000000  2 solver.cpp:337] Iteration 500, Testing net (#0)
I0802 12:00:01.000000  2 solver.cpp:404]     Test net output #0: accuracy = 0.5
I0802 12:00:02.000000  2 solver.cpp:228] Iteration 500, loss = 1.25
I0802 12:00:02.000000  2 solver.cpp:244]     Train net output #0: loss = -0 (* 1 = -0 loss)
I0802 12:00:02.000000  2 sgd_solver.cpp:106] Iteration 500, lr = 0.01
"""


def test_a_resumed_run_overwrites_and_its_time_goes_on(log: Path) -> None:
    log.write_text(RESUMED)
    read = read_log(log)
    assert read.net == "lenet"
    assert not read.synthetic
    assert [row["NumIters"] for row in read.train] == [0, 500]
    assert [row["smoothed_loss"] for row in read.train] == [2.3, 1.25]
    assert str(read.train[1]["loss"]) == "0.0", "without a sign"
    assert [row["NumIters"] for row in read.tests[0]] == [0, 500]
    assert [row["Seconds"] for row in read.tests[0]] == [0, 10], "the day between the runs does not count"
    assert [row["LearningRate"] for row in read.tests[0]] == [0.1, 0.01]


def test_logs_of_the_first_versions(log: Path) -> None:
    log.write_text(
        "I0101 10:00:00.000000 1 solver.cpp:60] Solving mnist\n"
        "I0101 10:00:01.000000 1 solver.cpp:287] Iteration 100, lr = 0.5\n"
        "I0101 10:00:01.000000 1 solver.cpp:76] Iteration 100, loss = 0.25\n"
        "I0101 10:00:02.000000 1 solver.cpp:110] Iteration 100, Testing net\n"
        "I0101 10:00:03.000000 1 solver.cpp:139] Test score #0: 0.75\n"
        "I0101 10:00:03.000000 1 solver.cpp:139] Test score #1: 0.125\n"
    )
    read = read_log(log)
    assert read.train == [{"NumIters": 100, "Seconds": 1, "LearningRate": 0.5, "smoothed_loss": 0.25}]
    assert read.tests == {0: [{"NumIters": 100, "Seconds": 2, "LearningRate": 0.5, "score": 0.75, "score_1": 0.125}]}


def test_a_file_that_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    with pytest.raises(DataError, match="no line of a solver"):
        read_log(tmp_path / "x")
    with pytest.raises(DataError, match="cannot be read"):
        read_log(tmp_path / "y")
    (tmp_path / "x").write_text(f"Iteration {'9' * 5000}, loss = 1\n")
    with pytest.raises(DataError, match="no line of a solver"):
        read_log(tmp_path / "x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(text, math.nan) for text in ("-1.#IND", "1.#QNAN", "1.#SNAN0", "-nan(ind)", "NaN", "-nan")],
        *[("1.#INF", math.inf), ("-1.#INF00", -math.inf), ("Inf", math.inf), ("-inf", -math.inf), ("1e-5", 1e-5)],
    ],
)  # fmt: skip
def test_numbers_that_are_not_finite(text: str, value: float, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(
        f"Iteration 5, loss = {text}\n    Train net output #0: loss = {text} (* 1 = {text} loss)\n"
        f"Iteration 5, Testing net (#0)\n    Test net output #0: accuracy = {text}\n"
    )
    log = read_log(path)
    for found in (log.train[0]["smoothed_loss"], log.train[0]["loss"], log.tests[0][0]["accuracy"]):
        assert found == value or (math.isnan(found) and math.isnan(value))


@pytest.mark.parametrize("text", ["1,5", "0x1p3", "1.5e", "2.3abc", "3#4"])
def test_the_beginning_of_a_word_is_no_number(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(f"Iteration 5, loss = {text}\nIteration 6, loss = 2.5\n    Train net output #0: loss = {text}\n")
    assert [row["smoothed_loss"] for row in read_log(path).train] == [2.5]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_logs_of_other_encodings(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes("Iteration 5, loss = 2.5\r\nIteration 5, lr = 0.1\r\n".encode(encoding))
    (row,) = read_log(path).train
    assert (row["smoothed_loss"], row["LearningRate"]) == (2.5, 0.1)


@pytest.mark.parametrize("name", ["my loss", "a = b", "loss (old)", "x = 3 y", " "])
def test_tops_with_blanks(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(f"Iteration 5, loss = 2\n    Train net output #0: {name} = 2.5 (* 1 = 2.5 loss)\n")
    assert read_log(path).train[0][name] == 2.5
