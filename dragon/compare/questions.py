"""Checks, before anything is trained, that metrics, contrasts and the picture ask for what the runs will have."""

from __future__ import annotations

from dragon.compare.config import Experiment, Metric
from dragon.compare.contrasts import check_contrast
from dragon.compare.metrics import parts_of, resolve_metric
from dragon.compare.nets import test_outputs
from dragon.compare.plan import Plan
from dragon.compare.probing import probe_titles
from dragon.compare.recorder import series_name
from dragon.compare.results import all_metrics, contrast_as_dict
from dragon.compare.yaml_tree import Section
from dragon.errors import DragonError, nearest

__all__ = ["check_questions", "planned_series"]


def planned_series(plan: Plan) -> list[str]:
    """The series that some run of a plan will have, without those of probes."""
    names = {"train/loss": None, "rate": None}
    for runs in plan.cells():
        run = runs[0]
        for test, net in zip(run.tests, run.solver.test_net_param, strict=True):
            for output in test_outputs(net):
                names[series_name(test.on, output, test.statistics)] = None
    return list(names)


def check_questions(plan: Plan) -> None:
    """Raise UsageError, with file and line, for a question that the runs cannot answer."""
    c = plan.comparison
    series = planned_series(plan)
    metrics = all_metrics(c, series)
    for metric in c.metrics.values():
        for key, name in (("series", metric.series), ("less", metric.less), ("per", metric.per)):
            if name is not None:
                _check_series(c, name, series, metric.section or c.top, key)
        _check_metric(metric.name, metrics, metric.section or c.top, None)
    for contrast in c.contrasts:
        _check_metric(contrast.metric, metrics, contrast.section, "metric")
        try:
            check_contrast(contrast_as_dict(contrast))
        except DragonError as error:
            contrast.section.fail(str(error), "expect")
    if c.picture is not None:
        section = c.picture.section or c.top
        if c.picture.series is not None:
            _check_series(c, c.picture.series, series, section, "series")
        if c.picture.metric is not None:
            _check_metric(c.picture.metric, metrics, section, "metric")
    outputs = [name.removeprefix("test/") for name in series if name.startswith("test/") and "@" not in name]
    if c.stop is not None and c.stop.output not in outputs:
        hint = nearest(c.stop.output, outputs)
        c.top.fail(f'"stop.chance": no test has an output "{c.stop.output}"{hint}; known: {", ".join(outputs)}', "stop")


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
