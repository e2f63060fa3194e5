"""The SVG and the page: whole, safe, without a network; a browser, where there is one, opens boxes and finds layers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from dragon.drawing import Picture, diagram, facts_of, page, svg
from dragon.proto import dragon_pb2 as pb
from tests.compare.report.reading import Page
from tests.drawing.nets import NET, net_of, zoo_diagram

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SVG = "{http://www.w3.org/2000/svg}"


def picture(text: str = NET) -> Picture:
    net = net_of(text)
    return Picture(diagram(net, {pb.TEST: facts_of(net, pb.TEST)[0]}))


def test_svg_is_well_formed_and_has_every_box_and_arrow() -> None:
    made = picture()
    root = ET.fromstring(svg(made))
    boxes = [g for g in root.iter(f"{SVG}g") if (g.get("class") or "").startswith("box")]
    arrows = [p for p in root.iter(f"{SVG}path") if p.get("class") == "arrow"]
    assert (len(boxes), len(arrows)) == (len(made.diagram.boxes), len(made.diagram.arrows))
    assert root.get("aria-label") == "n<i>"
    assert [t.text for t in boxes[1].iter(f"{SVG}text")][:2] == ["c", "Convolution + BatchNorm + Scale + ReLU"]
    assert "script" not in svg(made)


def test_page_loads_nothing_and_names_are_text() -> None:
    hostile = "</script><i onclick='x'>&"
    text = page(picture(NET.replace('name: "c"', f'name: "{hostile}"')), hostile)
    made = Page(text)
    assert "i" not in {tag for tag, _ in made.tags}
    for tag, attrs in made.tags:
        assert tag not in ("link", "img", "iframe")
        assert not {"src", "srcset", "onclick", "onload"} & set(attrs)
    assert re.findall(r"https?://[^\"' <]+", text) == ["http://www.w3.org/2000/svg"] * 3, "names of XML alone"
    assert "url(" not in text.replace("url(#tip)", "")
    assert all(link.startswith("#") for link in made.links)
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert data["boxes"][1]["names"][0] == hostile


def test_page_has_the_numbers_of_every_layer() -> None:
    text = page(picture())
    table = text[text.index("<table>") : text.index("</table>")]
    assert "<td>2×4×4×2</td><td>180</td><td>2,880</td>" in table
    assert table.count("<tr>") == 1 + 8
    assert "8 layers in 4 boxes, 188 parameters" in text
    assert '<div class="scroll"><table>' in text


def browser(path: Path, fragment: str) -> str:
    """The page's elements after its script has run."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--window-size=1200,800",
        f"{path.as_uri()}#{fragment}",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.decode()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
def test_search_finds_layers(tmp_path: Path) -> None:
    made = Picture(zoo_diagram("googlenet"))
    path = tmp_path / "net.html"
    path.write_text(page(made), encoding="utf-8")
    dom = browser(path, "inception_4b/relu_3x3")  # a layer within a box
    here = re.findall(r'class="box [\w-]+ found here"[^>]*aria-label="([^"]*)"', dom)
    assert len(here) == 1
    assert here[0].startswith("inception_4b/3x3 (Convolution), inception_4b/relu_3x3 (ReLU)")
    assert 'aria-live="polite">2 of 2</span>' in dom, "its reduction has a name that begins so, too"
    assert re.findall(r'<path class="arrow" d="([^"]+)"', dom)[0].startswith("M")
    assert 'id="slices"><svg' in dom, "printed in slices"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
def test_a_search_without_a_result_says_so(tmp_path: Path) -> None:
    path = tmp_path / "net.html"
    path.write_text(page(picture()), encoding="utf-8")
    assert ">no layer</span>" in browser(path, "zzz")
