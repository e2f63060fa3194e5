from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dragon.extras import install_command
from dragon.proto import dragon_pb2 as pb
from dragon.tools.train import output_folder
from tests.tools.conftest import Dragon, edit

# What the widely used parsers of Caffe's logs look for.
ITERATION = re.compile(r"Iteration (\d+)")
TRAIN_OUTPUT = re.compile(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)")
TEST_OUTPUT = re.compile(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)")
RATE = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)")
PREFIX = re.compile(r"[IWE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.py:\d+\] ")


def records(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_an_error_before_training_stands_alone(work: Path, dragon: Dragon) -> None:
    edit(work / "net.prototxt", "data/synthetic_train_lmdb", "data/none")
    for args in (("--solver", "none"), ("--solver", "solver.prototxt"), ("--solver", "solver.prototxt", "--gpu", "x")):
        result = dragon("train", *args)
        assert (result.code, result.out, len(result.err.splitlines())) == (2, "", 1), result.err
        assert result.error


def test_log_lines_are_those_that_caffes_parsers_read(work: Path, dragon: Dragon) -> None:
    result = dragon("train", "-solver", "solver.prototxt", "-sigint_effect", "stop", "--engine", "numpy")
    assert result.code == 0
    first, *lines = result.err.splitlines()
    assert re.fullmatch(r"Log file created at: \d{4}/\d\d/\d\d \d\d:\d\d:\d\d", first)
    assert all(PREFIX.match(line) for line in lines)
    assert any("] Solving small" in line for line in lines)

    rows: dict[str, list[tuple[int, float]]] = {"train loss": [], "acc": [], "test loss": [], "lr": []}
    at = -1
    for line in lines:
        if match := ITERATION.search(line):
            at = int(match[1])
        if match := TRAIN_OUTPUT.search(line):
            assert match.group(1, 2) == ("0", "loss")
            rows["train loss"].append((at, float(match[3])))
        if match := TEST_OUTPUT.search(line):
            rows["acc" if match[2] == "acc" else "test loss"].append((at, float(match[3])))
        if match := RATE.search(line):
            rows["lr"].append((at, float(match[1])))
    assert [i for i, _ in rows["train loss"]] == [0, 5, 10, 15, 20]
    assert [i for i, _ in rows["acc"]] == [i for i, _ in rows["test loss"]] == [0, 10, 20]
    assert rows["lr"] == [(0, 0.01), (5, 0.01), (10, 0.005), (15, 0.0025), (20, 0.0025)]
    text = result.err
    assert re.search(r"Test net output #1: loss = (\S+) \(\* 1 = \1 loss\)", text)
    assert "Iteration 10, Testing net (#0)" in text
    assert re.search(r"Iteration 5 \(\S+ iter/s, \S+s/5 iters\), loss = ", text)
    assert "Snapshotting to binary proto file out/x_iter_20.caffemodel" in text
    assert "Snapshotting solver state to binary proto file out/x_iter_20.solverstate" in text
    assert "Optimization Done." in text


def test_metrics_agree_with_the_log(work: Path, dragon: Dragon, pictures: None) -> None:
    log = dragon("train", "--solver=solver.prototxt", "--engine", "numpy", "--output", "m").err
    found = records(work / "m")
    shown = [float(m[1]) for m in re.finditer(r"iters\), loss = (\S+)", log)]
    kept = [r["loss"] for r in found if r["event"] == "display"]
    assert kept == pytest.approx(shown, rel=1e-5)
    assert [r["iteration"] for r in found if r["event"] == "test"] == [0, 10, 20]
    assert [r["iteration"] for r in found if r["event"] == "snapshot"] == [5, 10, 15, 20]
    assert found[0]["data"] == ["synthetic"]
    assert (found[-1]["event"], found[-1]["stopped"]) == ("end", False)
    assert (work / "m" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_curves_are_left_out(
    work: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dragon.tools.observers.curves.plot_problem", lambda: f"plots need a package: {install_command('plot')}"
    )
    result = dragon("train", "--solver", "solver.prototxt", "--iterations", "10")
    assert result.code == 0
    assert result.err.count(f"curves.png is left out: plots need a package: {install_command('plot')}") == 1
    assert (work / "out/metrics.jsonl").is_file()
    assert not (work / "out/curves.png").exists()


def test_opening_lines(work: Path, dragon: Dragon) -> None:
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 1 iter_size: 3")
    log = dragon("train", "--solver", "solver.prototxt", "--engine", "numpy", "--seed", "7").err
    assert 'net "small": 7 layers, 1,318 parameters, batches of 8, on synthetic' in log
    assert "engine numpy, fp32; seed 7" in log
    assert "statistics are taken over 8 examples; iter_size 3 does not enlarge that" in log
    assert log.count("SYNTHETIC") == 2


def test_gpu(work: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.tools.common.engine_options.cuda_problem", lambda: "there is no GPU")
    edit(work / "solver.prototxt", "solver_mode: CPU", "solver_mode: GPU")
    wished = dragon("train", "--solver", "solver.prototxt", "--iterations", "1")
    assert wished.code == 0
    assert wished.err.count("solver_mode is GPU, but there is no GPU: the CPU is used") == 1
    demanded = dragon("train", "-solver", "solver.prototxt", "-gpu", "0")
    assert demanded.code == 2
    assert demanded.error == "--gpu 0: there is no GPU; leave out --gpu to run on the CPU"
    contradiction = dragon("train", "-solver", "solver.prototxt", "-gpu", "0", "--engine", "numpy")
    assert (contradiction.code, "contradict" in contradiction.error) == (2, True)


def test_resume_drops_what_was_written_past_the_snapshot(work: Path, dragon: Dragon) -> None:
    train = ["train", "--solver", "solver.prototxt", "--engine", "numpy"]
    assert dragon(*train).code == 0
    whole = records(work / "out")
    path = work / "out" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"event": "display", "iterat')  # as a killed process leaves it
    again = dragon(*train, "--snapshot", "out/x_iter_10.solverstate")
    assert again.code == 0
    assert "Resuming at iteration 10" in again.err
    assert "Iteration 5 (" not in again.err

    def losses(found: list[dict[str, object]]) -> list[tuple[object, object]]:
        return [(r["iteration"], r["loss"]) for r in found if r["event"] == "display"]

    resumed = records(work / "out")
    assert losses(resumed) == losses(whole)
    assert [r["iteration"] for r in resumed if r["event"] == "test"] == [0, 10, 20]


def test_a_new_run_starts_its_metrics_anew(work: Path, dragon: Dragon) -> None:
    for _ in range(2):
        assert dragon("train", "--solver", "solver.prototxt", "--iterations", "5", "--engine", "numpy").code == 0
    assert [r["event"] for r in records(work / "out")].count("start") == 1


def test_weights_start_from_a_trained_net(work: Path, dragon: Dragon) -> None:
    train = ["train", "--solver", "solver.prototxt", "--engine", "numpy"]
    dragon(*train)
    log = dragon(*train, "--weights", "out/x_iter_20.caffemodel", "--iterations", "0", "--output", "m").err
    score = re.findall(r"Test net output #0: acc = (\S+)", log)
    assert score == re.findall(r"Iteration 0.*Test net output #0: acc = (\S+)", log, re.DOTALL)
    tested = dragon(
        "test", "--model", "net.prototxt", "--weights", "out/x_iter_20.caffemodel", "--iterations", "2",
        "--engine", "numpy",
    )  # fmt: skip
    assert f"acc = {score[0]}\n" in tested.out


def test_level_and_stage_choose_layers(work: Path, dragon: Dragon) -> None:
    edit(work / "net.prototxt", 'name: "drop" type: "Dropout"', 'name: "drop" type: "Dropout" include { stage: "wet" }')
    dry = dragon("train", "--solver", "solver.prototxt", "--iterations", "0", "--engine", "numpy")
    wet = dragon("train", "--solver", "solver.prototxt", "--iterations", "0", "--engine", "numpy", "--stage", "wet")
    assert 'net "small": 6 layers' in dry.err
    assert 'net "small": 7 layers' in wet.err


@pytest.mark.parametrize(
    ("prefix", "folder"), [("", "runs/lenet_solver"), ("a/b/x", "a/b"), ("x", "."), ("there", "there")]
)
def test_output_folder(work: Path, prefix: str, folder: str) -> None:
    (work / "there").mkdir()
    param = pb.SolverParameter(snapshot_prefix=prefix)
    assert output_folder(param, "nets/lenet_solver.prototxt") == Path(folder)


def test_a_precision_that_is_not_there_is_not_ignored(work: Path, dragon: Dragon) -> None:
    result = dragon("train", "--solver", "solver.prototxt", "--engine", "numpy", "--precision", "bf16")
    assert (result.code, result.error) == (2, "the NumPy engine computes in fp32 or int8, not in bf16")
