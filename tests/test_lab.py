"""The laboratory from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dragon import lab
from dragon.errors import DataError, UsageError

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""


def cell(variant: str, rate: float) -> dict[str, Any]:
    metrics = {"accuracy": {"values": [rate, 0.5], "mean": 0.5, "low": 0.4, "high": 0.6, "n": 2}}
    return {"variant": variant, "levels": {"base_lr": rate}, "seeds": [1, 2], "metrics": metrics}


def test_metrics_of_chosen_cells(tmp_path: Path) -> None:
    over = [{"variant": "bn", "levels": {}, "metric": "best", "seeds": [1, 2], "values": [0.1, 0.2], "mean": 0.15}]
    content = {"cells": [cell("bn", 0.1), cell("bn", 0.2), cell("plain", 0.1)], "factor_metrics": over * 2}
    (tmp_path / "results.json").write_text(json.dumps(content))
    found = lab.results(tmp_path)
    assert [entry["values"][0] for entry in lab.metric(found, "accuracy", variant="bn")] == [0.1, 0.2]
    (one,) = lab.metric(found, "accuracy", variant="plain", base_lr=0.1)
    assert (one["seeds"], one["mean"]) == ([1, 2], 0.5)
    assert lab.metric(found, "best") == over * 2
    for one in found["cells"]:
        one["levels"] = {"name": one["levels"]["base_lr"], "found": "a"}
    assert [entry["variant"] for entry in lab.metric(found, "accuracy", name=0.1, found="a")] == ["bn", "plain"]
    with pytest.raises(UsageError, match=r'no metric "acuracy" \(did you mean "accuracy"\?\); .*, best$') as caught:
        lab.metric(found, "acuracy")
    assert str(caught.value).count("best") == 1
    with pytest.raises(UsageError, match="did you mean"):
        lab.metric(found, "accuracy", variant="plan")


@pytest.mark.parametrize("found", [{}, None, "runs/demo", {"cells": []}])
def test_a_metric_of_no_results_is_an_error(found: Any) -> None:
    with pytest.raises(UsageError, match=r"expected what lab.run or lab.results returns, got"):
        lab.metric(found, "accuracy")


@pytest.mark.parametrize("text", [None, "", "[]", "{}"])
def test_a_folder_without_results_is_an_error(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match="no results of an experiment"):
        lab.results(tmp_path)


def test_surgery_and_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    changed = lab.surgery(path, [{"insert": {"after": "conv", "form": "merged"}}])
    assert "BN" in [layer.type for layer in changed.net.layer]
    assert all(line and "insert" in lab.operations() for line in lab.operations().values())
    assert all(line and "weight_norm" in lab.probes() for line in lab.probes().values())


def test_an_experiment_is_run_and_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(name: str, output: Path, **options: Any) -> Path:
        assert (name, options) == ("x", {"quick": True})
        (output / "results.json").write_text('{"cells": [], "headline": "so"}')
        return output / "report.html"

    monkeypatch.setattr("dragon.lab.compare", compare)
    assert lab.run("x", tmp_path, quick=True)["headline"] == "so"
