"""--observer, faults of observers, norms, memory, and the warning of a busy machine."""

from __future__ import annotations

import importlib.metadata
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import dragon as caffe
from dragon.solver.meter import Meter
from dragon.solver.observer import Guarded
from dragon.solver.solver import Solver
from dragon.tools.observers.busy import BusyObserver, Sample, sample
from dragon.tools.observers.forgiving import Forgiving
from dragon.tools.observers.metrics import read_records
from dragon.tools.observers.own import make_observer
from dragon.tools.observers.vitals import Vitals
from tests.helpers import toy_solver
from tests.tools.conftest import Dragon, edit

TRAIN = ("train", "--solver", "solver.prototxt", "--engine", "numpy")
WATCH = """
import dragon
calls = []
class Watch(dragon.Observer):
    def __init__(self, a=1, *, b="x", fail=None):
        calls.append(("made", a, b))
        self.fail = fail
    def __getattribute__(self, name):
        if name.startswith("on_"):
            calls.append(name)
            if name == object.__getattribute__(self, "fail"):
                raise {error}
        return object.__getattribute__(self, name)
class Needs(dragon.Observer):
    def __init__(self, project): pass
class Fails(dragon.Observer):
    def __init__(self): raise RuntimeError("no key")
def other(): return 3
"""
EVENTS = [
    "on_start", "on_step", "on_display", "on_iteration", "on_test_start", "on_test_batch", "on_test", "on_snapshot",
    "on_end",
]  # fmt: skip


@pytest.fixture(autouse=True)
def module(work: Path) -> Iterator[None]:
    (work / "watch_module.py").write_text(WATCH.format(error='ValueError("broken")'))
    before = sys.path[:]
    yield
    assert sys.path == before
    sys.modules.pop("watch_module", None)


def calls() -> list[object]:
    found: list[object] = sys.modules["watch_module"].calls
    return found


def test_an_observer_of_the_working_directory(work: Path, dragon: Dragon) -> None:
    result = dragon(*TRAIN, "--observer", "watch_module:Watch:a=2.5,b=u,v=w", "--observer", "watch_module:Watch:a=true")
    assert result.code == 2
    assert result.error == 'observer watch_module:Watch has no setting "v"; it takes a, b, fail'
    result = dragon(*TRAIN, "--observer", "watch_module:Watch:a=2.5,b=u,w", "--observer", "watch_module:Watch:a=true")
    assert result.code == 0, result.err
    made = [call for call in calls() if call[0] == "made"]  # type: ignore[index]
    assert made[-2:] == [("made", 2.5, "u,w"), ("made", True, "x")]
    assert set(EVENTS) <= set(calls())


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("no_such:X", "no_such cannot be imported: ModuleNotFoundError"),
        ("watch_module:watch", 'no "watch" (did you mean "Watch"?)'),
        ("watch_module:Watch:aa=1", 'no setting "aa" (did you mean "a"?); it takes a, b, fail'),
        ("watch_module:Watch:x", "settings are KEY=VALUE"),
        ("watch_module:Needs", "needs project: --observer watch_module:Needs:project=VALUE"),
        ("watch_module:Fails", "cannot be made: RuntimeError: no key"),
        ("watch_module:other", "makes no dragon.Observer, but int"),
        ("watch_modul", 'no observer "watch_modul"'),
        ("broken:X", "broken cannot be imported: SyntaxError"),
        (":", "cannot be imported"),
    ],
)
def test_one_that_cannot_be_had_is_an_error_before_training(work: Path, dragon: Dragon, text: str, error: str) -> None:
    (work / "broken.py").write_text("def")
    result = dragon(*TRAIN, "--observer", text)
    assert result.code == 2
    assert error in result.error
    assert not (work / "out").exists()


def test_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("watch", "dragon:Observer", "dragon.observers")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] * (group == point.group))
    observer = make_observer("watch")
    assert isinstance(observer, Guarded)
    assert type(observer.inner) is caffe.Observer
    with pytest.raises(caffe.UsageError, match=r'"wach" \(did you mean "watch"\?\).*installed are watch'):
        make_observer("wach")


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("error", ['ValueError("broken")', "SystemExit(3)", 'OSError(28, "full")'])
def test_a_fault_drops_the_observer_and_nothing_else(work: Path, dragon: Dragon, event: str, error: str) -> None:
    if error != 'ValueError("broken")' and event not in ("on_start", "on_test"):
        return
    (work / "watch_module.py").write_text(WATCH.format(error=error))
    result = dragon(*TRAIN, "--observer", f"watch_module:Watch:fail={event}", "--iterations", "10")
    assert result.code == 0, result.err
    kind = error.partition("(")[0]
    found = re.findall(
        rf"observer watch_module:Watch failed in {event}: {kind}.*training goes on without it", result.err
    )
    assert len(found) == 1
    assert "watch_module.py, line" in found[0]
    assert "Traceback" not in result.err
    assert "Optimization Done." in result.err
    assert calls()[-1] == event, "not called any more"


def test_an_interrupt_is_not_a_fault() -> None:
    class Interrupted(caffe.Observer):
        def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
            raise KeyboardInterrupt

    solver = toy_solver(max_iter=3)
    solver.observers.append(Guarded(Interrupted()))
    with pytest.raises(KeyboardInterrupt):
        solver.solve()


def test_a_fault_of_a_built_in_observer_drops_it(caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []

    class Broken(caffe.Observer):
        def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
            called.append("iteration")
            raise ZeroDivisionError("by zero")

        def on_end(self, solver: Solver) -> None:
            called.append("end")

    solver = toy_solver(max_iter=4)
    solver.observers.append(Forgiving(Broken(), "x.json"))
    solver.solve()
    assert called == ["iteration", "end"], "the end releases what it holds"
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "x.json failed (ZeroDivisionError: by zero); training goes on without that"
    ]


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_all_observers_leave_training_as_it_is(work: Path, dragon: Dragon, engine: str) -> None:
    train = ("train", "--solver", "solver.prototxt", "--engine", engine)
    assert dragon(*train).code == 0
    plain = (work / "out/x_iter_20.solverstate").read_bytes(), (work / "out/x_iter_20.caffemodel").read_bytes()
    (work / "peek.py").write_text(
        "import dragon\nclass Peek(dragon.Observer):\n"
        "    def on_iteration(self, solver, loss, rate):\n"
        "        [(b.peek(), b.peek_diff()) for bs in solver.net.params.values() for b in bs]\n"
        "    on_display = on_iteration\n"
    )
    watched = dragon(
        *train, "--norms", "--keep-best", "--keep-last", "1", "--tensorboard", "tb", "--observer", "peek:Peek",
        "--observer", "watch_module:Watch",
    )  # fmt: skip
    sys.modules.pop("peek", None)
    assert watched.code == 0, watched.err
    assert "failed in" not in watched.err
    assert (
        (work / "out/x_iter_20.solverstate").read_bytes(),
        (work / "out/x_iter_20.caffemodel").read_bytes(),
    ) == plain


def test_norms_and_memory(work: Path, dragon: Dragon) -> None:
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 10 iter_size: 2 clip_gradients: 0.1")
    plain = dragon(*TRAIN, "--output", "plain")
    shown = [r for r in read_records(work / "plain/metrics.jsonl") if r["event"] == "display"]
    assert all(r["memory_mib"] > 1 and "weight_norm" not in r for r in shown)
    assert "norm of" not in plain.err
    log = dragon(*TRAIN, "--norms", "--output", "norms").err
    shown = [r for r in read_records(work / "norms/metrics.jsonl") if r["event"] == "display"]
    assert [("weight_norm" in r, "gradient_norm" in r) for r in shown] == [(True, True), (True, True), (True, False)]
    lines = re.findall(r"\] +(.*peak memory [\d,]+ MiB, norm of weights \S+)(?:, of gradients (\S+))?\n", log)
    assert [float(line[1]) for line in lines[:2]] == pytest.approx([r["gradient_norm"] for r in shown[:2]], rel=1e-3)
    assert "images/s" in lines[1][0]


def test_norms_by_hand() -> None:
    solver = toy_solver(max_iter=3, display=1, iter_size=2)
    seen: list[tuple[float, float]] = []

    class Look(Vitals):
        def on_display(self, solver: Solver, loss: float, rate: float) -> None:
            super().on_display(solver, loss, rate)
            if "gradient_norm" in self.values:
                flat = [p.blob.data.ravel() for p in solver.net.learnable]
                slopes = [p.blob.diff.ravel() / 2 for p in solver.net.learnable]
                expected = (np.linalg.norm(np.concatenate(flat)), np.linalg.norm(np.concatenate(slopes)))
                assert (self.values["weight_norm"], self.values["gradient_norm"]) == pytest.approx(expected, rel=1e-5)
                seen.append(expected)  # type: ignore[arg-type]

    solver.observers.append(Look(Meter(), norms=True))
    solver.solve()
    assert len(seen) == 3


# -- a busy machine ------------------------------------------------------------------------------------------
def test_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 200 300 4000 5000 10 20 30 40 50\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 5\n"
    )
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0}, raising=False)
    monkeypatch.setattr("os.sysconf", lambda name: 100, raising=False)
    found = sample(stat)
    assert found is not None
    assert found.busy == pytest.approx(6.6)
    assert found.cores == 1
    assert sample(tmp_path / "none") is None
    stat.write_text("cpu0 a\n")
    assert sample(stat) is None


@pytest.mark.parametrize(
    ("seconds", "others", "cores", "threads", "warned"),
    [
        (4.0, 1.2, 2, 2, True),
        (4.0, 0.3, 2, 2, False),
        (1.0, 1.2, 2, 2, False),  # too short
        (4.0, 1.2, 8, 2, False),  # cores are left
        (4.0, 1.2, 8, None, True),
        (4.0, 1.2, 64, 64, False),  # few
    ],
)
def test_busy(
    seconds: float, others: float, cores: int, threads: int | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    samples = iter(
        [Sample(10, 50, 5, cores), *[Sample(10 + seconds, 50 + seconds * (others + 1), 5 + seconds, cores)] * 9]
    )
    observer = BusyObserver(lambda: next(samples))
    solver = SimpleNamespace(net=SimpleNamespace(executor=SimpleNamespace(threads=threads)))
    observer.on_start(solver)  # type: ignore[arg-type]
    for _ in range(3):
        observer.on_display(solver, 0.0, 0.0)  # type: ignore[arg-type]
    observer.on_end(solver)  # type: ignore[arg-type]
    text = f"the machine is busy: other processes use 1.2 of {cores} cores"
    assert [r.getMessage().partition(";")[0] for r in caplog.records] == [text] * warned


def test_where_the_system_does_not_tell(caplog: pytest.LogCaptureFixture) -> None:
    solver = toy_solver(max_iter=2, display=1)
    solver.observers.append(BusyObserver(lambda: None))
    solver.solve()
    assert not caplog.records
