"""The site of the documents: its navigation, the pages that are made from the code, and its links."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest
import yaml

from docs.site.api_pages import MODULES, public_names
from docs.site.command_page import commands
from docs.site.generated import generated
from docs.site.markdown import code, plain
from docs.site.navigation import complete, leaves
from docs.site.places import ROOT, TOP_PAGES, anchor, place_of, rewrite_links, zoo_pages
from dragon.bases.layer import find_class, layer_types
from dragon.proto import dragon_pb2 as pb


def navigation() -> list[Any]:
    nav: list[Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    return nav


def pages() -> set[str]:
    own = {place_of(path.relative_to(ROOT).as_posix()) for path in (ROOT / "docs").rglob("*.md")}
    return own | set(generated()) | set(TOP_PAGES.values()) | set(zoo_pages().values())


def test_every_page_is_in_the_navigation_once() -> None:
    named = leaves(complete(navigation()))
    assert sorted(named) == sorted(pages())


def test_a_page_that_no_section_names_is_not_lost() -> None:
    nav = [{"How to": ["how_to/train.md"]}]
    assert complete(nav)[0] == {"How to": ["how_to/train.md"]}
    more = complete(nav)[-1]["More"]
    assert "batch_norm.md" in more
    assert "how_to/train.md" not in more


@pytest.mark.parametrize("name", layer_types())
def test_every_layer_type_has_its_settings(name: str) -> None:
    cls = find_class(name)
    assert cls is not None
    page = generated()[f"reference/layers/{cls.type}.md"]
    assert name == cls.type or code(name) in page
    for setting in cls.settings:
        message = pb.LayerParameter.DESCRIPTOR.fields_by_name[setting].message_type
        assert message is not None
        if [field.name for field in message.fields] != ["engine"]:
            assert [field.name for field in message.fields if f"| {code(field.name)} |" not in page] == []


def test_a_default_and_a_comment_of_the_schema() -> None:
    page = generated()["reference/layers/Convolution.md"]
    assert (
        f"| {code('group')} | {code('uint32')} | {code('1')} | parts of the channels that are convolved apart |" in page
    )
    rows = generated()["reference/fields.md"]
    assert f"| {code('iter_size')} | {code('int32')} | {code('1')} | batches summed into one update |" in rows


def test_every_command_has_its_options() -> None:
    page = generated()["reference/commands.md"]
    for name, command in commands():
        section = page.partition(f"## dragon {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert param.opts[0] in section, f"{name} {param.opts[0]}"


def test_every_public_name_has_its_place() -> None:
    for module in MODULES:
        page = generated()[f"reference/python/{module}.md"]
        assert [name for name in public_names(module) if f"::: {module}.{name}\n" not in page] == []
    assert {"Net", "Classifier", "get_solver"} <= set(public_names("dragon"))
    assert "classifier" not in public_names("dragon")


def test_links_lead_to_the_places_of_the_site() -> None:
    found: list[str] = []
    text = (
        "[a](../export.md#onnx) [b](../../CONTRIBUTING.md) [c](../../models/lenet/readme.md) "
        "[d](../../tests/imports.py)\n[e](#here) "
        "[f](https://example.org/x.md) `[g](h.md)`\n\n```python run\nx[0](y)\n```\n"
    )
    assert rewrite_links(text, "docs/how_to/train.md", found.append) == (
        "[a](../export.md#onnx) [b](../contributing.md) [c](../zoo/lenet.md) [d](../files/tests/imports.py)\n"
        "[e](#here) [f](https://example.org/x.md) `[g](h.md)`\n\n```python\nx[0](y)\n```\n"
    )
    assert found == ["docs/export.md", "CONTRIBUTING.md", "models/lenet/readme.md", "tests/imports.py"]


def test_text_that_is_not_markdown_stays_as_it_is() -> None:
    assert plain("a_b *c* <d> `e_f` | g") == "a&#95;b &#42;c&#42; &#60;d&#62; `e_f` &#124; g"
    assert code("a|b & c") == "<code>a&#124;b &amp; c</code>"
    assert anchor("BN: what it `does`, and why") == "bn-what-it-does-and-why"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built without warnings."""
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_a_browser_searches_without_a_server(site: Path, tmp_path: Path) -> None:
    """Pages of two folders: the script of the search is found from both."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium")
    for page in ("index.html", "reference/commands.html"):
        address = f"{(site / page).as_uri()}?q=recalibrate"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
        line = [browser, *flags, "--virtual-time-budget=20000", "--dump-dom", address]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
        found = re.findall(r'<a href="([^"]*)" class="md-search-result__link"', done.stdout)
        assert any("how_to/recalibrate.html" in link for link in found), done.stderr


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_all_its_links_lead_somewhere(site: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(texts) == len(pages())
    marks = {path: set(re.findall(r'\sid="([^"]*)"', text)) for path, text in texts.items()}
    assert not [
        path for path, text in texts.items() if re.search(r'<(script|link|img)\s[^>]*(src|href)="(https?:)?//', text)
    ]
    dead = []
    for path, text in texts.items():
        for link in re.findall(r'<(?:a|img|link|script)\s[^>]*?(?:href|src)="([^"]*)"', text):
            target, _, mark = unquote(link).partition("#")
            if re.match(r"[a-z]+:|//", target):
                continue
            file = (path.parent / target).resolve() if target else path
            file = file / "index.html" if file.is_dir() else file
            if not file.exists() or (mark and mark not in marks.get(file, {mark}) and not mark.startswith("__")):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert not dead
