"""`dragon zoo train`: the bytes are the same each time, and an interrupted training goes on."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from dragon.models.recipes import read_recipe
from tests.tools.conftest import Dragon, edit

RECIPE = "seed: 7\nengine: {engine}\nprecision: fp32\nthreads: 1\nminutes: 1\nsolver: 'max_iter: 12 snapshot: 5'\n"
WEIGHTS = Path("weights/small/small.caffemodel")


@pytest.fixture
def zoo(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo with one net."""
    folder = work / "zoo" / "small"
    folder.mkdir(parents=True)
    edit(work / "net.prototxt", 'top: "acc"', 'top: "accuracy"')
    (work / "net.prototxt").rename(folder / "train_val.prototxt")
    (work / "solver.prototxt").rename(folder / "solver.prototxt")
    (folder / "weights.yaml").write_text(RECIPE.format(engine="numpy"))
    monkeypatch.setattr("dragon.tools.zoo.train.ROOT", work / "zoo")
    return folder


def digest(path: Path = WEIGHTS) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "training.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_bytes_are_the_same_each_time(zoo: Path, dragon: Dragon, engine: str) -> None:
    (zoo / "weights.yaml").write_text(RECIPE.format(engine=engine))
    first = dragon("zoo", "train", "small")
    assert first.code == 0, first.err
    made = read_recipe("small", Path("weights"))
    assert made is not None
    assert (made.file, made.size, made.sha256) == ("small.caffemodel", WEIGHTS.stat().st_size, digest())
    assert made.accuracy is not None
    assert (made.instructions is None) == (engine == "numpy")
    assert "Iteration 10" in Path("weights/small/log.txt").read_text()
    table = read_table(Path("weights/small"))
    assert [row["iteration"] for row in table] == ["0", "5", "10", "12"]
    assert [bool(row["test: accuracy"]) for row in table] == [True, False, True, True]
    assert all(float(row["train loss"]) > 0 for row in table[:-1])
    assert table[-1]["test: accuracy"] == f"{made.accuracy:.6g}"

    (zoo / "weights.yaml").write_text(Path("weights/small/weights.yaml").read_text())
    again = dragon("zoo", "train", "small", "--output", "again")
    assert "are those of the recipe, bit for bit" in again.out
    assert digest(Path("again/small/small.caffemodel")) == made.sha256
    assert read_table(Path("again/small")) == read_table(Path("weights/small"))


def test_other_bytes_are_reported(zoo: Path, dragon: Dragon) -> None:
    (zoo / "weights.yaml").write_text(RECIPE.format(engine="numpy") + f"sha256: {'0' * 64}\naccuracy: 0.5\n")
    result = dragon("zoo", "train", "small")
    assert result.code == 0
    assert "the recipe's weights have another checksum (accuracy 0.5" in result.out


def test_goes_on_where_it_stopped(zoo: Path, dragon: Dragon) -> None:
    dragon("zoo", "train", "small")
    whole, table = digest(), read_table(Path("weights/small"))
    for path in Path("weights/small").glob("small*12*"):
        path.unlink()
    WEIGHTS.unlink()
    result = dragon("zoo", "train", "small")
    assert result.code == 0, result.err
    assert "Iteration 5 " not in result.out
    assert "Iteration 10" in result.out
    assert digest() == whole
    assert read_table(Path("weights/small")) == table


def test_another_engine_than_the_recipe_s(zoo: Path, dragon: Dragon) -> None:
    (zoo / "weights.yaml").write_text(RECIPE.format(engine="cuda"))
    result = dragon("zoo", "train", "small", "--engine", "numpy")
    assert result.code == 0, result.err
    made = read_recipe("small", Path("weights"))
    assert made is not None
    assert (made.engine, made.instructions, made.card) == ("numpy", None, None)


def test_without_a_gpu_the_cpu_trains_a_recipe_for_one(zoo: Path, dragon: Dragon) -> None:
    (zoo / "weights.yaml").write_text(RECIPE.format(engine="cuda"))
    result = dragon("zoo", "train", "small")
    assert result.code == 0, result.err
    assert "small: its recipe is for a GPU, and the CPU trains it instead" in result.err + result.out
    made = read_recipe("small", Path("weights"))
    assert made is not None
    assert made.engine in ("numpy", "onednn")
    refused = dragon("zoo", "train", "small", "--engine", "cuda", "--output", "elsewhere")
    assert (refused.code, "the CUDA engine cannot run" in refused.error) == (2, True)


def test_a_folder_of_another_recipe_is_refused(zoo: Path, dragon: Dragon) -> None:
    dragon("zoo", "train", "small", "--iterations", "3")
    result = dragon("zoo", "train", "small")
    assert result.code == 2
    assert result.error.startswith("weights/small holds a training with another solver")


def test_some_iterations_make_no_entry(zoo: Path, dragon: Dragon) -> None:
    result = dragon("zoo", "train", "small", "--iterations", "3")
    assert result.code == 0
    assert digest() in result.out
    assert not Path("weights/small/weights.yaml").exists()


def test_a_net_without_a_recipe(zoo: Path, dragon: Dragon) -> None:
    result = dragon("zoo", "train", "smal")
    assert result.code == 2
    assert result.error == 'no recipe for weights of "smal" (did you mean "small"?); there are small'


def test_missing_data_is_one_line(zoo: Path, dragon: Dragon, work: Path) -> None:
    (work / "data").rename(work / "elsewhere")
    result = dragon("zoo", "train", "small")
    assert result.code == 2
    assert "synthetic_train_lmdb" in result.error
