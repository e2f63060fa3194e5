"""Checks, before anything is trained, that metrics, contrasts and the picture ask for what the runs will have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dragon.compare.config import Contrast, Experiment, Metric
from dragon.compare.contrasts import check_contrast, select
from dragon.compare.metrics import builtin_metrics, iteration_of, lower_is_better, parts_of, resolve_metric
from dragon.compare.plan import Plan, Run
from dragon.compare.probing import probe_titles
from dragon.compare.results import all_metrics, contrast_as_dict, metric_as_dict
from dragon.compare.series import planned_series, series_of
from dragon.compare.wording import is_percent, is_share
from dragon.counting import how_many
from dragon.errors import DragonError, nearest
from dragon.files.yaml_section import Section

__all__ = ["check_questions", "unreached_stop"]


def check_questions(plan: Plan) -> None:
    """Raise UsageError, with file and line, for a question that the runs cannot answer."""
    c = plan.comparison
    series = planned_series(plan)
    metrics = all_metrics(c, series)
    built_in = builtin_metrics(series)
    for metric in c.metrics.values():
        if metric.name in built_in and metric.section is not None:
            metric.section.fail(f'"{metric.section.path}": {metric.name} is built in, give this metric another name')
        for key, name in (("series", metric.series), ("less", metric.less), ("per", metric.per)):
            if name is not None:
                _check_series(c, name, series, metric.section or c.top, key)
        _check_metric(metric.name, metrics, metric.section or c.top, None)
        _check_shares(metric, metrics)
        _check_levels(metric, plan)
        _check_points(metric, max(run.solver.max_iter for run in plan.runs))
    for contrast in c.contrasts:
        _check_metric(contrast.metric, metrics, contrast.section, "metric")
        _check_expectation(contrast, metrics)
        _check_selections(plan, contrast, metrics)
    if c.tune is not None:
        _check_metric(c.tune.metric, metrics, c.tune.section, "metric")
        if metrics[c.tune.metric].over:
            c.tune.section.fail(f'"tune.metric": {c.tune.metric} is over a factor, and not of a run', "metric")
        runs = [cell[0] for cell in plan.cells()]
        _check_measured(plan, runs, metrics[c.tune.metric], metrics, c.tune.section, "metric")
    if c.picture is not None:
        section = c.picture.section or c.top
        if c.picture.series is not None:
            _check_series(c, c.picture.series, series, section, "series")
        if c.picture.metric is not None:
            _check_metric(c.picture.metric, metrics, section, "metric")
            if c.picture.over is not None:
                _check_of_a_run(c.picture.metric, metrics, section, "metric")
        for name in c.picture.metrics:
            _check_metric(name, metrics, section, "metrics")
            _check_of_a_run(name, metrics, section, "metrics")
        if c.picture.over is not None and not any(c.picture.over in cell[0].levels for cell in plan.cells()):
            section.fail(f'"{section.name("over")}": no run has levels of {c.picture.over}', "over")
    _check_stop(plan, series, metrics)


def _check_of_a_run(name: str, metrics: Mapping[str, Metric], section: Section, key: str) -> None:
    """Fail for a metric over a factor, of which no single run or cell has a value."""
    if metrics[name].over:
        what = f"{name} is over {metrics[name].over}, and not of a run"
        section.fail(f'"{section.name(key)}": {what}; {{metric: {name}}} shows it', key)


def _check_stop(plan: Plan, series: list[str], metrics: dict[str, Metric]) -> None:
    """Fail for an early stop that goes by no score of a test, or that no run gets to."""
    c = plan.comparison
    if c.stop is None:
        return
    outputs = [name.removeprefix("test/") for name in series if name.startswith("test/") and "@" not in name]
    if c.stop.output not in outputs:
        hint = nearest(c.stop.output, outputs)
        c.top.fail(f'"stop.chance": no test has an output "{c.stop.output}"{hint}; known: {", ".join(outputs)}', "stop")
    if lower_is_better(c.stop.output, metrics):
        c.top.fail(f'"stop.chance": runs with a low {c.stop.output} are the good ones; name an accuracy', "stop")
    if not c.quick and (why := unreached_stop(plan)):  # a short form may well be too short for it
        c.top.fail(why, "stop")


def unreached_stop(plan: Plan) -> str:
    """What there is to say of an early stop that is behind the end of all runs; "" for none."""
    stop, longest = plan.comparison.stop, max(run.solver.max_iter for run in plan.runs)
    if stop is None or stop.at <= longest:
        return ""
    end = f"the longest run takes {how_many(longest, 'iteration')}"
    return f'"stop.chance.at" is {stop.at:,}, and {end}: no run is stopped'


def _is_share(name: str, metrics: Mapping[str, Metric]) -> bool:
    """Whether a metric is a share of 1, such as an accuracy or the difference of two."""
    definitions = {one.name: metric_as_dict(one) for one in metrics.values()}
    return not metrics[name].per and is_share(name, definitions)


def _check_shares(metric: Metric, metrics: Mapping[str, Metric]) -> None:
    """Fail for an accuracy to reach, or a distance to one, above 1, as of somebody who writes it in percent."""
    if metric.section is None:
        return
    series = is_percent(metric.series or "") and not metric.per
    share = series if metric.of is None else _is_share(metric.of, metrics)
    for key, value in (("value", metric.value), ("within", metric.within)):
        if share and value is not None and value > 1:
            metric.section.fail(f'"{metric.section.name(key)}" must be a share of at most 1, got {value:g}', key)


def _check_expectation(contrast: Contrast, metrics: Mapping[str, Metric]) -> None:
    """Fail for an expectation that is none, or of which every accuracy is within: above 1, since it is in percent."""
    try:
        expected = check_contrast(contrast_as_dict(contrast))
    except DragonError as error:
        contrast.section.fail(str(error), "expect")
    if expected is None or contrast.scale != "difference" or not _is_share(contrast.metric, metrics):
        return
    ends = [end for end in (expected.low, expected.high) if math.isfinite(end)]
    sizes = ends if len(ends) == 1 else [(ends[1] - ends[0]) / 2, (ends[1] + ends[0]) / 2]
    if max(map(abs, sizes)) > 1 + 1e-9:
        what = f"{contrast.metric} is a share of 1, in percent with a %"
        contrast.section.fail(f'"{contrast.section.name("expect")}": {what}, got "{expected.text}"', "expect")


def _check_levels(metric: Metric, plan: Plan) -> None:
    """Fail for a metric over a factor that no run has levels of, or only one where the take is about several."""
    if metric.over is None or metric.section is None:
        return
    levels = {cell[0].levels[metric.over] for cell in plan.cells() if metric.over in cell[0].levels}
    if not levels:
        metric.section.fail(f'"{metric.section.name("over")}": no run has levels of {metric.over}', "over")
    several = metric.take in ("argmax", "argmin", "span")
    if several and len(levels) == 1 and not plan.comparison.quick:  # a short form may well have one
        metric.section.fail(
            f'"{metric.section.name("take")}": {metric.take} needs several levels of {metric.over}, there is one',
            "take",
        )


def _check_points(metric: Metric, longest: int) -> None:
    """Fail for `from` and `to` between which no run has a point. longest: iterations of the longest run."""
    if metric.section is None or (metric.series or "").startswith("cost/"):  # whose points are rounds
        return
    first, last = (longest if place is None else iteration_of(place, longest) for place in (metric.start, metric.end))
    if metric.start is not None and metric.take != "ratio" and first > min(last, longest):
        what = f'"to" is {last:,}' if last < longest else f"the longest run takes {how_many(longest, 'iteration')}"
        metric.section.fail(f'"{metric.section.name("from")}" is {first:,}, and {what}', "from")


def _check_selections(plan: Plan, contrast: Contrast, metrics: dict[str, Metric]) -> None:
    """Fail for a side that selects no run, or runs without the series that the metric is made of."""
    metric = metrics[contrast.metric]
    runs = [cell[0] for cell in plan.cells() if not metric.over or metric.over in cell[0].levels]
    for key, of in (("of", contrast.of), ("against", contrast.against)):
        if of is None:
            continue
        if metric.over in of:
            contrast.section.fail(
                f'"{contrast.section.name(key)}": {metric.name} is over all levels of {metric.over}', key
            )
        try:
            found = select([{"variant": run.variant, "levels": run.levels, "run": run} for run in runs], of)
        except DragonError as error:
            contrast.section.fail(f'"{contrast.section.name(key)}": {error}', key)
        _check_measured(plan, [entry["run"] for entry in found], metric, metrics, contrast.section, key)


def _check_measured(
    plan: Plan, runs: Sequence[Run], metric: Metric, metrics: dict[str, Metric], section: Section, key: str
) -> None:
    """Fail for a run without the series that the metric is made of; those of probes show only while it runs."""
    parts = resolve_metric(metric.name, metrics)
    needed = [name for part in parts for name in (part.series, part.less, part.per) if name]
    for run in runs:
        lacking = set(needed) - set(series_of(plan, run))
        if name := next((name for name in needed if name in lacking and not name.startswith("probe/")), None):
            section.fail(f'"{section.name(key)}": {run.variant} has no "{name}"', key)


def _check_series(c: Experiment, name: str, series: list[str], section: Section, key: str) -> None:
    probes = probe_titles(c.probes)
    if name.startswith("probe/"):  # what keys its series have, a run will show
        if name.split("/")[1] not in probes:
            section.fail(f'"{section.name(key)}": no probe "{name.split("/")[1]}"{nearest(name, probes)}', key)
    elif name not in series:
        section.fail(
            f'"{section.name(key)}": no run has "{name}"{nearest(name, series)}; known: {", ".join(series)}', key
        )


def _check_metric(name: str, metrics: dict[str, Metric], section: Section, key: str | None) -> None:
    try:
        parts = resolve_metric(name, metrics)
    except KeyError as error:
        unknown = str(error.args[0])
        known = f"{nearest(unknown, metrics)}; known: {', '.join(metrics)}"
        section.fail(
            f'no metric "{unknown}"{known}' if unknown not in metrics else f'"{unknown}" is defined by itself', key
        )
    for part in parts:
        if any(metrics[one].over for one in parts_of(part)):
            section.fail(f'metric "{part.name}" is made of one over a factor, which is no number for each run', key)
