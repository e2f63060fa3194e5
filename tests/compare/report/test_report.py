"""The page of an experiment: what it says, that it is whole and safe, and its CSV files."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from dragon.compare.report import render, write_index, write_report
from dragon.compare.report.html import csv_link
from dragon.compare.summary import closing_lines
from tests.compare.report.reading import Page
from tests.compare.report.results import HOSTILE, LAYERS, RATES, SEEDS

Results = dict[str, Any]


def test_first_screen_has_claim_verdict_interval_picture_and_two_sentences(results: Results) -> None:
    text = render(results)
    first = Page(text[text.index("<header") : text.index("</header>") + 9])
    assert "BN widens the range of workable rates" in first.text
    assert "Ioffe & Szegedy 2015 · expected: at least five times" in first.text
    assert "✓ agrees" in first.text
    assert results["headline"].replace(" %", "\xa0%") in first.text.replace("95 %", "95\xa0%")
    assert "The whole 95\xa0% interval meets what was expected (>= 5)." in first.text.replace("95 %", "95\xa0%")
    strip, picture = [attrs for tag, attrs in first.tags if tag == "svg"]
    assert strip["aria-label"] == f"range, ratio: interval {interval_of(results)}, expected >= 5"
    assert picture["aria-label"] == "Accuracy against base_lr"


def interval_of(results: Results) -> str:
    low, high = results["contrasts"][0]["t"]
    return f"{low:.1f} to {high:.1f}"


def test_page_loads_nothing_and_runs_nothing(results: Results) -> None:
    page = Page(render(results))
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    for _, attrs in page.tags:
        assert not {"src", "srcset", "onclick", "onload"} & set(attrs)
    assert all(link.startswith("data:text/csv") or re.fullmatch(r"[\w./%-]+\.(csv|json)", link) for link in page.links)
    assert "url(" not in render(results)


def test_names_from_files_are_text(results: Results) -> None:
    """Wherever a name can stand: a parser finds it as text, or in an attribute, and no tag of it."""
    hostile = "</svg><i onload=x>&amp;\"'"
    for key in ("name", "claim", "source", "expected", "file", "command", "machine", "dataset"):
        results["about"][key] = f"{key}{hostile}"
    for one in results["contrasts"]:
        one["name"] = one["sentence"] = one["expect"] = hostile
    for one in results["cells"]:
        one["levels"] = {f"factor{hostile}": f"level{hostile}{one['levels']['base_lr']}"}
        one["metrics"][f"metric{hostile}"] = one["metrics"]["accuracy"]
        one["curves"][f"probe/p{hostile}/k{hostile}"] = one["curves"]["train/loss"]
    results["picture"] = {"metric": f"metric{hostile}", "over": f"factor{hostile}"}
    page = Page(render(results))
    assert "i" not in {tag for tag, _ in page.tags}
    for start in ("name", "claim", "source", "factor", "level", "metric"):
        assert f"{start}{hostile}" in page.text, start
    assert HOSTILE in page.text
    assert "<script>alert(1)</script>" in page.text


def test_verdict_is_not_told_by_colour_alone(results: Results) -> None:
    page = Page(render(results))
    badges = [attrs["class"] for attrs in page.of_class("badge")]
    assert badges == ["badge agrees", "badge agrees", "badge agrees", "badge disagrees"], "first screen, then the table"
    for word in ("✓ agrees", "✗ disagrees"):
        assert word in page.text
    marks = {attrs["class"] for attrs in page.of_class("swatch")}
    assert marks == {"swatch c0 m0", "swatch c1 m1"}, "each variant has its own mark"


def test_diverged_runs_are_shown(results: Results) -> None:
    assert "5 of 5 diverged" in Page(render(results)).text


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_figure_is_in_a_csv_file_beside_the_page_and_in_it(results: Results, tmp_path: Path) -> None:
    page = Page(write_report(results, tmp_path).read_text())
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.csv")}
    assert names == {
        "cells.csv", "runs.csv", "contrasts.csv", "factor_metrics.csv", "tuning.csv", "curves/test_accuracy.csv",
        "curves/train_loss.csv", "curves/probe_weight_norm.csv",
    }  # fmt: skip
    assert names | {"results.json"} == {link for link in page.links if not link.startswith("data:")}
    inside = [unquote(link.split(",", 1)[1]) for link in page.links if link.startswith("data:")]
    files = {name: (tmp_path / name).read_text() for name in names}
    assert sorted(inside) == sorted(files.values())

    runs = rows_of(files["runs.csv"])
    assert len(runs) == 2 * len(RATES) * len(SEEDS)
    assert {row["variant"] for row in runs} == {HOSTILE, "bn"}
    at = next(r for r in runs if (r["variant"], r["base_lr"], r["seed"]) == ("bn", "0.1", "5"))
    assert float(at["accuracy"]) == pytest.approx(0.75 + 0.008)
    cells = rows_of(files["cells.csv"])
    mean = next(r for r in cells if (r["variant"], r["base_lr"], r["metric"]) == ("bn", "0.1", "accuracy"))
    assert float(mean["mean"]) == pytest.approx(0.75)
    curves = rows_of(files["curves/test_accuracy.csv"])
    assert {row["series"] for row in curves} == {"test/accuracy", "test/accuracy@batch"}
    assert {row["series"] for row in rows_of(files["curves/probe_weight_norm.csv"])} == {
        f"probe/weight_norm/{name}" for name in LAYERS
    }
    contrasts = rows_of(files["contrasts.csv"])
    assert [row["verdict"] for row in contrasts] == ["agrees", "agrees", "disagrees"]


def test_a_factor_may_have_the_name_of_a_column(results: Results, tmp_path: Path) -> None:
    text = json.dumps(results)
    for name in ("accuracy", "seed", "metric", "mean", "iteration", "series"):
        renamed = json.loads(text)
        for one in renamed["cells"]:
            one["levels"][name] = one["levels"].pop("base_lr")
        renamed["tuning"][0]["levels"] = {name: "a"}
        write_report(renamed, tmp_path)
        for path in tmp_path.rglob("*.csv"):
            head, *rows = csv.reader(io.StringIO(path.read_text()))
            assert len(set(head)) == len(head), path
            assert {len(row) for row in rows} == {len(head)}, path
        runs = rows_of((tmp_path / "runs.csv").read_text())
        column = f"{name} (factor)" if name in ("accuracy", "seed") else name
        assert {float(row[column]) for row in runs} == set(RATES)


def test_large_csv_files_are_only_linked() -> None:
    assert 'href="data:' in csv_link("cells.csv", "a,b\n" * 10)
    assert csv_link("curves/a.csv", "a,b\n" * 100_000) == ' <a class="csv" href="curves/a.csv">a.csv</a>'


def test_page_of_an_experiment_without_claims(results: Results) -> None:
    """Only what any comparison has: no contrasts, metrics or picture; a cell with nothing to show."""
    for key in ("contrasts", "factor_metrics", "tuning", "picture", "metrics", "headline", "verdict", "memory"):
        del results[key]
    for key in ("claim", "source", "expected", "command", "text"):
        del results["about"][key]
    results["cells"][0] |= {"metrics": {"accuracy": None, "train_loss": None}, "curves": {}, "ms_per_iteration": None}
    page = Page(render(results))
    assert "rates" in page.text
    assert not page.of_class("badge")
    assert "Test accuracy over iterations, base_lr 0.001" in page.text


def test_values_that_are_not_numbers_leave_gaps(results: Results) -> None:
    for one in results["cells"]:
        for points in one["curves"].values():
            points[1] |= {"mean": None, "low": None, "high": None}
    assert "nan" not in render(results).lower().replace("dominant", "")
    json.dumps(results, allow_nan=False)


def test_statistics_and_layers_have_their_charts(results: Results) -> None:
    for one in results["cells"]:
        if one["variant"] == "bn":
            one["curves"]["test/accuracy@CUMULATIVE"] = one["curves"]["test/accuracy"]
            one["metrics"]["accuracy@CUMULATIVE"] = one["metrics"]["accuracy"]
    page = Page(render(results))
    charts = [attrs["aria-label"] or "" for tag, attrs in page.tags if tag == "svg"]
    assert "bn, base_lr 0.1" in charts, "its curves by each of the statistics"
    assert "Weight norm at iteration 1,000 (last), base_lr 0.1" in charts
    assert "Weight norm conv2, base_lr 0.01" in charts
    assert not [name for name in charts if "of gamma" in name]
    assert "the net's own average" in page.text


def test_synthetic_data_are_named_in_capitals(results: Results) -> None:
    results["about"] |= {"synthetic": True, "dataset": "synthetic images"}
    page = Page(render(results))
    assert "SYNTHETIC IMAGES" in page.text
    assert page.of_class("warning")


def test_no_folders_of_the_machine(results: Results, tmp_path: Path) -> None:
    about = results["about"]
    about |= {
        "file": "/home/ada/dragon/models/experiments/rates.yaml",
        "command": "dragon compare rates --output /home/ada/out/rates --store 'C:\\Users\\ada\\runs'",
        "text": "solver: /home/ada/own/solver.prototxt\nsource: https://arxiv.org/abs/1502.03167\n",
        "variants": [{"name": "bn", "what": "~/nets/x.prototxt; insert and/or fold, 1/2 of it"}],
    }
    results["cells"][0]["what"] = "/home/ada/x/net.prototxt"
    text = write_report(results, tmp_path).read_text()
    for path in (text, *(p.read_text() for p in tmp_path.rglob("*.csv"))):
        assert "ada" not in unquote(path)
        assert str(tmp_path) not in path
    page = Page(text)
    for said in (
        "models/experiments/rates.yaml", "--output …/rates --store '…/runs'", "https://arxiv.org/abs/1502.03167",
        "solver: …/solver.prototxt", "…/x.prototxt; insert and/or fold, 1/2 of it",
    ):  # fmt: skip
        assert said in page.text, said


def test_every_table_scrolls_in_its_box_and_is_stacked_on_a_phone(results: Results) -> None:
    text = render(results)
    assert text.count("<table") == text.count('<div class="scroll"><table') > 3
    page = Page(text)
    heads = [len(re.findall("<th ", part)) for part in text.split("<table")[1:]]
    assert sum(n > 3 for n in heads) == len(page.of_class("stacked"))
    labels = [attrs["data-label"] for tag, attrs in page.tags if tag == "td" and "data-label" in attrs]
    assert {"base_lr", "ms per iteration", "95 % interval (Student's t)"} <= set(labels)


# -- other places --------------------------------------------------------------------------------------------
def test_index_page_has_a_line_for_each_claim(results: Results, tmp_path: Path) -> None:
    for name in ("rates", "odd #name", "damaged", "empty", "strange", "older"):
        (tmp_path / name).mkdir()
    (tmp_path / "rates" / "results.json").write_text(json.dumps({**results, "engine": "numpy"}))
    results["about"] |= {"claim": "</td>second", "quick": True}
    results |= {"engine": "onednn", "precision": "bf16"}
    results["verdict"] = results["contrasts"][0]["verdict"] = "disagrees"
    (tmp_path / "odd #name" / "results.json").write_text(json.dumps(results))
    (tmp_path / "damaged" / "results.json").write_text("{")
    (tmp_path / "older" / "results.json").write_text("[" * 100_000)
    strange = {**results, "contrasts": [{**results["contrasts"][0], "t": [1, "x"]}]}
    (tmp_path / "strange" / "results.json").write_text(json.dumps(strange))
    (tmp_path / "loose.json").write_text("{}")
    page = Page(write_index(tmp_path).read_text())
    assert sorted(page.links) == ["odd%20%23name/report.html", "rates/report.html"]
    for said in ("2 in this folder: 1 agrees, 1 disagrees", "</td>second", "quick run", interval_of(results), ">= 5"):
        assert said in page.text, said
    assert [attrs["class"] for attrs in page.of_class("badge")] == ["badge disagrees", "badge agrees"]
    head, rule, *rows = (tmp_path / "index.md").read_text().splitlines()
    assert head.startswith("| Claim | Verdict |")
    assert rule.count("---") == head.count("|") - 1
    assert len(rows) == 2
    assert all(row.count(" | ") == head.count(" | ") for row in rows)
    assert "&lt;/td&gt;second · quick run · in bf16 | disagrees" in rows[0]
    assert " --quick --precision bf16` |" in rows[0]
    assert " --engine numpy` |" in rows[1]
    assert interval_of(results) in rows[1]


def test_commands_of_the_index_run_the_same_again(results: Results, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()

    def command(given: str, **changes: str) -> str:
        results["about"]["command"] = given
        (tmp_path / "one" / "results.json").write_text(json.dumps({**results, "engine": "onednn", **changes}))
        write_index(tmp_path)
        return (tmp_path / "index.md").read_text().splitlines()[2].split("`")[1]

    elsewhere = " --output out/b --store runs --jobs 3 --tensorboard t --executor dask --scheduler tcp://h:1"
    own = "dragon compare 'my own/b.yaml' --quick --dataset d --seeds 4 --set base_lr=1 --set momentum=0"
    assert command(own + elsewhere) == own
    assert command("dragon compare b") == "dragon compare b"
    assert command("dragon compare b --engine cuda --tf32", engine="cuda", precision="tf32") == (
        "dragon compare b --engine cuda --tf32"
    )
    assert command("dragon compare b", engine="numpy") == "dragon compare b --engine numpy"
    assert command("dragon compare /home/ada/b.yaml") == "dragon compare …/b.yaml"


def test_index_of_nothing(tmp_path: Path) -> None:
    assert "none yet" in Page(write_index(tmp_path).read_text()).text


def test_end_in_the_terminal(results: Results) -> None:
    table, *lines = closing_lines(results, Path("out/report.html"))
    head, *rows = table.strip().splitlines()
    assert head.split("  ")[0] == "variant"
    assert len(rows) == len(results["cells"])
    assert "accuracy by batch" in head
    assert "(5 of 5 diverged)" in table
    assert "75.00 % ± 0.79" in table, "2.776 * .004 * sqrt(2.5) / sqrt(5)"
    assert lines[0] == f"✓ agrees: {results['headline']} Expected: >= 5."
    assert lines[2].startswith("✗ disagrees: ")
    assert lines[-2:] == ["\nVerdict: ✓ agrees - BN widens the range of workable rates", "report: out/report.html"]


def test_a_choice_at_the_edge_of_its_grid_is_said_everywhere(results: Results, tmp_path: Path) -> None:
    (results["tuning"][0])["chosen"] = {"base_lr": max(p["base_lr"] for p in results["tuning"][0]["grid"])}
    said = "tuning chose the highest base_lr of its grid"
    assert any(line.startswith("! ") and said in line for line in closing_lines(results, Path("report.html")))
    assert said in Page(render(results)).text
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "results.json").write_text(json.dumps(results))
    assert "a tuned value at the edge of its grid" in Page(write_index(tmp_path).read_text()).text
    assert "a tuned value at the edge of its grid" in (tmp_path / "index.md").read_text()


def test_a_grid_that_was_scored_by_a_loss_is_not_in_percent(results: Results) -> None:
    results["tuning"][0]["metric"] = "loss"
    results["metrics"]["loss"] = {"series": "test/loss", "take": "last"}
    text = Page(render(results)).text
    assert "Validation loss" in " ".join(text.split())
    assert "0.700 ← chosen" in text
    assert "70.00 % ← chosen" not in text


def test_a_series_that_is_asked_for_has_a_chart(results: Results) -> None:
    for one in results["cells"]:
        one["curves"]["test/loss"] = one["curves"]["train/loss"]

    def charts() -> list[str]:
        return [a["aria-label"] or "" for tag, a in Page(render(results)).tags if tag == "svg"]

    results["metrics"]["loss"] = {"series": "test/loss", "take": "last"}
    assert not any("Test loss" in name for name in charts()), "a built-in metric asks for nothing"
    results["metrics"]["best_loss"] = {"series": "test/loss", "take": "min"}
    assert "Test loss, base_lr 0.1" in charts()


def test_blobs_of_one_kind_share_a_chart_from_layer_to_layer(results: Results) -> None:
    for one in results["cells"]:
        for layer in LAYERS:
            one["curves"][f"probe/weight_norm/{layer}/bias"] = one["curves"]["probe/weight_norm/ip1"]
        one["curves"]["probe/weight_norm/bn1/gamma"] = one["curves"]["probe/weight_norm/ip1"]
    text = render(results)
    charts = [a["aria-label"] or "" for tag, a in Page(text).tags if tag == "svg"]
    assert "Weight norm at iteration 0 (first), base_lr 0.1" in charts
    assert "Weight norm of bias at iteration 0 (first), base_lr 0.1" in charts
    assert not [name for name in charts if "of gamma" in name], "one layer is no profile"
    drawn = text[text.index('aria-label="Weight norm of bias at') :]
    assert [name for name in LAYERS if f">{name}<" in drawn[: drawn.index("</svg>")]] == list(LAYERS)
