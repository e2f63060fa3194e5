"""An experiment file, read and checked: `docs/experiment.yaml` shows every key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dragon.compare.config import Cost, CostSetting, Experiment, Factor, ProbeSetting, Stop, Tune, Variant
from dragon.compare.read_questions import read_contrasts, read_metrics, read_picture
from dragon.compare.read_variants import read_factors, read_selections, read_variants
from dragon.compare.wording import is_percent
from dragon.engines import ENGINES
from dragon.errors import UsageError, nearest
from dragon.files.kinds import EXPERIMENT
from dragon.files.yaml_section import Section, plain
from dragon.files.yaml_tree import read_yaml
from dragon.surgery.recalibrate import VARIANCES

__all__ = ["KEYS", "read_comparison", "read_experiment"]

KEYS = (
    "name", "claim", "source", "expected", "description", "solver", "net", "dataset", "shuffle", "seeds", "iterations",
    "scale_schedule", "budget", "test_interval", "test_batches", "set", "learning_rates", "equal", "pairs", "variants",
    "factors", "only", "equal_images", "tune", "stop", "statistics", "test_on", "probes", "cost", "metrics",
    "contrasts", "picture", "time", "quick",
)  # fmt: skip
_NOT_QUICK = ("name", "claim", "source", "quick")
_MAX_BUDGET_S = 1e9
_MAX_SEEDS = 10_000
_EXACT_IMAGES = 10_000
_MAX_COST_S = 3600.0
_PRECISIONS = ("fp32", "bf16", "fp16")
_COST_S = 5.0  # seconds for which steps are timed in one setting
_UNITS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_STATISTICS = ("global", "batch", "exact")


def read_experiment(path: str | Path, quick: bool = False, seeds: int | None = None) -> Experiment:
    """Read and check an experiment file. Raises UsageError, with file and line, for anything wrong.

    quick: with the changes of its key `quick`, if it has any. seeds: how many seeds in place of the file's, from its
    first one on.
    """
    if seeds is not None and (not isinstance(seeds, int) or isinstance(seeds, bool) or not 0 < seeds <= _MAX_SEEDS):
        raise UsageError(f"seeds must be a whole number from 1 to {_MAX_SEEDS:,}, got {seeds!r}")
    top, text = read_yaml(path, EXPERIMENT)
    top.check_keys(KEYS, ("variants",))
    changes = top.section("quick")
    if changes is not None:
        changes.check_keys(tuple(key for key in KEYS if key not in _NOT_QUICK))
        shortened = replace(top, values={**top.values, **changes.values}, lines={**top.lines, **changes.lines})
        if not quick:
            _read(path, shortened, text, True)  # finds its mistakes now rather than when somebody is in a hurry
        top = shortened if quick else top
    found = _read(path, top, text, quick and changes is not None)
    if seeds is not None:
        found = replace(found, seeds=[found.seeds[0] + k for k in range(seeds)])
    return found


def read_comparison(path: str | Path) -> Experiment:
    """`read_experiment` at full size."""
    return read_experiment(path)


def _read(path: str | Path, top: Section, text: str, quick: bool) -> Experiment:
    folder = Path(path).resolve().parent
    variants = read_variants(top, folder)
    factors = read_factors(top)
    names = [variant.name for variant in variants]
    _one_list_of_rates(top, variants, factors)
    statistics, exact_images, exact_variance = _statistics(top)
    stop = _stop(top)
    metrics = read_metrics(top, factors)
    return Experiment(
        file=str(path),
        text=text,
        name=top.text("name") or Path(path).stem,
        description=_words(top, "description"),
        claim=_words(top, "claim"),
        source=_words(top, "source"),
        expected=_words(top, "expected"),
        quick=quick,
        seeds=_seeds(top, "seeds", [1]),
        iterations=top.integer("iterations"),
        scale_schedule=top.flag("scale_schedule", False),
        budget_s=_budget(top),
        test_interval=top.integer("test_interval"),
        test_batches=top.integer("test_batches"),
        dataset=_dataset(top, folder),
        shuffle=top.flag("shuffle", False) if "shuffle" in top.values else None,
        set=top.section("set"),
        equal=_pairs(top, names),
        equal_images=top.flag("equal_images", False),
        variants=variants,
        factors=factors,
        only=read_selections(top, "only", variants, factors),
        tune=_tune(top),
        stop=stop,
        statistics=statistics,
        exact_images=exact_images,
        exact_variance=exact_variance,
        test_on=_test_on(top),
        probes=_probes(top),
        cost=_cost(top),
        metrics=metrics,
        contrasts=read_contrasts(top, variants, factors),
        picture=read_picture(top, variants, factors),
        top=top,
    )


def _one_list_of_rates(top: Section, variants: Sequence[Variant], factors: Sequence[Factor]) -> None:
    """Fail where `learning_rates` and the factor base_lr, which it is another name of, are both given."""
    if not any(factor.name == "base_lr" for factor in factors):
        return
    for section in (top, *(variant.section for variant in variants)):
        if "learning_rates" in section.values:
            name = section.name("learning_rates")
            section.fail(f'"{name}" is another way to write the factor base_lr: give one of them', "learning_rates")


def _dataset(top: Section, folder: Path) -> str | None:
    """The folder of data from the working directory, else from the folder of the file where it is there."""
    given = top.text("dataset")
    if given and not Path(given).exists() and (folder / given).exists():
        return str(folder / given)
    return given


def _words(top: Section, key: str) -> str:
    return (top.text(key) or "").strip()


def _seeds(section: Section, key: str, default: list[int]) -> list[int]:
    """A list, or {first: F, count: N}. A number alone may be meant as a count, as --seeds is, or as a seed."""
    given = section.values.get(key)
    if isinstance(given, int):
        name = section.name(key)
        section.fail(f'"{name}" must be a list such as [1, 2, 3], or {{first: 1, count: 3}}, got {given}', key)
    if not isinstance(given, Section):
        return section.integers(key, default)
    given.check_keys(("first", "count"), ("count",))
    first, count = given.integer("first", 0), given.integer("count") or 1
    if count > _MAX_SEEDS:
        given.fail(f'"{given.name("count")}" must be at most {_MAX_SEEDS}, got {count}', "count")
    return [(1 if first is None else first) + k for k in range(count)]


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
    """The pairs of `equal`, or under its other name `pairs`."""
    if "equal" in top.values and "pairs" in top.values:
        top.fail('"pairs" is another name of "equal": give one of them', "pairs")
    key = "pairs" if "pairs" in top.values else "equal"
    given = plain(top.values.get(key, []))
    listed = given if isinstance(given, list) else [given]
    pairs = listed if listed and isinstance(listed[0], list) else [listed] if listed else []
    result = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
            top.fail(f'"{key}" must be a pair of variants or a list of pairs, got {pair!r}', key)
        for name in pair:
            if name not in names:
                top.fail(f'"{key}" names no variant: "{name}"{nearest(str(name), names)}', key)
        result.append((str(pair[0]), str(pair[1])))
    return result


def _statistics(top: Section) -> tuple[tuple[str, ...], int, str]:
    """What nets with batch normalisation are tested with, and the images and variance of exact statistics."""
    images, variance = _EXACT_IMAGES, VARIANCES[0]
    names: list[str] = []
    for entry in top.listed("statistics", ["global", "batch"]):
        if isinstance(entry, Section):
            entry.check_keys(("exact", "variance"), ("exact",))
            images = entry.integer("exact") or images
            variance = entry.choice("variance", VARIANCES, variance)
            entry = "exact"
        if not isinstance(entry, str) or entry not in _STATISTICS:
            top.fail(
                f'"statistics": unknown "{entry}"{nearest(str(entry), _STATISTICS)}; known: {", ".join(_STATISTICS)}',
                "statistics",
            )
        if entry in names:
            top.fail(f'"statistics" names {entry} twice', "statistics")
        names.append(entry)
    return tuple(name for name in _STATISTICS if name in names), images, variance


def _test_on(top: Section) -> tuple[str, ...]:
    found = top.choices("test_on", ("test", "train"), ("test",))
    if "test" not in found:
        top.fail('"test_on" must contain "test"', "test_on")
    return found


def _stop(top: Section) -> Stop | None:
    section = top.section("stop")
    if section is None:
        return None
    section.check_keys(("chance",), ("chance",))
    chance = section.section("chance")
    if chance is None:
        section.fail('"stop.chance" must be a mapping such as {accuracy: 0.12, at: 1000}', "chance")
    outputs = [key for key in chance.values if key != "at"]
    at = chance.integer("at")
    if len(outputs) != 1 or at is None:
        chance.fail('"stop.chance" must be one output with a value and "at", such as {accuracy: 0.12, at: 1000}')
    value = chance.number(outputs[0])
    if value is None:
        chance.fail(f'"{chance.name(outputs[0])}" has no value', outputs[0])
    if is_percent(outputs[0]) and not 0 <= value <= 1:
        chance.fail(f'"{chance.name(outputs[0])}" must be a share from 0 to 1, got {value:g}', outputs[0])
    return Stop(outputs[0], value, at)


def _tune(top: Section) -> Tune | None:
    section = top.section("tune")
    if section is None:
        return None
    section.check_keys(("over", "on", "metric", "seeds", "iterations"), ("over",))
    over = section.section("over")
    if over is None or not over.values:
        section.fail('"tune.over" must be a mapping of solver fields to values, such as {base_lr: [0.01, 0.1]}', "over")
    return Tune(
        over={field: over.numbers(field, zero=True) for field in over.values},
        on=section.choice("on", ("val",), "val"),
        metric=section.text("metric") or "accuracy",
        seeds=_seeds(section, "seeds", [101]),
        iterations=section.integer("iterations"),
        section=section,
    )


def _probes(top: Section) -> list[ProbeSetting]:
    named = top.named("probes", "{hessian: {every: 100}}")
    return [ProbeSetting(name, settings, section) for name, settings, section in named]


def _cost(top: Section) -> Cost | None:
    section = top.section("cost")
    if section is None:
        return None
    section.check_keys(("seconds", "settings"), ("settings",))
    given = section.section("settings")
    if given is None or not given.values:
        section.fail('"cost.settings" must be a mapping such as {apart: {engine: onednn, fuse: false}}', "settings")
    found = []
    for name in given.values:
        one = given.section(name)
        if one is None or not re.fullmatch(r"[\w.+-]+", name):
            given.fail(f'"{given.name(name)}" must be a mapping, its name of letters, digits and . + - _', name)
        one.check_keys(("engine", "precision", "fuse"))
        engine = one.choice("engine", ENGINES, "auto") if "engine" in one.values else None
        precision = one.choice("precision", _PRECISIONS, "fp32") if "precision" in one.values else None
        found.append(CostSetting(name, engine, precision, one.flag("fuse", True)))
    seconds = section.number("seconds")
    if seconds is not None and not 0 < seconds <= _MAX_COST_S:
        wanted = f"above 0 and at most {_MAX_COST_S:g}"
        section.fail(f'"{section.name("seconds")}" must be {wanted}, got {seconds:g}', "seconds")
    return Cost(_COST_S if seconds is None else seconds, tuple(found))
