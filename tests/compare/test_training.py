"""One run: exact statistics, averages with weight decay on them, early stops, and how the start is shared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon import TRAIN, Net
from dragon.compare import recorder
from dragon.compare.averages import Averages
from dragon.compare.plan import Run, make_plan
from dragon.compare.reading import read_experiment
from dragon.compare.recorder import series_name
from dragon.compare.training import make_solver, train
from dragon.compare.weights import as_inputs, copy_parameters, different_fillers, parameters
from dragon.engines import Options
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.solver import Solver
from dragon.surgery.recalibrate import recalibrate


def run_of(path: Path, variant: str) -> Run:
    return make_plan(read_experiment(path), "numpy", "fp32").first(variant)


def trained(run: Run, folder: Path, solvers: list[Solver] | None = None) -> dict[str, Any]:
    """The record of a run. solvers: gets its solver."""
    taken: list[Solver] = [] if solvers is None else solvers
    result = train(
        run.solver, run.start_from, "numpy", Options(), folder, lambda message: None, taken.append, run.averages,
        tests=[(test.on, test.statistics) for test in run.tests], exact_images=run.exact_images,
        exact_variance=run.exact_variance, stop=run.stop,
    )  # fmt: skip
    assert result is not None
    return result


def change(path: Path, line: str) -> None:
    path.write_text(path.read_text().replace("name: A", f"{line}\nname: A"))


def test_series_have_names() -> None:
    assert series_name("test", "loss", "global") == "test/loss"
    assert series_name("test", "loss", "exact") == "test/loss@exact"
    assert series_name("train", "accuracy", "global") == "train/accuracy"
    assert series_name("train", "loss", "global") == "train/loss@tested"
    assert series_name("train", "loss", "batch") == "train/loss@batch"


@pytest.mark.parametrize("variance", ["pooled", "batches"])
def test_exact_statistics_are_those_of_recalibrate(comparison: Path, tmp_path: Path, variance: str) -> None:
    """After the last test, a net with the run's weights scores the same with statistics recomputed by the tool."""
    change(comparison, f"statistics: [global, {{exact: 60, variance: {variance}}}]")
    run = run_of(comparison, "merged")
    solvers: list[Solver] = []
    record = trained(run, tmp_path / "run", solvers)
    assert [test.statistics for test in run.tests] == ["global", "exact"]
    weights = {name: [blob.peek().copy() for blob in blobs] for name, blobs in solvers[0].net.params.items()}
    calibrated = Net(run.solver.train_net_param, phase=TRAIN, engine="numpy", seed=run.seed)
    test = Net(run.solver.test_net_param[0], phase=1, engine="numpy", seed=run.seed)
    for name, arrays in weights.items():
        for blob, array in zip(calibrated.params[name], arrays, strict=True):
            blob.data[...] = array
    recalibrate(calibrated, 3, variance=variance)
    test.share_with(calibrated)
    batches = run.solver.test_iter[0]
    for _ in range(batches):  # those of the test at iteration 5
        test.run_forward()
    scores = []
    for _ in range(batches):
        test.run_forward()
        scores.append(float(test.blobs["loss"].peek()))
    assert record["series"]["test/loss@exact"][1][-1] == pytest.approx(np.mean(scores), rel=1e-6)
    assert record["series"]["test/loss@exact"] != record["series"]["test/loss"]
    for net in (calibrated, test):
        net.close()


def test_more_tests_leave_training_as_it_was(comparison: Path, tmp_path: Path) -> None:
    plain = trained(run_of(comparison, "merged"), tmp_path / "a")
    change(comparison, "statistics: [batch, {exact: 60}]\ntest_on: [train, test]")
    run = run_of(comparison, "merged")
    assert [(test.on, test.statistics) for test in run.tests] == [
        (on, statistics) for on in ("test", "train") for statistics in ("global", "batch", "exact")
    ]
    more = trained(run, tmp_path / "b")
    for name in ("train/loss", "test/loss", "test/accuracy", "test/loss@batch"):
        assert more["series"][name] == plain["series"][name], name
    assert {"train/accuracy", "train/loss@tested", "train/accuracy@exact"} <= set(more["series"])


def test_a_run_at_chance_is_stopped_and_says_so(comparison: Path, tmp_path: Path) -> None:
    change(comparison, "iterations: 20\nstop: {chance: {accuracy: 1.0, at: 10}}")
    record = trained(run_of(comparison, "plain"), tmp_path / "run")
    assert (record["stopped"], record["done"], record["iterations"]) == ("chance", 10, 20)
    assert record["chance"] == {"accuracy": 0.1, "loss": pytest.approx(np.log(10))}
    comparison.write_text(comparison.read_text().replace("accuracy: 1.0", "accuracy: 0.0"))
    assert trained(run_of(comparison, "plain"), tmp_path / "run")["stopped"] is None


def test_an_interrupted_run_with_everything_gives_the_same_series(comparison: Path, tmp_path: Path) -> None:
    """Probes, exact statistics, tests on the training set and an average that decays go on where they stopped."""
    change(comparison, "iterations: 20\nstatistics: [global, exact]\ntest_on: [test, train]\nset: {weight_decay: 0.5}")
    rule = "{rule: CUMULATIVE, decay_statistics: true}"
    comparison.write_text(comparison.read_text() + f"    averages: [{rule}, CUMULATIVE]\n")
    run = run_of(comparison, "merged")

    def do(folder: str, stop_at: int | None) -> dict[str, Any] | None:
        solvers: list[Solver] = []

        def report(message: dict[str, Any]) -> None:
            if stop_at and message["iter"] >= stop_at:
                solvers[0].request("stop")

        return train(
            run.solver, run.start_from, "numpy", Options(), tmp_path / folder, report, solvers.append, run.averages,
            tests=[(test.on, test.statistics) for test in run.tests], exact_images=40,
            probes=[{"name": "weight_norm", "settings": {"every": 3}}],
        )  # fmt: skip

    whole = do("whole", None)
    assert whole is not None
    assert do("parts", 5) is None
    assert do("parts", 15) is None
    rest = do("parts", None)
    assert rest is not None
    assert json.loads(json.dumps(rest["series"])) == json.loads(json.dumps(whole["series"]))
    assert whole["series"]["probe/weight_norm/conv"][0] == [0, 3, 6, 9, 12, 15, 18, 20]
    assert whole["series"]["test/loss@CUMULATIVE+decay"] != whole["series"]["test/loss@CUMULATIVE"]


def test_a_small_net_has_one_thread(comparison: Path) -> None:
    run = run_of(comparison, "plain")
    for fit, threads in ((True, 1), (False, 2)):
        with make_solver(run.solver, None, "numpy", Options(threads=2), fit_threads=fit) as solver:
            assert solver.net.executor.options.threads == threads


NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "bn" type: "BN" bottom: "x" top: "y" batch_norm_param { average: LATEST decay: 1 } }
"""


def test_weight_decay_on_statistics_is_that_of_learned_blobs() -> None:
    """Momentum .9, rate .5, decay .1, without gradients, on mean and deviation, which each batch replaces by half."""
    net = Net(parse_text(NET, pb.NetParameter()), phase=TRAIN, engine="numpy")
    rule = {"rule": pb.AverageRule.Value("EMA"), "fraction": 0.5}
    averages = Averages(net, [rule, {**rule, "decay_statistics": True}])
    mean, velocity = np.zeros((2, 3)), np.zeros((2, 3))  # of mean and standard deviation
    for k in range(4):
        net.blobs["x"].data[...] = np.arange(12).reshape(4, 3) * (1 + k) + k
        net.run_forward()
        averages.update(0.5, 0.9, 0.1)
        batch = np.stack([net.layers[1].blobs[2].peek(), np.sqrt(net.layers[1].blobs[3].peek() + 1e-5)])
        mean = 0.5 * batch + 0.5 * mean
        velocity = 0.9 * velocity + 0.5 * 0.1 * mean
        mean = mean - velocity
    saved = averages.state()
    other = Averages(net, [rule, {**rule, "decay_statistics": True}])
    other.load_state(saved)
    for one in (averages, other):
        np.testing.assert_allclose(one.running[1][0][0], mean, rtol=1e-5)
        assert (one.running[0][0][0][0] > one.running[1][0][0][0]).all()
    np.testing.assert_array_equal(other.velocities[1][0][0], averages.velocities[1][0][0])
    weight = 1 - 0.5**4
    averages.apply(1)
    (layer,) = averages.layers
    np.testing.assert_allclose(layer.running()[0], mean[0] / weight, rtol=1e-5)
    np.testing.assert_allclose(layer.running()[1], (mean[1] / weight) ** 2 - 1e-5, rtol=1e-5)


def test_a_parameter_with_another_filler_keeps_its_start(comparison: Path) -> None:
    """`equal` shares the start, but a start that the file makes different is what somebody wants to compare."""
    comparison.write_text(
        comparison.read_text() + "    layers: {BN: {batch_norm_param: {scale_filler: {type: constant, value: 1.5}}}}\n"
    )
    plan = make_plan(read_experiment(comparison), "numpy", "fp32")
    shapes = {"data": (2, 3, 32, 32), "label": (2,)}
    split, merged = (
        Net(as_inputs(plan.first(name).solver.train_net_param, shapes, TRAIN), phase=TRAIN, engine="numpy", seed=seed)
        for seed, name in enumerate(("split", "merged"))
    )
    split.params["scale"][1].data[...] = 0.25
    assert different_fillers(split, merged) == ["bn/gamma"]
    assert copy_parameters(split, merged) == ["bn/gamma"]
    assert parameters(merged)["bn/gamma"].peek().tolist() == [1.5] * 4
    assert parameters(merged)["bn/beta"].peek().tolist() == [0.25] * 4
    np.testing.assert_array_equal(parameters(merged)["conv/0"].peek(), parameters(split)["conv/0"].peek())


def test_snapshots_are_written_by_time(comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    keep = recorder.Recorder.on_snapshot

    def on_snapshot(self: recorder.Recorder, solver: Solver, model: str, state: str) -> None:
        written.append(solver.iter)
        keep(self, solver, model, state)

    monkeypatch.setattr(recorder.Recorder, "on_snapshot", on_snapshot)
    run = run_of(comparison, "plain")
    first = trained(run, tmp_path / "run")
    assert not written  # the run is shorter than the time between two snapshots
    monkeypatch.setattr(recorder, "SNAPSHOT_EVERY_S", 0.0)
    second = trained(run, tmp_path / "run")
    assert written == list(range(1, 11))
    assert second["series"] == first["series"]


def test_the_message_of_a_diverged_run_names_no_snapshot(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "SNAPSHOT_EVERY_S", 0.0)
    change(comparison, "set: {base_lr: 1e+6}")
    with np.errstate(all="ignore"):
        message = trained(run_of(comparison, "plain"), tmp_path / "run")["diverged"]
    assert message
    assert "snapshot" not in message
