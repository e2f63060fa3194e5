"""What an experiment file asks for that has less effect than it seems: said before the runs, none of which it stops."""

from __future__ import annotations

from collections.abc import Iterator

from dragon.compare.config import Metric
from dragon.compare.metrics import iteration_of
from dragon.compare.nets import reads_data, record_count
from dragon.compare.plan import Plan, Run
from dragon.compare.questions import unreached_stop
from dragon.counting import how_many
from dragon.graph.chains import phases
from dragon.proto import dragon_pb2 as pb
from dragon.solver.definition import warnings

__all__ = ["notes"]


def notes(plan: Plan) -> list[str]:
    """Lines with file and line. Raises DataError for training data that cannot be opened."""
    longest = max(run.solver.max_iter for run in plan.runs)
    found = [*_exact(plan), *_stop(plan), *_useless_fields(plan)]
    if not plan.comparison.quick:  # which leaves places as they are at full size
        for metric in plan.comparison.metrics.values():
            found += _behind_the_end(metric, longest)
    return found


def _exact(plan: Plan) -> Iterator[str]:
    """Exact statistics that read images more than once."""
    run = next((run for run in plan.runs if any(test.statistics == "exact" for test in run.tests)), None)
    images = 0 if run is None else _training_images(run)
    if run is not None and 0 < images < run.exact_images:
        wanted = how_many(run.exact_images, "image")
        yield plan.comparison.top.at(
            f'"statistics": exact ones are over {wanted}, and the training set has {images:,}: '
            f"{{exact: {images}}} reads each once",
            "statistics",
        )


def _training_images(run: Run) -> int:
    """The records of the training set; 0 for a net that reads no database."""
    layers = [layer for layer in reads_data(run.solver.train_net_param) if pb.TRAIN in phases(layer)]
    return record_count(layers[0]) if layers else 0


def _stop(plan: Plan) -> Iterator[str]:
    """An early stop behind the end of a short form, which leaves it as it is at full size; there it is an error."""
    if plan.comparison.quick and (why := unreached_stop(plan)):
        yield plan.comparison.top.at(why, "stop")


def _useless_fields(plan: Plan) -> Iterator[str]:
    """Fields of the solver that the experiment sets or varies, and that do nothing, or no good, in some run."""
    c = plan.comparison
    changes = [change for variant in c.variants for change in variant.changes]
    changes += [level.change for factor in c.factors for level in factor.levels if level.change is not None]
    sections = [c.top.section("factors"), c.set, *(change.set for change in changes)]
    lines: dict[str, str] = {}  # with the first variant that each is of
    for run in plan.runs:
        for line in warnings(run.solver):
            lines.setdefault(line, run.variant)
    for line, variant in lines.items():
        field = line.partition(" ")[0]
        section = next((one for one in sections if one is not None and field in one.values), None)
        if section is not None:
            yield section.at(f'"{section.name(field)}": {line}, in variant "{variant}"', field)


def _behind_the_end(metric: Metric, longest: int) -> Iterator[str]:
    """Places behind the end, in whose stead the end counts."""
    if metric.section is None or (metric.series or "").startswith("cost/"):  # whose points are rounds
        return
    for key, place in (("iter", metric.iter), ("from", metric.start), ("to", metric.end)):
        if place is not None and iteration_of(place, longest) > longest:
            yield metric.section.at(
                f'"{metric.section.name(key)}" is {place:,}, and the longest runs take '
                f"{how_many(longest, 'iteration')}: their end counts",
                key,
            )
