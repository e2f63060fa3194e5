"""The variants and factors of an experiment file: who is trained, and with which changes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dragon.compare.averages import FRACTIONS
from dragon.compare.config import Average, Change, Factor, Level, Operation, Selection, Value, Variant
from dragon.engines.base import MOST_THREADS
from dragon.errors import UsageError, nearest
from dragon.files.yaml_section import Section
from dragon.models.zoo import SOLVER, TRAIN_VAL, resolve
from dragon.proto import dragon_pb2 as pb

__all__ = ["BATCH_SIZE", "find_file", "read_factors", "read_selection", "read_selections", "read_variants"]

BATCH_SIZE = "batch_size"
_VARIANT = (
    "name", "base", "solver", "net", "surgery", "set", "layers", "averages", "learning_rates", "threads", "description",
)  # fmt: skip
_LEVEL = ("surgery", "layers", "set")
_AVERAGE = ("rule", "fraction", "decay_statistics", "name")
_NAME = r"[\w.+-]+"


def read_variants(top: Section, folder: Path) -> list[Variant]:
    """The variants in the order of the file. A `base` stands before those that take it over."""
    variants: dict[str, Variant] = {}
    for section in top.sections("variants"):
        variant = _variant(section, top, folder, variants)
        if variant.name in variants:
            section.fail(f'variant "{variant.name}" is named twice', "name")
        variants[variant.name] = variant
    return list(variants.values())


def _variant(section: Section, top: Section, folder: Path, before: dict[str, Variant]) -> Variant:
    section.check_keys(_VARIANT, ("name",))
    name = section.text("name") or ""
    if not re.fullmatch(_NAME, name):
        section.fail(f'a variant\'s name is made of letters, digits and . + - _, got "{name}"', "name")
    base_name = section.text("base")
    if base_name is not None and base_name not in before:
        known = nearest(base_name, before)
        section.fail(f'"{section.name("base")}" names no variant above this one: "{base_name}"{known}', "base")
    base = before[base_name] if base_name is not None else None
    solver, net = find_file(section, "solver", folder), find_file(section, "net", folder)
    if net is None and base is not None and solver is None:
        net = base.net
    solver = solver or (base.solver if base else None) or find_file(top, "solver", folder)
    if solver is None:
        section.fail(f'variant "{name}" has no solver, and there is none for all variants')
    if net is None and "solver" not in section.values and base is None:
        net = find_file(top, "net", folder)
    averages = _averages(section) if "averages" in section.values or base is None else base.averages
    rates = section.numbers("learning_rates") or (base.learning_rates if base else top.numbers("learning_rates"))
    changes = (*(base.changes if base else ()), _change(section))
    threads = section.integer("threads", most=MOST_THREADS)
    what = (section.text("description") or "").strip()
    return Variant(name, solver, net, changes, averages, rates, what, threads, section)


def _change(section: Section) -> Change:
    return Change(_operations(section), section.section("layers"), section.section("set"))


def _operations(section: Section) -> tuple[Operation, ...]:
    named = section.named("surgery", "{insert: {after: convolution}}")
    return tuple(Operation(name, arguments, where) for name, arguments, where in named)


def _averages(section: Section) -> tuple[Average, ...]:
    found: list[Average] = []
    for entry in section.listed("averages", [], empty=True):
        found.append(_average(entry if isinstance(entry, Section) else section, entry))
        if found[-1].name in ("global", "batch", "exact", *(one.name for one in found[:-1])):
            section.fail(f'"{section.name("averages")}": the name "{found[-1].name}" is taken', "averages")
    return tuple(found)


def _average(section: Section, entry: object) -> Average:
    rule = entry
    if isinstance(entry, Section):
        section.check_keys(_AVERAGE, ("rule",))
        rule = section.values["rule"]
    if not isinstance(rule, str) or rule not in FRACTIONS:
        key = "rule" if isinstance(entry, Section) else "averages"
        hint = nearest(str(rule), FRACTIONS)
        section.fail(f'"{section.name(key)}": unknown rule "{rule}"{hint}; known: {", ".join(FRACTIONS)}', key)
    if not isinstance(entry, Section):
        return Average(rule, rule, FRACTIONS[rule])
    fraction = section.number("fraction")
    if fraction is not None and not 0 <= fraction <= 1:
        section.fail(f'"{section.name("fraction")}" must be between 0 and 1, got {fraction:g}', "fraction")
    decays = section.flag("decay_statistics", False)
    name = section.text("name") or rule + ("" if fraction is None else f"{fraction:g}") + ("+decay" if decays else "")
    if not re.fullmatch(_NAME, name):
        section.fail(f'"{section.name("name")}" is made of letters, digits and . + - _, got "{name}"', "name")
    return Average(name, rule, FRACTIONS[rule] if fraction is None else fraction, decays)


def find_file(section: Section, key: str, folder: Path) -> Path | None:
    """A file named by a key: from the working directory, the experiment's folder or the zoo; or of a net of the zoo."""
    given = section.text(key)
    if given is None:
        return None
    from dragon import models

    places = [Path(), folder, *map(Path, models.__path__)]
    found = next((path for place in places if os.path.isfile(path := place / given)), None)
    if found is None:
        try:
            found = Path(resolve(given, SOLVER if key == "solver" else TRAIN_VAL))
        except UsageError as error:
            section.fail(f'"{section.name(key)}": {error}', key)
        if str(found) == given:
            section.fail(f'"{section.name(key)}": no such file: {given}', key)
    return found


# -- factors --------------------------------------------------------------------------------------------------
def read_factors(top: Section) -> list[Factor]:
    """The factors: lists of values of a solver field or of batch_size, or mappings of level names to changes."""
    section = top.section("factors")
    if section is None:
        return []
    fields = pb.SolverParameter.DESCRIPTOR.fields_by_name
    factors = []
    for name, given in section.values.items():
        _check_name(section, name)
        if isinstance(given, Section):
            factors.append(_named_levels(name, given))
            continue
        if name != BATCH_SIZE and name not in fields:
            hint = nearest(name, [BATCH_SIZE, *fields])
            section.fail(
                f'"{section.name(name)}": the solver has no field "{name}"{hint}; other factors are mappings of level '
                "names to changes", name,
            )  # fmt: skip
        if name == BATCH_SIZE:
            values: Sequence[Value] = section.integers(name, [], 1)
        else:
            values = section.values_of(name)
        factors.append(Factor(name, tuple(Level(value) for value in values)))
    if any(factor.name == "variant" for factor in factors):
        section.fail('a factor cannot be called "variant"', "variant")
    return factors


def _check_name(section: Section, name: str) -> None:
    """Fail for a factor or level whose name would not be seen in a line, or break it."""
    if not name.strip() or not name.isprintable():
        section.fail(f"the name of a factor or level is one line of text, got {name!r}", name)


def _named_levels(name: str, section: Section) -> Factor:
    levels = []
    for level, given in section.values.items():
        _check_name(section, level)
        if not isinstance(given, Section):
            known = ", ".join(_LEVEL)
            section.fail(f'"{section.name(level)}" must be a mapping of changes ({known}), got {given!r}', level)
        given.check_keys(_LEVEL)
        levels.append(Level(level, _change(given)))
    if not levels:
        section.fail(f'factor "{name}" has no levels')
    return Factor(name, tuple(levels))


def read_selection(section: Section, variants: Sequence[Variant], factors: Sequence[Factor]) -> Selection:
    """A mapping of "variant" and factors to a name or level each; each must exist."""
    known: dict[str, list[Value]] = {"variant": [variant.name for variant in variants]}
    known |= {factor.name: [level.value for level in factor.levels] for factor in factors}
    rates = [rate for variant in variants for rate in variant.learning_rates]
    if rates:
        known.setdefault("base_lr", list(dict.fromkeys(rates)))
    section.check_keys(tuple(known))
    chosen: dict[str, Value] = {}
    for key, value in section.values.items():
        match = next((level for level in known[key] if _same(level, value)), None)
        if match is None:
            levels = [f"{level}" for level in known[key]]
            hint = nearest(str(value), levels)
            section.fail(f'"{section.name(key)}": no level "{value}"{hint}; known: {", ".join(levels)}', key)
        chosen[key] = match
    return chosen


def _same(level: Value, given: object) -> bool:
    if isinstance(level, str):
        return level == str(given)
    try:
        return float(level) == float(str(given))
    except ValueError:
        return False


def read_selections(top: Section, key: str, variants: Sequence[Variant], factors: Sequence[Factor]) -> list[Selection]:
    """A list of selections; empty if the key is missing."""
    return [read_selection(one, variants, factors) for one in top.sections(key)] if key in top.values else []
