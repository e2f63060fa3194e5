"""Whole comparisons of a tiny net on drawn images."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon import TRAIN, Net
from dragon.compare import compare, measurements
from dragon.compare.pairs import compare_pair
from dragon.compare.plan import Run, make_plan
from dragon.compare.progress import PlainDisplay
from dragon.compare.reading import read_comparison
from dragon.compare.training import train
from dragon.compare.weights import as_inputs, copy_parameters, parameters
from dragon.engines import Options
from dragon.errors import DataError, UsageError
from dragon.proto.definition import Definition


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "PAIR_S", 0.05)
    monkeypatch.setattr(measurements, "SPEED_S", 0.05)


class Silent(PlainDisplay):
    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)


def results_of(report: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(report.with_name("results.json").read_text())
    return results


def losses_of(report: Path) -> list[list[float]]:
    """The losses of each run, from the store."""
    ids = [run for cell in results_of(report)["cells"] for run in cell["runs"]]
    records = [json.loads((report.parent / "runs" / f"{run}.json").read_text()) for run in ids]
    return [record["series"]["train/loss"][1] for record in records]


def trained(run: Run, folder: Path) -> dict[str, Any]:
    """The record of a run, in this process, from weights of its own."""
    tests = [(test.on, test.statistics) for test in run.tests]
    result = train(
        run.solver, None, "numpy", Options(), folder, lambda message: None, averages=run.averages, tests=tests,
        exact_images=run.exact_images, stop=run.stop,
    )  # fmt: skip
    assert result is not None
    return result


def scores_of(record: dict[str, Any], statistics: str = "global") -> dict[str, list[float]]:
    """The scores of a record's tests by the name of the output."""
    end = "" if statistics == "global" else f"@{statistics}"
    found = {name: record["series"][f"test/{name}{end}"] for name in ("accuracy", "loss")}
    assert all(len(series[1]) == 2 for series in found.values())
    return {name: series[1] for name, series in found.items()}


def test_whole_comparison_then_only_what_changed(comparison: Path, tmp_path: Path) -> None:
    display = Silent()
    report = compare(comparison, tmp_path / "out", engine="numpy", display=display)
    results = results_of(report)
    assert [cell["variant"] for cell in results["cells"]] == ["plain", "split", "merged"]
    plain, split, merged = results["cells"]
    scored = {
        cell["variant"]: {name for name in cell["curves"] if name.startswith("test/")} for cell in results["cells"]
    }
    assert scored["plain"] == {"test/accuracy", "test/loss"}
    assert scored["split"] == scored["plain"] | {"test/accuracy@batch", "test/loss@batch"}
    assert plain["metrics"]["accuracy@batch"]["n"] == 0
    assert split["metrics"]["accuracy@batch"]["n"] == 1
    assert [p["iter"] for p in merged["curves"]["test/accuracy"]] == [5, 10]
    assert [len(losses) for losses in losses_of(report)] == [10] * 3
    (pair,) = results["pairs"]
    assert pair["settings"][-1]["setting"] == "NumPy, float64"
    assert pair["settings"][-1]["differences"]["outputs"]["difference"] < 1e-12
    assert pair["coincide"][0]["within"]["0.01"] == 10
    assert results["memory"]["split"]["blobs_mib"] > results["memory"]["plain"]["blobs_mib"]

    page = report.read_text()
    assert page.count("<svg") == 2
    assert "SYNTHETIC DATA" in page
    assert "Training loss,<br>all iterations" in page, "there are but 10"
    jobs = results["about"]["jobs"]
    assert f">{jobs} run{'s' if jobs > 1 else ''}, " in page
    assert 'src="' not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    table = next(line for line in display.lines if "ms/iteration" in line)
    assert [line.split()[0] for line in table.strip().splitlines()] == ["variant", "plain", "split", "merged"]

    comparison.write_text(comparison.read_text() + "    set: {momentum: 0.5}\n")
    again = Silent()
    compare(comparison, tmp_path / "out", engine="numpy", display=again)
    begun = [line for line in again.lines if ": started" in line]
    assert [line.split(",")[0] for line in begun] == ["merged"], begun
    assert "finished already: 2 of 3 runs" in again.lines


def test_interrupted_run_goes_on_to_the_same_result(comparison: Path, tmp_path: Path) -> None:
    comparison.write_text(comparison.read_text() + "    averages: [CAFFE, CUMULATIVE]\n")
    plan = make_plan(read_comparison(comparison), "numpy", "fp32")
    run = plan.first("merged")

    def do(folder: str, stop_at: int | None) -> dict[str, Any] | None:
        stopped: list[Any] = []

        def report(message: dict[str, Any]) -> None:
            if stop_at and message["iter"] >= stop_at:
                stopped[0].request("stop")

        definition = type(run.solver)()
        definition.CopyFrom(run.solver)
        tests = [(test.on, test.statistics) for test in run.tests]
        return train(
            definition, run.start_from, "numpy", Options(), tmp_path / folder, report, stopped.append, run.averages,
            tests=tests,
        )  # fmt: skip

    whole = do("whole", None)
    assert whole is not None
    assert do("cut", 5) is None
    assert (tmp_path / "cut" / "partial.json").is_file()
    rest = do("cut", None)
    assert rest is not None
    assert not (tmp_path / "cut").exists()
    for key in ("series", "iterations", "done"):
        assert rest[key] == whole[key]
    assert len(whole["series"]["train/loss"][1]) == 10


def test_batch_statistics_leave_the_running_ones_alone(comparison: Path, tmp_path: Path) -> None:
    """With and without tests on batch statistics, the same curves."""
    plan = make_plan(read_comparison(comparison), "numpy", "fp32")
    run = plan.first("split")
    without = type(run.solver)()
    without.CopyFrom(run.solver)
    del without.test_net_param[1:], without.test_iter[1:]
    results = [
        train(definition, None, "numpy", Options(), tmp_path / "f", lambda message: None)
        for definition in (run.solver, without)
    ]
    assert results[0] is not None
    assert results[1] is not None
    assert scores_of(results[0]) == scores_of(results[1])
    assert scores_of(results[0], "batch")["loss"][0] != scores_of(results[0])["loss"][0]


def test_batch_statistics_are_used_whatever_the_net_says(comparison: Path, tmp_path: Path) -> None:
    """The layers of a pair name their statistics; a test by batch statistics goes by the batch all the same."""
    path = tmp_path / "split.prototxt"
    norm = 'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }'
    assert norm in path.read_text()
    pair = "".join(
        norm[:-1] + f"include {{ phase: {phase} }} batch_norm_param {{ use_global_stats: {said} }} }}\n"
        for phase, said in (("TRAIN", "false"), ("TEST", "true"))
    )
    results = []
    for k, text in enumerate((path.read_text(), path.read_text().replace(norm, pair))):
        path.write_text(text)
        run = make_plan(read_comparison(comparison), "numpy", "fp32").first("split")
        results.append(train(run.solver, None, "numpy", Options(), tmp_path / f"f{k}", lambda message: None))
    assert results[0] is not None
    assert results[1] is not None
    assert results[0]["series"] == results[1]["series"]


def test_averages_are_those_of_nets_that_keep_them(comparison: Path, tmp_path: Path) -> None:
    head, text = comparison.read_text().split("    net: merged.prototxt")
    assert not text.strip()
    average = "layers: {BN: {batch_norm_param: {average: %s}}}"
    several = "averages: [CUMULATIVE, LATEST, CAFFE]"
    rules = {"EMA": "{}", "CUMULATIVE": average % "CUMULATIVE", "LATEST": average % "LATEST"}
    rules["CAFFE"] = average % "CAFFE, moving_average_fraction: 0.999"
    results = {}
    for name, line in {"all": several, **rules}.items():
        comparison.write_text(f"{head}    net: merged.prototxt\n" + (f"    {line}\n" if line != "{}" else ""))
        run = make_plan(read_comparison(comparison), "numpy", "fp32").first("merged")
        folder = tmp_path / "f"
        results[name] = trained(run, folder)
    for together, name in (("global", "EMA"), *((rule, rule) for rule in list(rules)[1:])):
        assert scores_of(results["all"], together) == scores_of(results[name]), name
    assert results["all"]["series"]["train/loss"] == results["EMA"]["series"]["train/loss"]
    assert len({scores_of(result)["loss"][-1] for result in results.values()}) == 4


MERGED = 'type: "BN" bottom: "conv" top: "bn"'
FORMS = {
    "SyncBN": MERGED.replace("BN", "SyncBN", 1),
    "bn_param": MERGED + " bn_param { momentum: 0.6 }",
    "beside a frozen one": MERGED
    + """ }
        layer { name: "frozen" type: "BN" bottom: "bn" top: "bn" bn_param { frozen: true }""",
}


@pytest.mark.parametrize("form", FORMS)
def test_following_another_average_leaves_the_own_one(form: str, comparison: Path, tmp_path: Path) -> None:
    """Whatever the type is called and wherever the number of its rule stands."""
    text = (tmp_path / "merged.prototxt").read_text()
    assert MERGED in text
    (tmp_path / "merged.prototxt").write_text(text.replace(MERGED, FORMS[form]))
    head = comparison.read_text()
    results: list[Any] = []
    for line in ("", "    averages: LATEST\n"):
        comparison.write_text(head + line)
        run = make_plan(read_comparison(comparison), "numpy", "fp32").first("merged")
        assert run.batch_statistics
        results.append(trained(run, tmp_path / f"run{len(results)}"))
    assert scores_of(results[0]) == scores_of(results[1])
    assert scores_of(results[1]) != scores_of(results[1], "LATEST")


def test_a_net_that_trains_by_its_average_cannot_follow_others(comparison: Path, tmp_path: Path) -> None:
    path = tmp_path / "merged.prototxt"
    path.write_text(path.read_text().replace('"BN"', '"BatchRenorm"'))
    comparison.write_text(comparison.read_text() + "    averages: LATEST\n")
    with pytest.raises(DataError, match=r'layer "bn" \(BatchRenorm\) trains by its average'):
        make_plan(read_comparison(comparison), "numpy", "fp32")


def test_a_net_of_ghost_batches_cannot_follow_others(comparison: Path, tmp_path: Path) -> None:
    path = tmp_path / "merged.prototxt"
    path.write_text(path.read_text().replace('type: "BN"', 'type: "BN" batch_norm_param { ghost_batch: 2 }'))
    comparison.write_text(comparison.read_text() + "    averages: LATEST\n")
    with pytest.raises(DataError, match=r'layer "bn" \(BN\) has ghost batches'):
        make_plan(read_comparison(comparison), "numpy", "fp32")


@pytest.mark.usefixtures("workers_here")
def test_divergence_is_a_result(comparison: Path, tmp_path: Path) -> None:
    comparison.write_text(comparison.read_text().replace("name: A", "learning_rates: [1e30]\nname: A"))
    report = compare(comparison, tmp_path / "out", engine="numpy", display=Silent())
    plain = results_of(report)["cells"][0]
    assert plain["diverged"]
    assert "1 of 1 diverged" in report.read_text()


def test_planted_difference_is_seen(comparison: Path) -> None:
    plan = make_plan(read_comparison(comparison), "numpy", "fp32")
    split, merged = (plan.first(name).solver.train_net_param for name in ("split", "merged"))
    next(layer for layer in merged.layer if layer.type == "BN").batch_norm_param.eps = 0.1
    result = compare_pair(Definition(split), Definition(merged), 1, "numpy", "fp32", 0.0)
    assert result["own_start"] == []
    for setting in result["settings"]:
        for what in ("outputs", "input_gradients", "parameter_gradients"):
            assert setting["differences"][what]["difference"] > 1e-4


def test_parameters_are_matched_across_forms(comparison: Path) -> None:
    plan = make_plan(read_comparison(comparison), "numpy", "fp32")
    shapes = {"data": (2, 3, 32, 32), "label": (2,)}
    plain, split, merged = (
        Net(as_inputs(plan.first(name).solver.train_net_param, shapes, TRAIN), phase=TRAIN, engine="numpy", seed=seed)
        for seed, name in enumerate(("plain", "split", "merged"))
    )
    assert set(parameters(split)) == set(parameters(merged)) == {"conv/0", "bn/gamma", "bn/beta", "ip/0", "ip/1"}
    split.params["scale"][0].data[...] = [1, 2, 3, 4]
    copy_parameters(split, merged)
    np.testing.assert_array_equal(merged.params["bn"][0].peek(), [1, 2, 3, 4])
    np.testing.assert_array_equal(merged.params["conv"][0].peek(), split.params["conv"][0].peek())
    with pytest.raises(UsageError, match='has no parameter "'):
        copy_parameters(plain, merged)


@pytest.mark.usefixtures("workers_here")
def test_budget_is_kept_to_and_decided_once(comparison: Path, tmp_path: Path) -> None:
    comparison.write_text(comparison.read_text().replace("name: A", "iterations: 1000000\nbudget: 1 s\nname: A"))
    first = Silent()
    results = results_of(compare(comparison, tmp_path / "out", engine="numpy", display=first))
    assert results["cells"][0]["iterations"] == 5, "one test interval, the least there is"
    again = Silent()
    compare(comparison, tmp_path / "out", engine="numpy", display=again)
    assert not [line for line in again.lines if "started" in line]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_command_goes_on(comparison: Path, tmp_path: Path, workers_here: None) -> None:
    comparison.write_text(comparison.read_text().replace("name: A", "iterations: 120\nname: A"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "dragon.tools.main", "compare", str(comparison), "--output", str(out)]
    command += ["--engine", "numpy", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until = time.monotonic() + 60
        while not any(path.is_dir() for path in out.glob("runs/*")) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    kept = [json.loads(p.read_text()) for p in out.glob("runs/*/partial.json")]
    assert kept
    assert all(len(k["series"]["train/loss"][1]) > 0 for k in kept)
    report = compare(comparison, out, engine="numpy", display=Silent())
    assert {len(losses) for losses in losses_of(report)} == {120}
