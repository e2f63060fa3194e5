"""What an experiment file asks: metrics, contrasts and the picture of the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dragon.compare.config import Contrast, Factor, Metric, Picture, Place, Selection, Variant
from dragon.compare.read_variants import read_selection
from dragon.errors import nearest
from dragon.files.yaml_section import Section

__all__ = ["OVER", "TAKES", "read_contrasts", "read_metrics", "read_picture"]

# what is taken of a series, and the keys that it needs
TAKES: Mapping[str, tuple[str, ...]] = {
    "last": (), "first": (), "mean": (), "max": (), "min": (), "at": ("iter",), "first_at_least": ("value",),
    "slope": (), "ratio": ("from", "to"), "median": (), "sd": (),
}  # fmt: skip
# what is taken of a metric over a factor
OVER: Mapping[str, tuple[str, ...]] = {
    "max": (),
    "min": (),
    "mean": (),
    "argmax": (),
    "argmin": (),
    "span": ("within",),
    "largest": ("value",),
}
_LEVELS = ("argmax", "argmin", "span", "largest")  # what gives a level, or a ratio of two: of a factor of numbers
# keys that a take may have beside those
_OPTIONAL: Mapping[str, tuple[str, ...]] = {"span": ("value",), "largest": ("within",)}
_METRIC = (
    "series", "less", "per", "take", "iter", "from", "to", "minus", "quotient", "power", "of", "over", "value",
    "within",
)  # fmt: skip
_PAIRS = ("minus", "quotient")
_CONTRAST = ("name", "primary", "metric", "of", "against", "scale", "expect", "deterministic")
_SCALES = ("difference", "ratio", "sd_ratio")
_PICTURE = ("series", "metric", "metrics", "over", "log", "of")


def read_metrics(top: Section, factors: Sequence[Factor]) -> dict[str, Metric]:
    """The metrics by name, in the order of the file; what they refer to stands above them or is built in."""
    section = top.section("metrics")
    found: dict[str, Metric] = {}
    for name in section.values if section is not None else ():
        assert section is not None
        given = section.section(name)
        if given is None:
            section.fail(f'"{section.name(name)}" must be a mapping', name)
        found[name] = _metric(name, given, factors)
    return found


def _metric(name: str, section: Section, factors: Sequence[Factor]) -> Metric:
    section.check_keys(_METRIC)
    kinds = [key for key in ("series", *_PAIRS, "of") if key in section.values]
    if len(kinds) != 1:
        section.fail(f'"{section.path}" needs one of "series", "minus", "quotient" and "of"')
    if "power" in section.values and kinds != ["quotient"]:
        section.fail(f'"{section.name("power")}" is that of a quotient', "power")
    if kinds[0] in _PAIRS:
        key = kinds[0]
        pair = section.values[key]
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            section.fail(f'"{section.name(key)}" must be a list of two metrics', key)
        two = (pair[0], pair[1])
        if key == "minus":
            return Metric(name, minus=two, section=section)
        power = section.number("power")
        if power == 0:
            section.fail(f'"{section.name("power")}" must not be 0, with which every quotient is 1', "power")
        return Metric(name, quotient=two, power=power, section=section)
    of, over = section.text("of"), section.text("over")
    takes = OVER if of is not None else TAKES
    take = section.choice("take", tuple(takes), "max" if of is not None else "last")
    for key in takes[take]:
        if key not in section.values:
            section.fail(f'"{section.path}": take: {take} needs "{key}"', "take")
    series, less, per = (_series(section, key) for key in ("series", "less", "per"))
    if series is None and (less or per):
        section.fail(f'"{section.name("less" if less else "per")}" needs "series"', "less" if less else "per")
    usual = ("take", "series", "less", "per", "from", "to") if of is None else ("take", "of", "over")
    for key in section.values:
        if key not in (*usual, *takes[take], *(_OPTIONAL.get(take, ()))):
            section.fail(f'"{section.name(key)}" has no effect with take: {take}', key)
    if (section.number("within") or 0) < 0:
        section.fail(f'"{section.name("within")}" must not be negative', "within")
    if of is not None:
        names = [factor.name for factor in factors] + ["base_lr"]
        if over is None or over not in names:
            section.fail(f'"{section.name("over")}" must name a factor{nearest(str(over), names)}', "over")
        levels = [level.value for factor in factors if factor.name == over for level in factor.levels]
        if take in _LEVELS and (named := next((level for level in levels if isinstance(level, str)), None)) is not None:
            section.fail(
                f'"{section.name("take")}": {take} gives a number, and "{named}" of {over} is a name; '
                "max, min and mean take any levels", "take",
            )  # fmt: skip
    return Metric(
        name, take, series, less, per, of=of, over=over, value=section.number("value"), iter=_place(section, "iter"),
        start=_place(section, "from"), end=_place(section, "to"), within=section.number("within"), section=section,
    )  # fmt: skip


def _series(section: Section, key: str) -> str | None:
    """The name of a series, with one * at most; in `less` and `per` only where `series` has one."""
    name = section.text(key)
    most = 1 if key == "series" else (section.text("series") or "").count("*")
    if name is not None and name.count("*") > most:
        section.fail(f'"{section.name(key)}": one * at most, and in "series" too, got "{name}"', key)
    return name


def _place(section: Section, key: str) -> Place | None:
    """An iteration, or a share of the run from 0% to 100%."""
    given = section.values.get(key)
    if not isinstance(given, str):
        return section.integer(key, 0)
    share = re.fullmatch(r"\s*(\d{1,3})\s*%\s*", given)
    if share is None or int(share[1]) > 100:
        section.fail(
            f'"{section.name(key)}" must be an iteration, or a share of the run such as 10%, got "{given}"', key
        )
    return f"{share[1]}%"


def read_contrasts(top: Section, variants: Sequence[Variant], factors: Sequence[Factor]) -> list[Contrast]:
    """The contrasts; a single one is the primary one unless it says otherwise."""
    if "contrasts" not in top.values:
        return []
    sections = top.sections("contrasts")
    found = [_contrast(section, variants, factors, len(sections) == 1) for section in sections]
    names: dict[str, Contrast] = {}
    for contrast in found:
        if contrast.name in names:
            line = names[contrast.name].section.line
            contrast.section.fail(f'line {line} has a contrast "{contrast.name}": give this one another name', "name")
        names[contrast.name] = contrast
    marked = [contrast for contrast in found if contrast.primary]
    if len(marked) > 1:
        marked[1].section.fail("there is one primary contrast already", "primary")
    return found


def _contrast(section: Section, variants: Sequence[Variant], factors: Sequence[Factor], alone: bool) -> Contrast:
    section.check_keys(_CONTRAST, ("metric", "of"))
    metric = section.text("metric") or ""
    of = _selection(section, "of", variants, factors)
    assert of is not None
    against = _selection(section, "against", variants, factors)
    if against is not None and not against:
        section.fail(f'"{section.name("against")}" names nothing; leave it out to ask about "of" alone', "against")
    if against == of:
        section.fail(f'"{section.name("against")}" selects the runs of "of" too', "against")
    scale = section.choice("scale", _SCALES, "difference")
    if scale != "difference" and against is None:
        section.fail(f'scale: {scale} needs "against"', "scale")
    expect = section.values.get("expect")
    name = section.text("name") or _name(metric, of, against)
    deterministic = section.flag("deterministic", False)
    text = None if expect is None else str(expect)
    return Contrast(name, metric, of, against, scale, text, section.flag("primary", alone), deterministic, section)


def _name(metric: str, of: Selection, against: Selection | None) -> str:
    sides = [" ".join(str(value) for value in side.values()) for side in (of, against) if side]
    return f"{metric}: {' against '.join(sides)}"


def _selection(section: Section, key: str, variants: Sequence[Variant], factors: Sequence[Factor]) -> Selection | None:
    given = section.section(key)
    return None if given is None else read_selection(given, variants, factors)


def read_picture(top: Section, variants: Sequence[Variant], factors: Sequence[Factor]) -> Picture | None:
    """The picture; None if the file has none."""
    section = top.section("picture")
    if section is None:
        return None
    section.check_keys(_PICTURE)
    series, metric, over = section.text("series"), section.text("metric"), section.text("over")
    several = tuple(section.words("metrics"))
    if (series is not None) + (metric is not None) + bool(several) != 1:
        section.fail('"picture" needs one of "series", "metric" and "metrics"')
    names = [factor.name for factor in factors] + ["base_lr"]
    if over is not None and over not in names:
        section.fail(f'"picture.over" names no factor: "{over}"{nearest(over, names)}', "over")
    where = _selection(section, "of", variants, factors) or {}
    return Picture(series, metric, several, over, section.flag("log", False), where, section)
