"""Comparison: the YAML file of a comparison, read and checked.

name: Merged against split
solver: cifar10_quick/solver.prototxt   # for variants without one; relative to the working directory or the file
seeds: [1, 2, 3]
learning_rates: [0.001, 0.01]           # base_lr; unset: that of the solver
iterations: 5000                        # unset: max_iter of the solver
scale_schedule: true                    # stepvalue, stepsize and warm-up in proportion to `iterations`
budget: 8 min                           # fewer iterations if all runs would take longer
test_interval: 500
test_batches: 100
dataset: data/cifar10                   # a folder made by `dragon data`, in place of the nets' data sources
equal: [split, merged]                  # pairs that start from the same weights and are compared one to one
variants:
  - name: merged
    net: cifar10_quick_bn_merged/train_val.prototxt
    set: {weight_decay: 0.0005}         # fields of the solver
    layers: {BN: {batch_norm_param: {eps: 1e-10}}}   # by layer type or layer name
    averages: [CAFFE, CUMULATIVE]       # test with these running averages too: one training run serves all
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from dragon.compare.averages import FRACTIONS
from dragon.compare.yaml_tree import Section, read_yaml
from dragon.errors import nearest

__all__ = ["Comparison", "Variant", "read_comparison"]

_TOP = (
    "name", "description", "solver", "net", "seeds", "learning_rates", "iterations", "scale_schedule", "budget",
    "test_interval", "test_batches", "dataset", "equal", "variants",
)  # fmt: skip
_VARIANT = ("name", "solver", "net", "set", "layers", "averages", "learning_rates", "description")
_MAX_BUDGET_S = 1e9
_UNITS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}


@dataclass(frozen=True)
class Variant:
    """One variant: a solver and a net with changes. net: None for that of the solver. set, layers: the changes."""

    name: str
    solver: Path
    net: Path | None
    set: Section | None
    layers: Section | None
    averages: list[str]
    learning_rates: list[float]
    description: str
    section: Section


@dataclass(frozen=True)
class Comparison:
    """A checked YAML file."""

    file: str
    text: str
    name: str
    description: str
    seeds: list[int]
    iterations: int | None
    scale_schedule: bool
    budget_s: float | None
    test_interval: int | None
    test_batches: int | None
    dataset: str | None
    equal: list[tuple[str, str]]
    variants: list[Variant]


def read_comparison(path: str | Path) -> Comparison:
    """Read and check a comparison file. Raises UsageError, with file and line, for anything wrong."""
    top, text = read_yaml(path)
    top.check_keys(_TOP, ("variants",))
    folder = Path(path).resolve().parent
    variants: list[Variant] = []
    for section in top.sections("variants"):
        variant = _variant(section, top, folder)
        if variant.name in [v.name for v in variants]:
            section.fail(f'variant "{variant.name}" is named twice', "name")
        variants.append(variant)
    return Comparison(
        file=str(path),
        text=text,
        name=top.text("name") or Path(path).stem,
        description=(top.text("description") or "").strip(),
        seeds=top.integers("seeds", [1]),
        iterations=top.integer("iterations"),
        scale_schedule=top.flag("scale_schedule", False),
        budget_s=_budget(top),
        test_interval=top.integer("test_interval"),
        test_batches=top.integer("test_batches"),
        dataset=top.text("dataset"),
        equal=_pairs(top, [v.name for v in variants]),
        variants=variants,
    )


def _variant(section: Section, top: Section, folder: Path) -> Variant:
    section.check_keys(_VARIANT, ("name",))
    name = section.text("name") or ""
    if not re.fullmatch(r"[\w.+-]+", name):
        section.fail(f'a variant\'s name is made of letters, digits and . + - _, got "{name}"', "name")
    solver, net = _path(section, "solver", folder), _path(section, "net", folder)
    solver = solver or _path(top, "solver", folder)
    if solver is None:
        section.fail(f'variant "{name}" has no solver, and there is none for all variants')
    if net is None and "solver" not in section.values:
        net = _path(top, "net", folder)
    rates = section.numbers("learning_rates") or top.numbers("learning_rates")
    what = (section.text("description") or "").strip()
    fields, layers = section.section("set"), section.section("layers")
    return Variant(name, solver, net, fields, layers, _averages(section), rates, what, section)


def _averages(section: Section) -> list[str]:
    given = section.values.get("averages", [])
    names = given if isinstance(given, list) else [given]
    for name in names:
        if not isinstance(name, str) or name not in FRACTIONS:
            hint = nearest(str(name), FRACTIONS)
            section.fail(
                f'"{section.name("averages")}": unknown rule "{name}"{hint}; known: {", ".join(FRACTIONS)}', "averages"
            )
    return [str(name) for name in names]


def _path(section: Section, key: str, folder: Path) -> Path | None:
    given = section.text(key)
    if given is None:
        return None
    found = next((p for p in (Path(given), folder / given) if os.path.isfile(p)), None)
    if found is None:
        section.fail(f'"{section.name(key)}": no such file: {given}', key)
    return found


def _budget(top: Section) -> float | None:
    value = top.values.get("budget")
    if value is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*?)s?\s*", str(value))
    unit = _UNITS.get(match[2] or "s") if match else None
    if match is None or unit is None or not 0 < float(match[1]) < _MAX_BUDGET_S:
        top.fail(f'"budget" must be a time such as 90 s, 8 min or 2 h, got {value!r}', "budget")
    return float(match[1]) * unit


def _pairs(top: Section, names: list[str]) -> list[tuple[str, str]]:
    given = top.values.get("equal", [])
    listed = given if isinstance(given, list) else [given]
    pairs = listed if listed and isinstance(listed[0], list) else [listed] if listed else []
    result = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
            top.fail(f'"equal" must be a pair of variants or a list of pairs, got {pair!r}', "equal")
        for name in pair:
            if name not in names:
                top.fail(f'"equal" names no variant: "{name}"{nearest(str(name), names)}', "equal")
        result.append((str(pair[0]), str(pair[1])))
    return result
