"""Folders of runs: where files go, what stands there, how a run goes on, and which snapshots stay."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_net, read_solver
from dragon.solver.solver import Solver
from dragon.tools.common.caffe_programs import main as caffe_program
from dragon.tools.common.run_log import run_name as name_of_log
from dragon.tools.observers.metrics import Record, read_records
from dragon.tools.runs.commit import git_commit
from dragon.tools.runs.folder import find_run, latest_run, new_run, run_name
from tests.tools.conftest import Dragon, Start, edit
from tests.tools.test_signals import SLOW

TRAIN = ("train", "--solver", "solver.prototxt", "--engine", "numpy")


@pytest.fixture
def named(work: Path) -> Path:
    """The working directory, with the solver under a name that its runs take."""
    (work / "solver.prototxt").rename(work / "small.prototxt")
    return work


def train(dragon: Dragon, *more: str) -> str:
    result = dragon("train", "--solver", "small.prototxt", "--engine", "numpy", *more)
    assert result.code == 0, result.err
    return result.err


def records(folder: Path) -> list[Record]:
    return read_records(folder / "metrics.jsonl")


def content(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def weights(path: Path) -> bytes:
    return path.read_bytes()


def losses(run: Path) -> list[tuple[object, object]]:
    return [(r["iteration"], r["loss"]) for r in records(run) if r["event"] == "display"]


@pytest.mark.parametrize(
    ("solver", "name"), [("nets/lenet_solver.prototxt", "lenet_solver"), ("models/lenet/solver.prototxt", "lenet")]
)
def test_names(solver: str, name: str) -> None:
    assert run_name(solver) == name


def test_numbers(tmp_path: Path) -> None:
    base = tmp_path / "runs" / "a"
    assert latest_run(base) is None
    for name in ("9", "x", "07"):
        (base / name).mkdir(parents=True)
    assert [new_run(base).name for _ in range(2)] == ["10", "11"]
    (base / "12").write_text("a file")
    assert new_run(base).name == "13"
    for name in ("run.json", "solver.prototxt"):
        (base / "10" / name).write_text("")
    assert latest_run(base) == base / "10"


def test_a_prefix_keeps_caffes_habit(named: Path, dragon: Dragon) -> None:
    train(dragon)
    assert not (named / "runs").exists()
    assert (named / "out" / "x_iter_20.caffemodel").is_file()
    assert (named / "out" / "metrics.jsonl").is_file()
    assert not (named / "out" / "run.json").exists()


def test_no_run_is_caffes_habit_without_a_prefix(named: Path, dragon: Dragon) -> None:
    edit(named / "small.prototxt", 'snapshot_prefix: "out/x"', "")
    log = train(dragon, "--no-run", "--iterations", "5")
    assert (named / "small_iter_5.solverstate").is_file()
    assert (named / "runs" / "small" / "metrics.jsonl").is_file()
    assert go_on(log)[:4] == ["train", "--solver", "small.prototxt", "--no-run"]
    assert "Resuming at iteration 5" in train(dragon, "--no-run", "--resume", "--iterations", "6")
    with pytest.raises(SystemExit) as end:
        caffe_program(["caffe", "train", "-solver", "small.prototxt", "-snapshot", "small_iter_6.solverstate"])
    assert end.value.code == 0
    assert (named / "small_iter_20.solverstate").is_file()


def test_a_net_of_the_zoo_by_its_name(work: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name has become the path of the zoo's solver; a path that the user writes is not taken for it."""
    zoo = work / "zoo"
    (zoo / "tiny").mkdir(parents=True)
    shutil.move(work / "solver.prototxt", zoo / "tiny")
    monkeypatch.setattr("dragon.tools.runs.place.ZOO", zoo)
    for solver, more in ((zoo / "tiny/solver.prototxt", ()), ("zoo/tiny/solver.prototxt", ("--set", "max_iter=3"))):
        assert dragon("train", "--solver", str(solver), *more, "--engine", "numpy", "--iterations", "5").code == 0
    assert sorted(path.name for path in (work / "runs/tiny").iterdir()) == ["1"]
    assert (work / "out/x_iter_5.caffemodel").is_file()
    elsewhere = ("--solver", str(zoo / "tiny/solver.prototxt"), "--set", "snapshot_prefix=mine/y")
    assert dragon("train", *elsewhere, "--engine", "numpy", "--iterations", "5").code == 0
    assert (work / "mine/y_iter_5.caffemodel").is_file()


@pytest.mark.parametrize("how", ["no prefix", "--run", "--run DIR"])
def test_each_run_has_a_folder_of_its_own(named: Path, dragon: Dragon, how: str) -> None:
    base = named / "runs" / "small"
    more: tuple[str, ...] = ()
    if how == "no prefix":
        edit(named / "small.prototxt", 'snapshot_prefix: "out/x"', "")
    elif how == "--run":
        more = ("--run",)
    else:
        more, base = ("--run", "mine"), named / "mine"
    train(dragon, *more)
    before = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}
    train(dragon, "--seed", "9", *more)
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in base.iterdir()) == ["1", "2"]
    names = {path.name for path in (base / "2").iterdir()}
    snapshots = {f"small_iter_{i}.{kind}" for i in (5, 10, 15, 20) for kind in ("caffemodel", "solverstate")}
    own = {"solver.prototxt", "net.prototxt", "run.json", "metrics.jsonl", "curves.png", "train.log"}
    assert names == snapshots | own
    assert not (named / "out").exists()


def test_what_a_run_says_about_itself(named: Path, dragon: Dragon) -> None:
    edit(named / "small.prototxt", "random_seed: 3", "")
    train(dragon, "--run", "--iterations", "7", "--stage", "wet")
    run = named / "runs" / "small" / "1"
    found = content(run)
    assert (found["name"], found["number"], found["net"], found["data"]) == ("small", 1, "small", ["synthetic"])
    (session,) = found["sessions"]
    assert shlex.split(session["command"])[:2] == ["dragon", "train"]
    assert {"--run", "--iterations", "7"} <= set(shlex.split(session["command"]))
    assert {"dragon", "engine", "python", "numpy", "machine", "threads"} <= set(session["versions"])
    assert session["versions"]["engine"] == "numpy"
    assert (session["status"], session["iteration"], session["last_iteration"]) == ("finished", 0, 7)
    assert session["weights"] == "runs/small/1/small_iter_7.caffemodel"
    solver = read_solver(run / "solver.prototxt")
    assert (solver.max_iter, solver.random_seed, list(solver.train_state.stage)) == (7, found["seed"], ["wet"])
    assert read_net(run / "net.prototxt") == read_net(named / "net.prototxt")
    log = (run / "train.log").read_text()
    assert "Solving small" in log
    assert "Iteration 5 (" in log
    assert name_of_log(run) == "small/1"


def test_nets_of_every_kind_are_copied(named: Path, dragon: Dragon) -> None:
    """A train net, and test nets of which one stands in the solver itself."""
    inline = (named / "net.prototxt").read_text()
    shutil.copy(named / "net.prototxt", named / "other.prototxt")
    edit(
        named / "small.prototxt", 'net: "net.prototxt"\ntest_iter: 2',
        f'train_net: "net.prototxt" test_net: "other.prototxt" test_net_param {{ {inline} }} test_iter: 2 test_iter: 1',
    )  # fmt: skip
    train(dragon, "--run")
    run = named / "runs" / "small" / "1"
    solver = read_solver(run / "solver.prototxt")
    assert solver.train_net == "runs/small/1/train_net.prototxt"
    assert list(solver.test_net) == [f"runs/small/1/test_net_{k}.prototxt" for k in range(2)]
    assert not solver.test_net_param
    again = dragon("train", "--resume", "runs/small/1", "--engine", "numpy", "--iterations", "30")
    assert again.code == 0, again.err


def test_what_set_changes_stands_in_the_run(named: Path, dragon: Dragon) -> None:
    train(
        dragon, "--set", "snapshot_prefix=", "--set", "conv.num_output=3", "--set", "base_lr=0.5", "--iterations", "4"
    )
    run = named / "runs" / "small" / "1"
    assert read_solver(run / "solver.prototxt").base_lr == 0.5
    layers = {layer.name: layer for layer in read_net(run / "net.prototxt").layer}
    assert layers["conv"].convolution_param.num_output == 3
    words = go_on((run / "train.log").read_text())
    assert "--set" not in words
    again = dragon(*words)
    assert again.code == 0, again.err
    assert read_solver(run / "solver.prototxt").max_iter == 8


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_goes_on_exactly_from_its_folder_alone(named: Path, dragon: Dragon, moved: bool) -> None:
    """The solver and the net may have changed or gone since, and the folder may stand elsewhere."""
    train(dragon, "--run")
    train(dragon, "--run", "--iterations", "10")
    base = named / "runs" / "small"
    (named / "small.prototxt").unlink()
    (named / "net.prototxt").write_text("something else")
    run = base / "2"
    if moved:
        (named / "elsewhere").mkdir()
        run = run.rename(named / "elsewhere" / "b")
    text = str(run.relative_to(named))
    result = dragon("train", "--resume", text, "--engine", "numpy", "--iterations", "20")
    assert result.code == 0, result.err
    assert "Resuming at iteration 10" in result.err
    assert weights(run / "small_iter_20.caffemodel") == weights(base / "1" / "small_iter_20.caffemodel")
    # iteration 10 is also the end of the run before, which displays once more
    assert losses(run) == losses(base / "1")
    sessions = content(run)["sessions"]
    assert [(s["iteration"], s["last_iteration"]) for s in sessions] == [(0, 10), (10, 20)]
    assert (run / "train.log").read_text().count("Solving small") == 2


def test_data_are_found_from_another_folder(named: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the net's own folder gave when the run began still counts."""
    place = named / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    first = dragon("train", "--solver", "../small.prototxt", "--engine", "numpy", "--run", "--iterations", "5")
    assert first.code == 0, first.err
    shutil.move(place / "runs", named / "far")
    assert dragon("train", "--resume", "../far/small", "--engine", "numpy", "--iterations", "9").code == 0


def test_resume_takes_the_last_run_of_the_solver(named: Path, dragon: Dragon) -> None:
    edit(named / "small.prototxt", 'snapshot_prefix: "out/x"', "")
    assert dragon("train", "--solver", "small.prototxt", "--resume").error == (
        "no run to go on with: runs/small has none"
    )
    assert not (named / "runs").exists()
    train(dragon, "--iterations", "5")
    train(dragon, "--iterations", "6")
    log = train(dragon, "--resume")
    assert "Resuming at iteration 6" in log
    assert sorted(path.name for path in (named / "runs" / "small").iterdir()) == ["1", "2"]


def test_resume_by_prefix_takes_what_was_written_last(named: Path, dragon: Dragon) -> None:
    train(dragon)
    train(dragon, "--iterations", "7")
    assert "Resuming at iteration 7" in train(dragon, "--resume")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("ending", ["solverstate", "caffemodel"])
@pytest.mark.parametrize("where", ["run", "prefix"])
def test_damaged_snapshots_are_skipped(named: Path, dragon: Dragon, ending: str, where: str) -> None:
    train(dragon, *(["--run"] if where == "run" else []))
    start = named / ("runs/small/1/small" if where == "run" else "out/x")
    whole = weights(Path(f"{start}_iter_20.caffemodel"))
    damage(Path(f"{start}_iter_20.{ending}"))
    Path(f"{start}_iter_15.caffemodel").unlink()
    log = train(dragon, "--resume", *(["--run"] if where == "run" else []))
    skipped = re.findall(r"snapshot skipped: .*_iter_(\d+)\.", log)
    assert len(re.findall("snapshot skipped: ", log)) == 2
    assert skipped
    assert "Resuming at iteration 10" in log
    assert weights(Path(f"{start}_iter_20.caffemodel")) == whole


def test_without_a_whole_snapshot(named: Path, dragon: Dragon) -> None:
    result = dragon("train", "--solver", "small.prototxt", "--resume")
    assert (result.code, result.error) == (2, "no snapshot to go on from: there is no out/x_iter_*.solverstate")
    train(dragon, "--iterations", "5")
    damage(named / "out" / "x_iter_5.caffemodel")
    result = dragon("train", "--solver", "small.prototxt", "--resume", "--engine", "numpy")
    assert (result.code, result.error) == (2, "no snapshot out/x_iter_*.solverstate is whole and of this net")


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--resume", "runs/small/2"), 'runs/small/2: not the folder of a run (did you mean "runs/small/1"?)'),
        (("--resume", "runs/small/1/small_iter_1.solverstate"), "one snapshot is named by --snapshot"),
        (("--resume", "."), "its snapshots have the prefix of a solver: --solver FILE --resume"),
        (("--resume", "runs/small/1", "--solver", "s"), "leave out --solver"),
        (("--resume", "runs/small/1", "--run"), "leave out --run"),
        (("--resume", "runs/small/1", "--snapshot", "s"), "not both"),
        (("--resume", "runs/small/1", "--weights", "w"), "not both"),
        (("--resume", "runs/small/1", "--no-run"), "leave out --no-run"),
        (("--solver", "small.prototxt", "--run", "--no-run"), "contradict"),
        (("--keep-last", "0", "--solver", "small.prototxt"), "--keep-last"),
        ((), "Missing option '--solver'. Or name a net of the zoo, or a run: --resume runs/lenet/1"),
        (
            ("--solver", "small.prototxt", "--snapshot", "runs/small/1/small_iter_1.caffemodel", "--engine", "numpy"),
            "not a solver state (it has no iteration); it may be weights, which belong to --weights",
        ),
    ],
)
def test_flags_that_contradict_each_other(named: Path, dragon: Dragon, flags: tuple[str, ...], error: str) -> None:
    train(dragon, "--run", "--iterations", "1")
    shutil.copy("runs/small/1/small_iter_1.solverstate", "x_iter_1.solverstate")
    result = dragon("train", *flags)
    assert result.code == 2
    assert error in result.error


def test_an_error_before_training_makes_no_folder(named: Path, dragon: Dragon) -> None:
    edit(named / "net.prototxt", "data/synthetic_train_lmdb", "data/none")
    assert dragon("train", "--solver", "small.prototxt", "--run").code == 2
    assert not (named / "runs").exists()


def test_a_snapshot_begins_another_run(named: Path, dragon: Dragon) -> None:
    train(dragon, "--run", "--iterations", "10")
    train(dragon, "--run", "--snapshot", "runs/small/1/small_iter_5.solverstate")
    assert (named / "runs/small/2/small_iter_10.caffemodel").is_file()
    assert "Resuming at iteration 5" in (named / "runs/small/2/train.log").read_text()
    assert content(named / "runs/small/1")["sessions"][0]["last_iteration"] == 10


# -- the end -------------------------------------------------------------------------------------------------
def go_on(log: str) -> list[str]:
    (line,) = re.findall(r"To go on: dragon (.*)", log)
    return shlex.split(line)


@pytest.mark.parametrize("mode", [("--run",), ()])
def test_the_end_says_how_to_go_on(named: Path, dragon: Dragon, mode: tuple[str, ...]) -> None:
    log = train(dragon, *mode, "--keep-last", "3", "--probe", "weight_norm:every=10")
    tests = {r["iteration"]: r["outputs"]["acc"] for r in records(named / ("runs/small/1" if mode else "out"))
             if r["event"] == "test"}  # fmt: skip
    best = max(tests.values())
    at = next(i for i, value in tests.items() if value == best)
    assert re.search(rf"Finished at iteration 20 after 0:00:\d\d; best acc {100 * best:.2f} % at iteration {at}\n", log)
    assert f"Weights: {'runs/small/1/small' if mode else 'out/x'}_iter_20.caffemodel\n" in log
    words = go_on(log)
    assert words[-2:] == ["--iterations", "40"]
    assert {"--keep-last", "3", "--probe", "weight_norm:every=10", "--engine", "numpy"} <= set(words)
    again = dragon(*words)
    assert again.code == 0, again.err
    assert "Resuming at iteration 20" in again.err
    assert go_on(again.err)[-2:] == ["--iterations", "80"]


def test_without_accuracy_the_loss_counts(named: Path, dragon: Dragon) -> None:
    edit(named / "net.prototxt", 'layer { name: "acc" type: "Accuracy"', 'layer { name: "acc" type: "ArgMax"')
    edit(named / "net.prototxt", 'bottom: "ip" bottom: "label" top: "acc"', 'bottom: "ip" top: "acc"')
    log = train(dragon, "--run")
    tests = {r["iteration"]: r["outputs"]["loss"] for r in records(named / "runs/small/1") if r["event"] == "test"}
    best = min(tests.values())
    assert f"best loss {best:g} at iteration {next(i for i, v in tests.items() if v == best)}\n" in log


def test_a_training_that_fails_ends_with_its_error(named: Path, dragon: Dragon) -> None:
    edit(named / "small.prototxt", "base_lr: 0.01", "base_lr: 1e30")
    result = dragon("train", "--solver", "small.prototxt", "--engine", "numpy", "--run")
    assert result.code == 2
    assert result.error
    assert "To go on" not in result.err
    assert content(named / "runs/small/1")["sessions"][0]["status"] == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(named: Path, start: Start, dragon: Dragon, number: signal.Signals) -> None:
    edit(named / "small.prototxt", "max_iter: 20", "max_iter: 100000")
    process = start(
        "train", "--solver", "small.prototxt", "--engine", "numpy", "--run", before=SLOW.format(seconds=0.02)
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line == "in an iteration\n":
            break
    process.send_signal(number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "Stopped at iteration" in log
    at = content(named / "runs/small/1")["sessions"][0]
    assert at["status"] == "stopped"
    again = dragon(*go_on(log), "--iterations", str(at["last_iteration"] + 2))
    assert again.code == 0, again.err
    assert f"Resuming at iteration {at['last_iteration']}" in again.err


def test_a_second_interrupt_ends_at_once_and_says_how_to_go_on(
    named: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a snapshot of its own: the last one counts."""
    original = Solver.snapshot

    def snapshot(self: Solver) -> str:
        path = original(self)
        if self.iter == 10:
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr(Solver, "snapshot", snapshot)
    result = dragon("train", "--solver", "small.prototxt", "--engine", "numpy", "--run")
    assert result.code == 130
    assert "Interrupted at iteration 10 after" in result.err
    assert content(named / "runs/small/1")["sessions"][0]["status"] == "interrupted"
    assert "--resume" in go_on(result.err)


# -- what stays ----------------------------------------------------------------------------------------------
def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "_iter_" in path.name)


def test_keep_last(named: Path, dragon: Dragon) -> None:
    train(dragon, "--run", "--keep-last", "2", "--iterations", "15", "--probe", "weight_norm")
    run = named / "runs/small/1"
    endings = ("caffemodel", "probes.json", "solverstate")
    assert kept(run) == [f"small_iter_{i}.{e}" for i in (10, 15) for e in endings]
    train(dragon, "--run", "--resume", "--keep-last", "1")
    assert kept(run) == [f"small_iter_20.{e}" for e in endings[::2]]


def test_keep_last_spares_what_other_runs_wrote(named: Path, dragon: Dragon) -> None:
    train(dragon, "--iterations", "5")
    edit(named / "small.prototxt", "snapshot: 5", "snapshot: 6")
    edit(named / "small.prototxt", "snapshot_prefix", "snapshot_format: HDF5 snapshot_prefix")
    train(dragon, "--keep-last", "1")
    assert kept(named / "out") == [
        "x_iter_20.caffemodel.h5", "x_iter_20.solverstate.h5", "x_iter_5.caffemodel", "x_iter_5.solverstate",
    ]  # fmt: skip


def test_keep_best(named: Path, dragon: Dragon) -> None:
    train(dragon, "--run", "--keep-best")
    run = named / "runs/small/1"
    tests = {r["iteration"]: r["outputs"]["acc"] for r in records(run) if r["event"] == "test"}
    at = next(i for i, value in tests.items() if value == max(tests.values()))
    first = (run / "small_best.caffemodel").read_bytes()
    assert content(run)["sessions"][0]["best_weights"] == "runs/small/1/small_best.caffemodel"
    if at:
        assert net_of(run / "small_best.caffemodel") == net_of(run / f"small_iter_{at}.caffemodel")
    train(dragon, "--run", "--resume", "--keep-best", "--iterations", "25")
    tests = {r["iteration"]: r["outputs"]["acc"] for r in records(run) if r["event"] == "test"}
    if at == next(i for i, value in tests.items() if value == max(tests.values())):
        assert (run / "small_best.caffemodel").read_bytes() == first
    train(dragon, "--run")
    edit(named / "small.prototxt", "snapshot_prefix", "snapshot_format: HDF5 snapshot_prefix")
    train(dragon, "--run", "--keep-best")
    assert (named / "runs/small/3/small_best.caffemodel.h5").is_file()
    for k in (2, 3):  # nothing of this changes the training
        assert losses(named / f"runs/small/{k}") == losses(run)[: len(losses(named / f"runs/small/{k}"))]


def net_of(path: Path) -> list[tuple[str, bytes]]:
    net = pb.NetParameter.FromString(path.read_bytes())
    return [(layer.name, b"".join(blob.SerializeToString() for blob in layer.blobs)) for layer in net.layer]


# -- the commit ----------------------------------------------------------------------------------------------
def test_git_commit(tmp_path: Path) -> None:
    one, two = "1" * 40, "2" * 40
    assert git_commit(tmp_path) is None or len(str(git_commit(tmp_path))) == 40
    git = tmp_path / "top" / ".git"
    (git / "refs/heads").mkdir(parents=True)
    below = tmp_path / "top" / "a" / "b"
    below.mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert git_commit(below) is None
    (git / "packed-refs").write_text(f"# pack-refs\n{two} refs/heads/main\n")
    assert git_commit(below) == two
    (git / "refs/heads/main").write_text(f"{one}\n")
    assert git_commit(below) == one
    (git / "HEAD").write_text(two)
    assert git_commit(below) == two
    (git / "HEAD").write_bytes(b"\xff\xfe")
    assert git_commit(below) is None
    tree = tmp_path / "tree"
    tree.mkdir()
    (git / "worktrees/tree").mkdir(parents=True)
    (git / "worktrees/tree/HEAD").write_text("ref: refs/heads/main\n")
    (git / "worktrees/tree/commondir").write_text("../..\n")
    (tree / ".git").write_text(f"gitdir: {git}/worktrees/tree\n")
    assert git_commit(tree) == one


def test_a_run_is_found_by_its_folder(named: Path, dragon: Dragon) -> None:
    train(dragon, "--run", "--iterations", "1")
    assert find_run("runs/small") == find_run("runs/small/1/") == Path("runs/small/1")
