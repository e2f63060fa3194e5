"""The time of a training step: forward and backward of the nets of all cells in turn, in one process, alone.

Each seed is a measurement of its own. Its times become series of that seed's runs, by round in place of iteration:
cost/SETTING/forward, cost/SETTING/backward and their sum, cost/SETTING/step, in milliseconds. The update is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dragon.bases.layer import TRAIN
from dragon.compare.arithmetic import options_for
from dragon.compare.config import Cost
from dragon.compare.jobs import Job
from dragon.compare.pairs import feed, first_batch
from dragon.compare.plan import Plan, Run
from dragon.compare.store import read_result
from dragon.compare.weights import as_inputs
from dragon.errors import EngineError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import format_text

__all__ = ["PARTS", "add_costs", "cost_jobs", "measure_cost"]

Record = dict[str, Any]
Series = dict[str, tuple[list[int], list[float]]]

PARTS = ("forward", "backward", "step")
_WARM_UP = 2
_MIN_ROUNDS, _MAX_ROUNDS = 5, 1000


def measure_cost(
    nets: Sequence[Definition[pb.NetParameter]], seed: int, settings: Sequence[Record], seconds: float
) -> list[Series]:
    """The series of each net. settings: dicts of a dragon.compare.config.CostSetting, each for `seconds`.

    A round times each net once on its first batch; the order is turned round by round, so that what else the machine
    does counts against all alike. A setting that this machine does not have is left out.
    """
    batches = [first_batch(net, seed) for net in nets]
    found: list[Series] = [{} for _ in nets]
    for setting in settings:
        options = options_for(setting["precision"], fuse=setting["fuse"])
        built: list[Net] = []
        try:
            for definition, (batch, shapes) in zip(nets, batches, strict=True):
                fed = as_inputs(definition.message, shapes, TRAIN)
                built.append(Net(fed, phase=TRAIN, engine=setting["engine"], seed=seed, options=options))
                feed(built[-1], batch)
            rounds = _rounds(built, seconds)
        except EngineError:  # such as bf16 on a processor without it
            continue
        finally:
            for net in built:
                net.close()
        numbers = list(range(1, len(rounds) + 1))
        for k, series in enumerate(found):
            for p, part in enumerate(PARTS):
                series[f"cost/{setting['name']}/{part}"] = (numbers, [times[k][p] for times in rounds])
    return found


def _rounds(nets: Sequence[Net], seconds: float) -> list[list[tuple[float, float, float]]]:
    """For each round the times of each net, in the order of PARTS."""
    for net in nets:
        for _ in range(_WARM_UP):
            _step(net)
    rounds: list[list[tuple[float, float, float]]] = []
    until = time.perf_counter() + seconds
    while len(rounds) < _MIN_ROUNDS or (time.perf_counter() < until and len(rounds) < _MAX_ROUNDS):
        first = len(rounds) % len(nets)
        order = [*range(first, len(nets)), *range(first)]
        times = {k: _step(nets[k]) for k in order}
        rounds.append([times[k] for k in range(len(nets))])
    return rounds


def _step(net: Net) -> tuple[float, float, float]:
    net.clear_param_diffs()
    begin = time.perf_counter()
    net.run_forward()
    middle = time.perf_counter()
    net.run_backward()
    end = time.perf_counter()
    return (middle - begin) * 1e3, (end - middle) * 1e3, (end - begin) * 1e3


# -- in an experiment ----------------------------------------------------------------------------------------
def cost_jobs(plan: Plan, path: Callable[..., Path]) -> list[Job]:
    """One job for each seed, of an experiment with `cost`. path: the file of a measurement, from what decides it."""
    cost = plan.comparison.cost
    if cost is None:
        return []
    jobs = []
    for seed, texts in _by_seed(plan).items():
        settings = _settings(plan, cost)
        content = {"kind": "cost", "nets": list(texts), "seed": seed, "settings": settings, "seconds": cost.seconds}
        result = path("cost", str(content))  # folders do not decide it
        content["net_folders"] = [runs[0].net_folder for runs in texts.values()]
        jobs.append(Job(f"cost, seed {seed}", result, content))
    return jobs


def add_costs(plan: Plan, path: Callable[..., Path], records: dict[str, Record]) -> None:
    """Add the series that were measured to the runs' records."""
    for job in cost_jobs(plan, path):
        found = read_result(job.result) or {"series": []}
        for runs, series in zip(_by_seed(plan)[job.content["seed"]].values(), found["series"], strict=True):
            for run in runs:
                records[run.id]["series"] |= series


def _by_seed(plan: Plan) -> dict[int, dict[str, list[Run]]]:
    """For each seed the different training nets, as text, with the runs that have them."""
    found: dict[int, dict[str, list[Run]]] = {}
    for run in plan.runs:
        found.setdefault(run.seed, {}).setdefault(format_text(run.solver.train_net_param), []).append(run)
    return found


def _settings(plan: Plan, cost: Cost) -> list[Record]:
    """The settings, with engine and precision of the runs where they name none."""
    usual = {"engine": plan.engine, "precision": plan.precision}
    return [{**asdict(one), **{key: getattr(one, key) or usual[key] for key in usual}} for one in cost.settings]
