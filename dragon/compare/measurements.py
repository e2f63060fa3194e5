"""What is measured beside the runs of an experiment: speeds, pairs on one batch, memory, cost; each once, by a job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dragon.compare.budget import Speeds, measuring_s
from dragon.compare.config import Variant
from dragon.compare.cost import add_costs, cost_jobs
from dragon.compare.jobs import Job
from dragon.compare.plan import Plan
from dragon.compare.store import key_of, read_result
from dragon.proto.text import format_text

__all__ = ["PAIR_S", "SPEED_S", "Measurements"]

Record = dict[str, Any]

PAIR_S = 6.0  # seconds for which a pair is measured in one setting
SPEED_S = 3.0  # seconds for which the speed of a variant is measured


@dataclass(frozen=True)
class Measurements:
    """The jobs that measure the nets of a plan, and their results, which are files in the store."""

    plan: Plan
    store: Path

    def path(self, kind: str, *definitions: str) -> Path:
        """The result file of a measurement, whose name is a hash of everything that decides the result."""
        return self.store / f"{kind}_{key_of([kind, self.plan.engine, self.plan.precision, *definitions])}.json"

    def speed_jobs(self, at_once: int) -> dict[str, Job]:
        """By variant, the job that measures its speed where so many runs go side by side."""
        jobs = {}
        for variant in self._variants():
            run = self.plan.first(variant.name)
            text = format_text(run.solver)
            tests = [[test.on, test.statistics] for test in run.tests]
            content = {"solver": text, "seconds": SPEED_S, "tests": tests}
            path = self.path("speed", text, str(at_once))
            jobs[variant.name] = self._job(f"speed of {variant.name}", "speed", path, content, variant.name)
        return jobs

    def jobs(self) -> list[Job]:
        """The jobs of pairs, memory and cost."""
        return [*self._pair_jobs().values(), *self._memory_jobs().values(), *cost_jobs(self.plan, self.path)]

    def seconds(self, speeds: Speeds) -> float:
        """Estimated seconds that pairs and memory take. speeds: results of `speed_jobs`, by variant."""
        return measuring_s(self.plan, speeds, PAIR_S)

    def pairs(self) -> list[Record]:
        """The pairs of variants that should compute the same, with what was measured, as in results.json."""
        jobs = self._pair_jobs()
        return [{"first": a, "second": b, **(read_result(job.result) or {})} for (a, b), job in jobs.items()]

    def memory(self) -> dict[str, Record]:
        """By variant, its memory, as in results.json."""
        return {name: read_result(job.result) or {} for name, job in self._memory_jobs().items()}

    def add_costs(self, records: dict[str, Record]) -> None:
        """Add the series of costs to the records of the runs."""
        add_costs(self.plan, self.path, records)

    def _variants(self) -> list[Variant]:
        """The variants that have runs."""
        names = {run.variant for run in self.plan.runs}
        return [variant for variant in self.plan.comparison.variants if variant.name in names]

    def _pair_jobs(self) -> dict[tuple[str, str], Job]:
        names = {variant.name for variant in self._variants()}
        jobs = {}
        for first, second in self.plan.comparison.equal:
            if not names.issuperset((first, second)):
                continue
            texts = self._train_net(first), self._train_net(second)
            content = {"first": texts[0], "second": texts[1], "seed": self._seed, "seconds": PAIR_S}
            name = f"{second} against {first}"
            job = self._job(name, "pair", self.path("pair", *texts), content, first)
            top = self.plan.comparison.top
            jobs[first, second] = replace(job, place=top.at("", "pairs" if "pairs" in top.values else "equal"))
        return jobs

    def _memory_jobs(self) -> dict[str, Job]:
        jobs = {}
        for variant in self._variants():
            text = self._train_net(variant.name)
            content = {"net": text, "seed": self._seed}
            name = f"memory of {variant.name}"
            jobs[variant.name] = self._job(name, "memory", self.path("memory", text), content, variant.name, True)
        return jobs

    @property
    def _seed(self) -> int:
        return self.plan.comparison.seeds[0]

    def _train_net(self, variant: str) -> str:
        return format_text(self.plan.first(variant).solver.train_net_param)

    def _job(self, name: str, kind: str, path: Path, content: Record, variant: str, fresh: bool = False) -> Job:
        """A job. variant: the one whose files it reads."""
        usual = {"kind": kind, "engine": self.plan.engine, "precision": self.plan.precision}
        folder = self.plan.first(variant).net_folder
        place = self.plan.comparison.variant(variant).section.at("")
        return Job(name, path, {**usual, **content, "net_folder": folder}, fresh=fresh, place=place)
