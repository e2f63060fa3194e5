"""The observers that docs/observers.md shows, run by `dragon train` against stand-ins of what they talk to."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dragon.tools.observers.metrics import read_records
from tests.tools.conftest import Dragon, dragon, drawn, edit, work

__all__ = ["dragon", "drawn", "work"]  # fixtures

PAGE = (Path(__file__).parents[2] / "docs" / "observers.md").read_text(encoding="utf-8")
FILES = {m[1]: m[2] for m in re.finditer(r"^```python\n# (\w+)\.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)}
TRAIN = ("train", "--solver", "solver.prototxt", "--engine", "numpy", "--observer")


@pytest.fixture(autouse=True)
def files(work: Path) -> Iterator[None]:
    for name, text in FILES.items():
        (work / f"{name}.py").write_text(text)
    yield
    for name in FILES:
        sys.modules.pop(name, None)


def losses(folder: Path) -> dict[int, float]:
    return {r["iteration"]: r["loss"] for r in read_records(folder / "metrics.jsonl") if r["event"] == "display"}


def test_the_page_shows_four() -> None:
    assert list(FILES) == ["early_stop", "web_hook", "wandb_observer", "mlflow_observer"]


def test_early_stop(work: Path, dragon: Dragon) -> None:
    edit(work / "solver.prototxt", "test_interval: 10", "test_interval: 1")
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 100000")
    result = dragon(*TRAIN, "early_stop:EarlyStop:patience=2,output=acc")
    assert result.code == 0, result.err
    scores = [r["outputs"]["acc"] for r in read_records(work / "out/metrics.jsonl") if r["event"] == "test"]
    best = [max(scores[: k + 1]) for k in range(len(scores))]
    assert best[-1] == best[-3], "two tests without a better score"
    assert all(best[k] > best[k - 2] for k in range(2, len(best) - 1)), "and not before"
    assert "Stopped at iteration" in result.err


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server on this machine, with what was posted to it."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/runs", got
        found.shutdown()
        thread.join()


def test_web_hook(work: Path, dragon: Dragon, server: tuple[str, list[dict[str, Any]]]) -> None:
    url, got = server
    result = dragon(*TRAIN, f"web_hook:WebHook:url={url}")
    assert (result.code, "failed in" in result.err) == (0, False), result.err
    tests = [r for r in read_records(work / "out/metrics.jsonl") if r["event"] == "test"]
    assert [(g["iteration"], g["scores"]) for g in got[:-1]] == [(r["iteration"], r["outputs"]) for r in tests]
    assert got[-1] == {"event": "end", "net": "small", "iteration": 20, "failure": None}


def test_a_server_that_is_not_there_does_not_end_the_training(work: Path, dragon: Dragon) -> None:
    result = dragon(*TRAIN, "web_hook:WebHook:url=http://127.0.0.1:9/")
    assert result.code == 0
    assert len(re.findall(r"observer web_hook:WebHook failed in on_test: URLError", result.err)) == 1
    assert "training goes on without it" in result.err
    assert "Optimization Done." in result.err


def module(name: str, monkeypatch: pytest.MonkeyPatch, **content: Any) -> None:
    found = ModuleType(name)
    vars(found).update(content)
    monkeypatch.setitem(sys.modules, name, found)


def test_wandb(work: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[dict[str, Any]] = []
    logged: list[tuple[int, dict[str, float]]] = []
    sent: list[list[str]] = []
    ended: list[int] = []

    class Artifact:
        def __init__(self, name: str, type: str) -> None:
            assert (name, type) == ("small-abc", "model")
            self.files: list[str] = []

        def add_file(self, local_path: str) -> None:
            assert Path(local_path).is_file()
            self.files.append(local_path)

    class Run:
        id = "abc"

        def log(self, data: dict[str, float], step: int) -> None:
            assert not logged or step >= logged[-1][0], "W&B ignores steps that go back"
            logged.append((step, data))

        def log_artifact(self, artifact: Artifact) -> None:
            sent.append(artifact.files)

        def finish(self, exit_code: int) -> None:
            ended.append(exit_code)

    def init(project: str, name: str | None, id: str | None, resume: str | None, config: dict[str, Any]) -> Run:
        began.append({"project": project, "name": name, "id": id, "resume": resume, **config})
        return Run()

    module("wandb", monkeypatch, init=init, Artifact=Artifact)
    result = dragon(*TRAIN, "wandb_observer:WandbObserver:project=lenet,id=abc,snapshots=true")
    assert (result.code, "failed in" in result.err) == (0, False), result.err
    (start,) = began
    assert (start["project"], start["name"], start["resume"], start["seed"]) == ("lenet", None, "allow", 3)
    assert {step: d["train/loss"] for step, d in logged if "train/loss" in d} == losses(work / "out")
    assert [step for step, d in logged if "test/acc" in d] == [0, 10, 20]
    assert [files[0] for files in sent] == [f"out/x_iter_{k}.caffemodel" for k in (5, 10, 15, 20)]
    assert ended == [0]


def test_mlflow(work: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def log_metrics(metrics: dict[str, float], step: int) -> None:
        assert all(re.fullmatch(r"[\w\-. /]+", name) for name in metrics), "what MLflow allows in a name"
        calls.append(("metrics", step, metrics))

    module(
        "mlflow", monkeypatch,
        set_tracking_uri=lambda uri: calls.append(("uri", uri)),
        set_experiment=lambda name: calls.append(("experiment", name)),
        start_run=lambda run_name: calls.append(("start", run_name)) or SimpleNamespace(),  # type: ignore[func-returns-value]
        log_params=lambda params: calls.append(("params", params)),
        log_metrics=log_metrics,
        log_artifact=lambda local_path: calls.append(("artifact", local_path)),
        end_run=lambda status: calls.append(("end", status)),
    )  # fmt: skip
    result = dragon(*TRAIN, "mlflow_observer:MlflowObserver:experiment=lenet,uri=http://host:5000,snapshots=true")
    assert (result.code, "failed in" in result.err) == (0, False), result.err
    assert [call[0] for call in calls[:4]] == ["uri", "experiment", "start", "params"]
    assert calls[0] == ("uri", "http://host:5000")
    shown = {c[1]: c[2]["train_loss"] for c in calls if c[0] == "metrics" and "train_loss" in c[2]}
    assert shown == losses(work / "out")
    assert [c[1] for c in calls if c[0] == "metrics" and "test_0_acc" in c[2]] == [0, 10, 20]
    assert len([c for c in calls if c[0] == "artifact"]) == 8
    assert calls[-1] == ("end", "FINISHED")
