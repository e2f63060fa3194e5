"""Commands that would do something senseless say so instead."""

from __future__ import annotations

from pathlib import Path

import pytest

import dragon as package
from tests.tools.conftest import Dragon

DEPLOY = """
name: "n" layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
"""


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "deploy.prototxt"
    path.write_text(DEPLOY)
    package.Net(str(path), package.TEST, engine="numpy").save("w.caffemodel")
    return path


@pytest.mark.parametrize("command", [["test"], ["recalibrate", "--out", "x.caffemodel", "--batches", "3"]])
def test_a_net_whose_inputs_nobody_fills(command: list[str], deploy: Path, dragon: Dragon) -> None:
    result = dragon(*command, "--model", str(deploy), "--weights", "w.caffemodel")
    assert result.code == 2
    assert 'its input "data" is filled by no data layer' in result.err
    assert not Path("x.caffemodel").exists()


@pytest.mark.parametrize(("source", "out"), [("w.caffemodel", "-"), ("deploy.prototxt", "net.caffemodel")])
def test_upgrade_writes_nothing_under_the_wrong_kind_of_name(
    source: str, out: str, deploy: Path, dragon: Dragon
) -> None:
    result = dragon("upgrade", source, out)
    assert result.code == 2
    assert not Path(out).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--list", "tuned"], "--list goes without tuned"),
        (["tuned", "--index", "."], "--index goes without tuned"),
        (["--list", "--index", "."], "--list goes without --index"),
        (["tuned", "--seeds", "300000000"], "seeds must be a whole number from 1 to 10,000, got 300000000"),
    ],
)
def test_compare_does_one_thing(
    arguments: list[str], said: str, dragon: Dragon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = dragon("compare", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert not list(tmp_path.iterdir())
