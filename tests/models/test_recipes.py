"""weights.yaml of a model: how its weights are trained, and the weights that ship."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from dragon import TEST, Net
from dragon.errors import PrototxtError, UsageError
from dragon.models.facts import ROOT
from dragon.models.recipes import FILE, Recipe, read_recipe, recipes, solver_of
from dragon.solver.rate import check_policy, learning_rate

RECIPE = "seed: 1\nengine: numpy\nprecision: fp32\nthreads: 1\nminutes: 1\n"


def recipe_of(folder: Path, text: str) -> Recipe | None:
    (folder / "net").mkdir(exist_ok=True)
    (folder / "net" / FILE).write_text(text)
    return read_recipe("net", folder)


def test_a_model_without_a_recipe(tmp_path: Path) -> None:
    assert read_recipe("net", tmp_path) is None
    assert recipes(tmp_path) == []


def test_reads_a_recipe(tmp_path: Path) -> None:
    assert recipe_of(tmp_path, RECIPE) == Recipe(1, "numpy", "fp32", 1, 1)
    assert recipes(tmp_path) == ["net"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RECIPE + "sead: 2\n", "unknown field 'sead' (did you mean \"seed\"?)"),
        ("seed: 1\n", "lacks engine, precision, threads, minutes"),
        ("[", "not YAML"),
        ("text", "expected fields and their values"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe_of(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "net" / FILE))


def test_only_what_has_no_default_is_said_to_lack(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lacks seed$"):
        recipe_of(tmp_path, RECIPE.replace("seed: 1\n", ""))


def test_settings_take_the_place_of_the_solvers() -> None:
    """ResNet-20's solver has steps; a new policy leaves none of them."""
    recipe = Recipe(1, "numpy", "fp32", 1, 1, 'max_iter: 10 lr_policy: "cosine"')
    solver = solver_of("resnet20_cifar10", recipe)
    assert (solver.max_iter, solver.lr_policy, list(solver.stepvalue)) == (10, "cosine", [])
    assert solver.momentum == pytest.approx(0.9)
    assert learning_rate(solver, 5) == pytest.approx(solver.base_lr / 2)


def test_settings_that_are_none_name_the_file() -> None:
    with pytest.raises(PrototxtError, match=r"lenet/weights.yaml:1:1.*max_itr"):
        solver_of("lenet", Recipe(1, "numpy", "fp32", 1, 1, "max_itr: 10"))


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_can_be_trained(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe is not None
    solver = solver_of(name, recipe)
    check_policy(solver)
    assert solver.max_iter
    # the whole test set: batches of 100, or of 5 of 500 images; nets of regions take one image at a time
    assert list(solver.test_iter) == [{"faster_rcnn_scenes": 500}.get(name, 100)]


@pytest.mark.parametrize("name", recipes())
def test_weights_that_ship_are_those_of_the_recipe(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe is not None
    path = ROOT / name / f"{name}.caffemodel"
    assert path.exists() == (recipe.file is not None and recipe.url is None)
    if not path.exists():
        return
    assert recipe.file == path.name
    assert recipe.size == path.stat().st_size
    assert recipe.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with Net(ROOT / name / "deploy.prototxt", str(path), phase=TEST, engine="numpy"):
        pass


@pytest.mark.parametrize("name", recipes())
def test_the_log_of_a_training_ends_with_its_accuracy(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe is not None
    with (ROOT / name / "training.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["iteration"]) == solver_of(name, recipe).max_iter
    measured = [value for key, value in rows[-1].items() if key.startswith("test: ") and value]
    assert recipe.accuracy in [round(float(value), 4) for value in measured]
