"""picture.svg: what it shows, that it stands by itself, and that nothing lies outside it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from dragon.compare.report import picture, write_report
from tests.compare.report.results import HOSTILE

Results = dict[str, Any]
SVG = "{http://www.w3.org/2000/svg}"


def root_of(results: Results) -> ET.Element:
    return ET.fromstring(picture(results))


def texts(results: Results) -> str:
    return " ".join(t.text or "" for t in root_of(results).iter(f"{SVG}text"))


def test_claim_verdict_chart_and_key(results: Results) -> None:
    shown = texts(results)
    for said in (
        "BN widens the range of workable rates", "✓ agrees", "base_lr", "accuracy, %", HOSTILE, "bn", "chance",
        "× diverged or stopped at chance", "CIFAR-10 · 1,000 iterations · 5 seeds · engine numpy",
    ):  # fmt: skip
        assert said in shown, said
    assert results["headline"] in " ".join(shown.split())
    assert picture(results).count("<svg ") == 2, "itself and its chart"


def test_it_stands_by_itself(results: Results) -> None:
    text = picture(results)
    root = ET.fromstring(text)
    assert {element.tag for element in root.iter()} <= {
        f"{SVG}{tag}"
        for tag in ("svg", "style", "rect", "text", "circle", "polygon", "polyline", "line", "path", "title")
    }
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme: dark" in text
    for css in re.findall(r"var\((--\w[\w-]*)\)", text):
        assert f"{css}:" in text, css
    for kind in {name for e in root.iter() for name in (e.get("class") or "").split()} - {"strip", "strong"}:
        assert re.search(rf"\.{kind}\b", text), kind


def test_everything_lies_in_it(results: Results) -> None:
    for name in (results["about"]["claim"], "A claim that is much longer than others " * 5):
        results["about"]["claim"] = name
        root = root_of(results)
        width, height = float(root.get("width") or 0), float(root.get("height") or 0)
        for element in root:
            y, x = float(element.get("y") or 0), float(element.get("x") or 0)
            assert 0 <= x < width
            assert 0 <= y + float(element.get("height") or 0) <= height
            if element.tag == f"{SVG}text":
                assert x + 6 * len(element.text or "") < width + 24, element.text


def test_an_experiment_without_claims_has_one_too(results: Results, tmp_path: Path) -> None:
    for key in ("contrasts", "factor_metrics", "tuning", "picture", "metrics", "headline", "verdict", "memory"):
        del results[key]
    write_report(results, tmp_path)
    text = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert ET.fromstring(text).get("aria-label") == results["about"]["claim"]
    assert text.count("<svg ") == 1 + 4, "a chart for each rate"
    assert "agrees" not in "".join(re.findall(r"<text.*?</text>", text))


@pytest.mark.parametrize(("other", "rows"), [("train_accuracy", (": 50", ": 25")), ("loss", (": 0.500", ": 0.250"))])
def test_several_metrics_are_rows_of_each_cell(results: Results, other: str, rows: tuple[str, str]) -> None:
    results["about"].pop("picture", None)
    results["picture"] = {"metrics": ["accuracy", other], "where": {}}
    for cell in results["cells"]:
        cell["metrics"]["accuracy"] = {"mean": 0.5, "low": 0.4, "high": 0.6}
        cell["metrics"][other] = {"mean": 0.25, "low": None, "high": None}
    shown = texts(results)
    own = other.replace("_", " ") + rows[1]
    assert shown.count(" accuracy" + rows[0]) == shown.count(own) == len(results["cells"])
    assert picture(results).count("<svg ") == 1 + len(results["cells"])
