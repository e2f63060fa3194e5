"""How the weights that Dragon offers are trained, and what that gave: the file weights.yaml of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dragon.models.facts import ROOT, made, parsed
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_solver

__all__ = ["FILE", "Recipe", "read_recipe", "recipes", "solver_of"]

FILE = "weights.yaml"
_RATE = ("gamma", "power", "stepsize", "stepvalue", "warmup_iter", "warmup_start")  # belong to a learning-rate policy


@dataclass(frozen=True)
class Recipe:
    """What weights.yaml says.

    seed, engine, precision and threads are those of the training. solver: prototxt with the settings that differ from
    solver.prototxt. minutes: about how long it takes on as many free cores. The rest is there once the net
    has been trained. file: the name of the weights; size in bytes. accuracy: on the test set, in phase TEST.
    instructions: the instruction set that oneDNN chose; card: the GPU, where that trained it.
    url: where the file can be had if it does not ship with Dragon.
    """

    seed: int
    engine: str
    precision: str
    threads: int
    minutes: int
    solver: str = ""
    file: str | None = None
    size: int | None = None
    sha256: str | None = None
    accuracy: float | None = None
    instructions: str | None = None
    card: str | None = None
    url: str | None = None


def recipes(root: Path = ROOT) -> list[str]:
    """The names of the models that have a recipe."""
    return sorted(path.parent.name for path in root.glob(f"*/{FILE}"))


def read_recipe(name: str, root: Path = ROOT) -> Recipe | None:
    """The recipe of a model, None if it has none. Raises UsageError for a file that does not state it."""
    path = root / name / FILE
    if not path.exists():
        return None
    recipe: Recipe = made(Recipe, parsed(path.read_text(encoding="utf-8"), f"{path}:"), str(path))
    return recipe


def solver_of(name: str, recipe: Recipe, root: Path = ROOT) -> pb.SolverParameter:
    """The solver of a model with the settings of its recipe; a new policy leaves nothing of the old one's settings.

    Raises PrototxtError for text that is not a solver's.
    """
    solver = read_solver(root / name / "solver.prototxt")
    given = parse_text(recipe.solver, pb.SolverParameter(), str(root / name / FILE))
    fields = [field.name for field, _ in given.ListFields()]
    for field in (*fields, *(_RATE if "lr_policy" in fields else ())):
        solver.ClearField(field)
    solver.MergeFrom(given)
    return solver
