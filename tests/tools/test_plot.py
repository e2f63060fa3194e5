"""`dragon plot` and `dragon parse-log`. What is drawn: matplotlib leaves each text of an SVG in a comment."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tools.conftest import Dragon


def metrics(folder: Path, net: str = "lenet", data: str = "MNIST", outputs: dict[str, Any] | None = None) -> None:
    folder.mkdir()
    records: list[dict[str, Any]] = [{"event": "start", "iteration": 0, "time": 5.0, "net": net, "data": [data]}]
    records += [
        {"event": "display", "iteration": i, "time": 6.0 + i, "loss": 2.0, "lr": 0.1, "outputs": {"loss": 2.0 - i / 9}}
        for i in range(4)
    ]
    records += [
        {
            "event": "test",
            "iteration": i,
            "time": 6.5 + i,
            "net": k,
            "outputs": outputs or {"accuracy": 0.25, "loss": y},
        }
        for k in (0, 1)
        for i, y in ((0, 80.0), (3, 2.0))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def texts(path: Path) -> list[str]:
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", path.read_text())]


def test_one_run(here: Path, dragon: Dragon) -> None:
    metrics(here / "lenet")
    assert dragon("plot", "lenet", "--out", "a.svg").out == "a.svg: loss, accuracy\n"
    found = texts(here / "a.svg")
    assert "lenet" in found, "the title: net and run have one name"
    assert found.count("iteration") == 2, "each panel says what its axis is"
    assert {"loss", "accuracy", "train", "test 0", "test 1", "starts at 80, above the picture"} <= set(found)
    assert {"1", "2", "3"} <= set(found)
    assert "0.5" not in found, "no half iteration"
    assert dragon("plot", "lenet", "--out", "b.svg", "--x", "seconds", "--log-y").code == 0
    assert texts(here / "b.svg").count("seconds of training") == 2
    assert "starts at 80, above the picture" not in texts(here / "b.svg")


def test_without_matplotlib(here: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics(here / "lenet")
    monkeypatch.setattr("dragon.tools.common.curves.importlib.util.find_spec", lambda name: None)
    result = dragon("plot", "lenet", "--out", "a.svg")
    assert (result.code, result.error) == (2, 'plots need a package: pip install "dragon-caffe[plot]"')
    assert [path.name for path in here.iterdir()] == ["lenet"]


def test_drawn_data_is_marked(here: Path, dragon: Dragon) -> None:
    metrics(here / "one", data="synthetic")
    metrics(here / "two", net="other")
    dragon("plot", "one", "--out", "a.svg")
    assert "lenet (one) on SYNTHETIC data" in texts(here / "a.svg")
    dragon("plot", "one", "two/metrics.jsonl", "--out", "b.svg", "--only", "loss")
    found = texts(here / "b.svg")
    assert {"lenet, other", "one (SYNTHETIC data) train", "two train"} <= set(found)


def test_runs_of_one_name_are_told_apart(here: Path, dragon: Dragon) -> None:
    for folder in ("a", "b"):
        (here / folder).mkdir()
        (here / folder / "x.log").write_text("Solving n\nIteration 0, loss = 2\nIteration 9, loss = 1\n")
    dragon("plot", "a/x.log", "b/x.log", "--out", "a.svg")
    assert {"a/x.log train", "b/x.log train", "smoothed_loss"} <= set(texts(here / "a.svg"))
    assert "no line of the log tells its time" in dragon("plot", "a/x.log", "--x", "seconds").error


def test_the_endings_are_few_and_the_hint_says_what_is_shown(here: Path, dragon: Dragon) -> None:
    metrics(here / "lenet")
    assert dragon("plot", "none", "--out", "a.bmp").error == "a.bmp: the name must end in .png, .svg or .pdf, not .bmp"
    assert dragon("plot", "lenet", "--out", "a").error == "a: the name must end in .png, .svg or .pdf"
    assert dragon("plot", "lenet", "--only", "zzz").error == 'no output "zzz" in the logs; there are loss, accuracy'
    assert dragon("plot", "lenet", "--only", "smoothed_loss", "--out", "a.png").code == 0
    assert "smoothed_loss" in dragon("plot", "--help").out


def test_many_outputs(here: Path, dragon: Dragon) -> None:
    metrics(here / "lenet", outputs={"per_class": [0.5] * 20})
    result = dragon("plot", "lenet", "--out", "a.svg")
    assert result.out.endswith("per_class_10 (the first 12 of 21; --only picks others)\n")
    assert "per_class_10" in texts(here / "a.svg")
    assert "per_class_11" not in texts(here / "a.svg")


def test_a_diverged_run_says_so(here: Path, dragon: Dragon) -> None:
    (here / "x.log").write_text(
        "Iteration 0, loss = 2\nTrain net output #0: loss = nan\n"
        "Iteration 9, loss = nan\nTrain net output #0: loss = inf\n"
    )
    assert dragon("plot", "x.log", "--out", "a.svg").code == 0
    assert "NaN or infinite throughout" in texts(here / "a.svg")
    dragon("plot", "x.log", "--out", "b.svg", "--only", "smoothed_loss")
    assert "NaN or infinite throughout" not in texts(here / "b.svg")


def log_of(path: Path, rate: float, accuracy: float, loss: str = "1") -> None:
    path.write_text(
        f"Solving n\nIteration 0, loss = 2\n    Train net output #0: loss = 2\nIteration 0, lr = {rate}\n"
        f"Iteration 9, loss = {loss}\n    Train net output #0: loss = {loss}\nIteration 9, lr = {rate / 10}\n"
        f"Iteration 9, Testing net (#0)\n    Test net output #0: accuracy = {accuracy}\n"
    )


def crosses(path: Path) -> int:
    return path.read_text().count('id="diverged"')


def test_against_the_rate(here: Path, dragon: Dragon) -> None:
    for k, (rate, accuracy, loss) in enumerate([(0.001, 0.5, "1"), (0.01, 0.7, "1"), (0.1, 0.1, "nan")]):
        log_of(here / f"{k}.log", rate, accuracy, loss)
    logs = ("0.log", "1.log", "2.log")
    assert dragon("plot", *logs, "--x", "rate", "--out", "a.svg", "--only", "accuracy").code == 0
    found = texts(here / "a.svg")
    assert {"learning rate", "n test", "n test, diverged", "accuracy"} <= set(found)
    assert "chance" not in found
    assert any("10^{" in text for text in found), "a logarithmic axis"
    assert crosses(here / "a.svg") == 1
    assert dragon("plot", *logs, "--x", "rate", "--out", "b.svg", "--chance", "0.1").code == 0
    assert texts(here / "b.svg").count("chance") == 2, "of the accuracy and the loss"
    (here / "x.log").write_text("Solving n\nIteration 0, loss = 2\n")
    assert "states no learning rate above 0" in dragon("plot", "x.log", "--x", "rate", "--out", "c.svg").error
    assert not (here / "c.svg").exists()


def test_a_curve_that_ends_has_a_cross_and_chance_a_line(here: Path, dragon: Dragon) -> None:
    log_of(here / "good.log", 0.01, 0.7)
    log_of(here / "bad.log", 0.1, 0.1, "nan")
    assert dragon("plot", "good.log", "--out", "a.svg").code == 0
    assert crosses(here / "a.svg") == 0
    assert dragon("plot", "bad.log", "--out", "b.svg", "--chance", "0.1").code == 0
    assert crosses(here / "b.svg") == 1
    assert texts(here / "b.svg").count("chance") == 2
    assert dragon("plot", "bad.log", "--out", "b.svg", "--chance", "1").code == 2


def test_panels_of_one_kind_have_one_scale(here: Path, dragon: Dragon) -> None:
    metrics(here / "one", outputs={"top1_accuracy": 0.2, "top5_accuracy": 0.9})
    assert dragon("plot", "one", "--out", "a.svg", "--only", "top1_accuracy", "--only", "top5_accuracy").code == 0
    found = texts(here / "a.svg")
    first = found[: found.index("top1_accuracy")]
    assert {"0.2", "0.9"} <= set(first) or {"0.2", "0.8"} <= set(first), first


LOG = """I1121 10:54:00.000000 1 s.py:1] Solving x
I1121 10:54:01.000000 1 s.py:1] Iteration 0, loss = 2
I1121 10:54:01.000000 1 s.py:1]     Train net output #0: loss = 2.5 (* 1 = 2.5 loss)
I1121 10:54:01.000000 1 s.py:1] Iteration 0, lr = 0.5
I1121 10:54:02.000000 1 s.py:1] Iteration 0, Testing net (#0)
I1121 10:54:02.000000 1 s.py:1]     Test net output #0: accuracy = 0.125
"""


def test_parse_log_and_plot(work: Path, dragon: Dragon) -> None:
    (work / "a.log").write_text(LOG)
    assert dragon("parse-log", "a.log", "tables").out.splitlines() == [
        "tables/a.log.train: 1 row", "tables/a.log.test: 1 row",
    ]  # fmt: skip
    assert (work / "tables/a.log.train").read_text() == "NumIters,Seconds,LearningRate,loss\n0,1.0,0.5,2.5\n"
    assert dragon("plot", "a.log", "--out", "a.png").out == "a.png: loss, accuracy\n"
    assert (work / "a.png").read_bytes().startswith(b"\x89PNG")
    result = dragon("plot", "a.log", "--only", "acuracy")
    assert 'no output "acuracy" in the logs (did you mean "accuracy"?)' in result.error
    assert dragon("plot", "a.log", "--out", "a.xyz").code == 2
    assert not (work / "a.xyz").exists()


@pytest.mark.usefixtures("reference_engine")
def test_a_log_of_our_own_is_read(work: Path, dragon: Dragon) -> None:
    trained = dragon("train", "--solver", "solver.prototxt")
    assert trained.code == 0
    (work / "own.log").write_text(trained.out + trained.err)
    dragon("parse-log", "own.log")
    train = np.genfromtxt("own.log.train", delimiter=",", names=True)
    test = np.genfromtxt("own.log.test", delimiter=",", names=True)
    assert train["NumIters"].tolist() == [0, 5, 10, 15, 20]
    assert test["NumIters"].tolist() == [0, 10, 20]
    assert train["LearningRate"][0] == pytest.approx(0.01)
    assert np.isfinite(train["loss"]).all()
    assert ((test["acc"] >= 0) & (test["acc"] <= 1)).all()
