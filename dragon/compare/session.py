"""`dragon compare` from a YAML file to results.json and report.html; finished runs are not repeated."""

from __future__ import annotations

import hashlib
import heapq
import json
import platform
import shlex
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from dragon.compare.config import Comparison, Variant, read_comparison
from dragon.compare.plan import Plan, Run, make_plan
from dragon.compare.pool import Job, Pool
from dragon.compare.progress import Display, make_display
from dragon.compare.report import render
from dragon.compare.results import assemble
from dragon.compare.summary import pair_lines, text_table
from dragon.engines import Options
from dragon.errors import DataError
from dragon.files.atomic import write_atomically
from dragon.files.reading import read_text
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text
from dragon.version import __version__

__all__ = ["compare"]

Record = dict[str, Any]

PAIR_S = 6.0  # seconds for which a pair is measured in one setting
SPEED_S = 3.0  # seconds for which the speed of a variant is measured
_BUDGET_MARGIN = 0.9


def compare(
    file: str | Path,
    output: str | Path | None = None,
    *,
    jobs: int | None = None,
    engine: str | None = None,
    precision: str = "fp32",
    dataset: str | None = None,
    command: str | None = None,
    display: Display | None = None,
) -> Path:
    """Run a comparison, or the runs of it that have no result yet; return the path of the report.

    output: a folder, compare_NAME by default. jobs: runs side by side, by default one for each core. dataset: a folder
    made by `dragon data`, which replaces that of the file. Raises DragonError for wrong definitions or data.
    """
    began = time.perf_counter()
    comparison = read_comparison(file)
    output = Path(output or f"compare_{Path(file).stem}")
    pool = Pool(jobs)
    plan = make_plan(comparison, _engine(engine, precision), precision, dataset)
    try:
        (output / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{output}: cannot be made: {error.strerror}") from None
    session = _Session(plan, output, pool, display or make_display())
    with session.display:
        plan = session.fit_budget(began)
        session.measure()
        session.train()
    results = session.results()
    results["about"] = _about(plan, pool, command or _command(file, output, jobs, engine, precision, dataset))
    write_atomically(output / "results.json", json.dumps(results, indent=1).encode())
    write_atomically(output / "report.html", render(results).encode())
    session.display.say(f"\n{text_table(results)}\n")
    for line in pair_lines(results):
        session.display.say(line)
    if plan.synthetic:
        session.display.say("SYNTHETIC DATA: these figures say nothing about CIFAR-10.")
    session.display.say(f"report: {output / 'report.html'}")
    return output / "report.html"


class _Session:
    """The steps of one comparison in its folder."""

    def __init__(self, plan: Plan, output: Path, pool: Pool, display: Display) -> None:
        self.plan = plan
        self.output = output
        self.pool = pool
        self.display = display
        self.budget_note = ""

    def _job(self, name: str, kind: str, path: Path, **content: Any) -> Job:
        settings = {"kind": kind, "engine": self.plan.engine, "precision": self.plan.precision}
        return Job(name, path, {**settings, **content})

    def _run(self, jobs: Sequence[Job], totals: dict[str, int], alone: bool = False) -> None:
        self.pool.run(
            [job for job in jobs if _read(job.result) is None],
            lambda job, message: self.display.message(job.name, totals.get(job.name, 0), message),
            alone,
        )

    def _measure_path(self, kind: str, *definitions: str) -> Path:
        """The result file of a measurement, whose name is a hash of everything that decides the result."""
        parts = [kind, self.plan.engine, self.plan.precision, __version__, *definitions]
        return self.output / "runs" / f"{kind}_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}.json"

    # -- budget ---------------------------------------------------------------------------------------------
    def fit_budget(self, began: float) -> Plan:
        """Reduce the iterations so that the runs end within the budget; decided once for each definition.

        began: time.perf_counter() at the start of the comparison.
        """
        budget = self.plan.comparison.budget_s
        if budget is None:
            return self.plan
        path = self._measure_path("budget", str(budget), str(self.pool.jobs), *(run.id for run in self.plan.runs))
        decided = _read(path)
        if decided is None:
            speeds = self._speeds()
            left = max(0.0, budget - (time.perf_counter() - began) - self._measuring_s(speeds)) * _BUDGET_MARGIN
            decided = {"iterations": self._affordable(speeds, left)}
            write_atomically(path, json.dumps(decided).encode())
        most = max(run.solver.max_iter for run in self.plan.runs)
        if decided["iterations"] < most:
            self.display.say(f"{decided['iterations']} of {most} iterations fit into the time budget")
            self.plan = self.plan.with_iterations(decided["iterations"])
        return self.plan

    def _speeds(self) -> dict[str, Record]:
        jobs, names = [], {}
        for variant in self.plan.comparison.variants:
            text = format_text(self.plan.first(variant.name).solver)
            names[variant.name] = self._measure_path("speed", text, str(self.pool.jobs))
            name = f"speed of {variant.name}"
            jobs.append(self._job(name, "speed", names[variant.name], solver=text, seconds=SPEED_S))
        self._run(jobs, {})
        return {name: _read(path) or {} for name, path in names.items()}

    def _measuring_s(self, speeds: dict[str, Record]) -> float:
        """Estimated seconds that `measure` takes."""
        step = max(float(s["iteration_s"]) for s in speeds.values())
        settings = 1 if self.plan.engine == "numpy" else 2
        pairs = len(self.plan.comparison.equal) * (settings * max(PAIR_S, 10 * step) + 4 + 20 * step)
        return pairs + len(self.plan.comparison.variants) * (2 + 4 * step)

    def _affordable(self, speeds: dict[str, Record], seconds: float) -> int:
        """Iterations per run, a multiple of the test interval and at least one of those."""

        def cost(run: Run) -> float:
            speed = speeds[run.variant]
            tests = sum(run.solver.test_iter) * float(speed["test_batch_s"]) / run.solver.test_interval
            return float(speed["iteration_s"]) + tests

        ends = [0.0] * self.pool.jobs
        for run in self.plan.runs:
            heapq.heapreplace(ends, ends[0] + cost(run))
        interval = max(run.solver.test_interval for run in self.plan.runs)
        return max(1, int(seconds / max(ends) / interval)) * interval

    # -- measuring ------------------------------------------------------------------------------------------
    def _pair_path(self, first: str, second: str) -> tuple[Path, str, str]:
        texts = [format_text(self.plan.first(name).solver.train_net_param) for name in (first, second)]
        return self._measure_path("pair", *texts), texts[0], texts[1]

    def _memory_path(self, variant: Variant) -> tuple[Path, str]:
        text = format_text(self.plan.first(variant.name).solver.train_net_param)
        return self._measure_path("memory", text), text

    def measure(self) -> None:
        """Measure pairs on one batch, and the memory of each variant; one at a time, on all cores."""
        seed = self.plan.comparison.seeds[0]
        jobs = []
        for first, second in self.plan.comparison.equal:
            path, a, b = self._pair_path(first, second)
            name = f"{second} against {first}"
            jobs.append(self._job(name, "pair", path, first=a, second=b, seed=seed, seconds=PAIR_S))
        for variant in self.plan.comparison.variants:
            path, net = self._memory_path(variant)
            jobs.append(self._job(f"memory of {variant.name}", "memory", path, net=net, seed=seed))
        self._run(jobs, {}, alone=True)

    # -- training -------------------------------------------------------------------------------------------
    def _result(self, run: Run) -> Path:
        return self.output / "runs" / f"{run.id}.json"

    def train(self) -> None:
        """Run every training run that has no result yet."""
        jobs, totals = [], {}
        done = sum(_read(self._result(run)) is not None for run in self.plan.runs)
        if done:
            self.display.say(f"{done} of {len(self.plan.runs)} runs are finished already")
        for run in self.plan.runs:
            name = f"{run.variant}, rate {run.base_lr:g}, seed {run.seed}"
            totals[name] = run.solver.max_iter
            start = format_text(run.start_from) if run.start_from is not None else None
            folder = str(self.output / "runs" / run.id)
            solver = format_text(run.solver)
            jobs.append(
                self._job(
                    name,
                    "train",
                    self._result(run),
                    solver=solver,
                    start_from=start,
                    folder=folder,
                    averages=run.averages,
                )
            )
        self._run(jobs, totals)

    def results(self) -> Record:
        """The content of results.json without "about"."""
        records = {run.id: _read(self._result(run)) or {} for run in self.plan.runs}
        pairs = [
            {"first": a, "second": b, **(_read(self._pair_path(a, b)[0]) or {})} for a, b in self.plan.comparison.equal
        ]
        memory = {v.name: _read(self._memory_path(v)[0]) or {} for v in self.plan.comparison.variants}
        return assemble(self.plan, records, pairs, memory)


def _read(path: Path) -> Record | None:
    """A finished result; None when the file is missing or damaged."""
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _engine(name: str | None, precision: str) -> str:
    """The name of the engine that nets get; "auto" is resolved here, once for all runs."""
    layer = pb.LayerParameter(name="data", type="Input", top=["data"], input_param={"shape": [{"dim": [1]}]})
    net = Net(pb.NetParameter(name="probe", layer=[layer]), engine=name, options=Options(precision=precision), seed=0)
    return net.executor.name


# -- about ---------------------------------------------------------------------------------------------------
def _about(plan: Plan, pool: Pool, command: str) -> Record:
    c = plan.comparison
    jobs = min(pool.jobs, len(plan.runs))
    return {
        "name": c.name,
        "description": c.description,
        "file": c.file,
        "text": c.text,
        "command": command,
        "jobs": jobs,
        "threads": pool.threads(len(plan.runs)),
        "cores": pool.cores,
        "budget": f"{c.budget_s:.0f} s" if c.budget_s else "",
        "machine": f"{_processor()}, {pool.cores} core{'s' if pool.cores > 1 else ''} used",
        "software": f"Dragon {__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"{platform.system()} {platform.machine()}",
        "finished": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "variants": [{"name": v.name, "what": _definition(c, v)} for v in c.variants],
    }


def _definition(c: Comparison, v: Variant) -> str:
    parts = [v.description] if v.description else []
    parts.append(str(v.net or v.solver))
    for section, what in ((v.set, "solver"), (v.layers, "layers")):
        if section is not None:
            parts.append(f"{what}: {json.dumps(section.plain())}")
    if v.averages:
        parts.append(f"running averages: {', '.join(v.averages)}")
    start = next((a for a, b in c.equal if b == v.name), None)
    return "; ".join([*parts, f"starts from the weights of {start}"] if start else parts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.machine()


def _command(
    file: str | Path, output: Path, jobs: int | None, engine: str | None, precision: str, dataset: str | None
) -> str:
    words = ["dragon", "compare", str(file), "--output", str(output)]
    given = {"--jobs": jobs, "--engine": engine, "--dataset": dataset}
    for flag, value in given.items():
        if value is not None:
            words += [flag, str(value)]
    if precision != "fp32":
        words += ["--precision", precision]
    return shlex.join(words)
