"""The names of the series that runs have: of those to come, from their plan, and of finished ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dragon.compare.cost import PARTS
from dragon.compare.nets import test_outputs
from dragon.compare.plan import Plan, Run
from dragon.compare.recorder import series_name

__all__ = ["known_series", "planned_series", "series_of"]


def planned_series(plan: Plan) -> list[str]:
    """The series that some run of a plan will have, without those of probes."""
    return list(dict.fromkeys(name for runs in plan.cells() for name in series_of(plan, runs[0])))


def series_of(plan: Plan, run: Run) -> list[str]:
    """The series that a run of a plan will have, without those of probes."""
    tested = [
        series_name(test.on, output, test.statistics)
        for test, net in zip(run.tests, run.solver.test_net_param, strict=True)
        for output in test_outputs(net)
    ]
    cost = plan.comparison.cost
    timed = [f"cost/{setting.name}/{part}" for setting in (cost.settings if cost else ()) for part in PARTS]
    return ["train/loss", "rate", *tested, *timed]


def known_series(plan: Plan, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The planned series and those that some run has: one that diverged before its first test has none of tests."""
    return list(dict.fromkeys([*planned_series(plan), *(name for r in records.values() for name in r["series"])]))
