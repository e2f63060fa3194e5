"""`dragon compare` from an experiment file to results.json and report.html; finished runs are not repeated."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dragon.compare.about import about, command_line
from dragon.compare.arithmetic import TF32, arithmetic, options_for
from dragon.compare.budget import affordable
from dragon.compare.build import Levels, Settings
from dragon.compare.config import Experiment
from dragon.compare.events import write_events
from dragon.compare.executors import make_pool
from dragon.compare.executors.remote_pool import RemotePool
from dragon.compare.jobs import Job
from dragon.compare.listing import find_experiment
from dragon.compare.measurements import Measurements
from dragon.compare.notes import notes
from dragon.compare.plan import Plan, Run, cell_key, make_plan
from dragon.compare.pool import Pool
from dragon.compare.probing import check_probes
from dragon.compare.progress import Display, make_display
from dragon.compare.questions import check_questions
from dragon.compare.reading import read_experiment
from dragon.compare.report import write_index, write_report
from dragon.compare.results import assemble
from dragon.compare.solver_fields import with_assignments
from dragon.compare.store import read_result
from dragon.compare.summary import closing_lines
from dragon.compare.tuning import Tuning, plan_tuning
from dragon.counting import how_many
from dragon.errors import DataError, UsageError
from dragon.files.atomic import check_writable, write_atomically
from dragon.files.events import need_tensorboard
from dragon.files.folders import make_folder
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment

__all__ = ["compare"]

Record = dict[str, Any]

_BUDGET_MARGIN = 0.9
_OUTPUT = "compare"  # folder of the results of all experiments, and of the store that they share
_STORE = "runs"


def compare(
    file: str | Path,
    output: str | Path | None = None,
    *,
    jobs: int | None = None,
    engine: str | None = None,
    precision: str = "fp32",
    tf32: bool = False,
    dataset: str | None = None,
    quick: bool = False,
    seeds: int | None = None,
    store: str | Path | None = None,
    tensorboard: str | Path | None = None,
    executor: str = "local",
    scheduler: str | None = None,
    assignments: Sequence[Assignment | str] = (),
    command: str | None = None,
    display: Display | None = None,
) -> Path:
    """Run an experiment, or the runs of it that have no result yet; return the path of the report.

    file: its path, or the name of one that ships with Dragon. output: a folder, compare/NAME by default. jobs: runs
    side by side, by default one for each core. tf32: on a GPU, products in TF32. dataset: a folder made by `dragon
    data`, which replaces that of the file. quick: with the changes of the file's key `quick`. seeds: how many, in
    place of the file's. store: folder of finished runs, compare/runs by default, OUTPUT/runs when an output is given.
    tensorboard: a folder for the runs' series as event files. executor: "local", "mpi" or "dask". scheduler: the
    address of Dask's; by default workers are started here. assignments: to fields of every variant's solver and nets,
    also as texts such as "base_lr=0.1".
    Raises DragonError for wrong definitions or data.
    """
    began = time.perf_counter()
    if tensorboard is not None:
        need_tensorboard()
    path = find_experiment(file)
    experiment = read_experiment(path, quick, seeds)
    parsed = [Assignment.parse(one) if isinstance(one, str) else one for one in assignments]
    if parsed:
        experiment = with_assignments(experiment, parsed)
    options = {
        "quick": experiment.quick, "output": output, "store": store, "jobs": jobs, "engine": engine, "dataset": dataset,
        "seeds": seeds, "tensorboard": tensorboard, "precision": None if precision == "fp32" else precision,
        "tf32": tf32,
        "set": [one.text for one in parsed],
        "executor": None if executor == "local" else executor, "scheduler": scheduler,
    }  # fmt: skip
    store = Path(store or (Path(output, _STORE) if output else Path(_OUTPUT, _STORE)))
    output = Path(output or Path(_OUTPUT, path.stem + ("_quick" if experiment.quick else "")))
    pool = make_pool(executor, jobs, scheduler)
    precision = arithmetic(precision, tf32)
    engine = _engine(engine, precision)
    check_probes(experiment.probes)
    session = _Session(experiment, store, pool, display or make_display(), engine, precision, dataset)
    session.check()
    for folder in (output, store, *([] if tensorboard is None else [Path(tensorboard)])):
        _make_folder(folder)
    if quick and not experiment.quick:
        session.display.say(f"{path.name} has no short form: it runs at full size")
    with session.display, pool:
        tuning = session.tune()
        plan = session.fit_budget(began)
        session.measure()
        session.train(plan.runs)
    results = session.results()
    results["tuning"] = tuning
    results["about"] = about(plan, pool, command or command_line(file, options), time.perf_counter() - began)
    write_atomically(output / "results.json", json.dumps(results, indent=1).encode())
    report = write_report(results, output)
    if tensorboard is not None:
        session.write_events(Path(tensorboard))
    for line in closing_lines(results, report):
        session.display.say(line)
    if output.parent.name == _OUTPUT:  # the folder of all experiments
        session.display.say(f"all experiments: {write_index(output.parent)}")
    return report


def _make_folder(folder: Path) -> None:
    """Make a folder that results go into, and see that they can be written. Raises DataError, OSError."""
    try:
        make_folder(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}") from None
    for name in ("results.json", "report.html"):
        check_writable(folder / name)


class _Session:
    """The steps of one experiment. plan: its runs, after tuning at the values that were chosen."""

    def __init__(
        self, experiment: Experiment, store: Path, pool: Pool | RemotePool, display: Display, engine: str,
        precision: str, dataset: str | None,
    ) -> None:  # fmt: skip
        self.experiment = experiment
        self.store = store
        self.pool = pool
        self.display = display
        self.engine = engine
        self.precision = precision
        self.dataset = dataset
        self.plan = make_plan(experiment, engine, precision, dataset, share=self._share)
        self.tuning = self._plan_tuning()

    def _plan_tuning(self) -> Tuning | None:
        tune = self.experiment.tune
        if tune is None:
            return None
        return plan_tuning(self.experiment, tune, self.engine, self.precision, self.dataset, self._share)

    def _share(self, runs: int) -> int:
        """The threads of each of so many runs."""
        return self.pool.threads(runs)

    def check(self) -> None:
        """Raise UsageError for questions that the runs cannot answer, and for changes that fit no net."""
        check_questions(self.plan)
        for line in notes(self.plan):
            self.display.say(f"note: {line}")
        if self.experiment.net_changes is not None:
            self.experiment.net_changes.check()

    def _run(self, jobs: Sequence[Job], totals: Mapping[str, int], alone: bool = False) -> None:
        self.pool.run(
            [job for job in jobs if read_result(job.result) is None],
            lambda job, message: self.display.message(job.name, totals.get(job.name, 0), message),
            alone,
        )

    @property
    def _measurements(self) -> Measurements:
        return Measurements(self.plan, self.store)

    # -- tuning ---------------------------------------------------------------------------------------------
    def tune(self) -> list[Record]:
        """Run the grid of `tune`, and plan the experiment's runs at the best points; the entries of results.json."""
        tuning = self.tuning
        if tuning is None:
            return []
        self.display.say(
            f"tuning: {how_many(len(tuning.plans), 'point')} of the grid for each variant, "
            f"{how_many(len(tuning.runs), 'run')}"
        )
        self.train(tuning.runs, tuning.titles)
        entries = tuning.choose(self._records(tuning.runs))
        chosen = {cell_key(entry["variant"], entry["levels"]): entry["chosen"] for entry in entries}
        for entry in entries:
            where = ", ".join([entry["variant"], *(f"{name} {level}" for name, level in entry["levels"].items())])
            point = ", ".join(f"{name} {value:g}" for name, value in entry["chosen"].items())
            self.display.say(f"tuned {where}: {point}")
        dataset = self.dataset or self.experiment.dataset

        def settings(variant: str, levels: Levels) -> Settings:
            return Settings(dataset, tuned=chosen[cell_key(variant, levels)])

        self.plan = make_plan(self.experiment, self.engine, self.precision, self.dataset, settings, share=self._share)
        return entries

    # -- budget ---------------------------------------------------------------------------------------------
    def fit_budget(self, began: float) -> Plan:
        """Reduce the iterations so that the runs end within the budget; decided once for each definition.

        began: time.perf_counter() at the start of the comparison.
        """
        budget = self.experiment.budget_s
        if budget is None:
            return self.plan
        path = self._measurements.path("budget", str(budget), str(self.pool.jobs), *(run.id for run in self.plan.runs))
        decided = read_result(path)
        if decided is None:
            jobs = self._measurements.speed_jobs(self.pool.jobs)
            self._run(list(jobs.values()), {})
            speeds = {name: read_result(job.result) or {} for name, job in jobs.items()}
            elapsed = time.perf_counter() - began
            left = max(0.0, budget - elapsed - self._measurements.seconds(speeds)) * _BUDGET_MARGIN
            decided = {"iterations": affordable(self.plan, speeds, self.pool.jobs, left)}
            write_atomically(path, json.dumps(decided).encode())
        most = max(run.solver.max_iter for run in self.plan.runs)
        if decided["iterations"] < most:
            fitting = decided["iterations"]
            self.display.say(f"runs take {fitting:,} of {how_many(most, 'iteration')}, to end within {budget:g} s")
            self.plan = self.plan.with_iterations(decided["iterations"])
        return self.plan

    def measure(self) -> None:
        """Measure pairs on one batch, memory and cost of the variants; one at a time, on all cores."""
        self._run(self._measurements.jobs(), {}, alone=True)

    # -- training -------------------------------------------------------------------------------------------
    def _result(self, run: Run) -> Path:
        return self.store / f"{run.id}.json"

    def _records(self, runs: Sequence[Run]) -> dict[str, Record]:
        return {run.id: read_result(self._result(run)) or {} for run in runs}

    def train(self, runs: Sequence[Run], titles: Mapping[str, str] | None = None) -> None:
        """Run every training run that has no result yet; runs that compute the same are one.

        titles: by the run's id, for progress lines; by default its variant, levels and seed.
        """
        different = {run.id: run for run in runs}
        jobs, totals = [], {}
        done = sum(read_result(self._result(run)) is not None for run in different.values())
        if done:
            self.display.say(f"finished already: {done} of {how_many(len(different), 'run')}")
        for run in different.values():
            name = (titles or {}).get(run.id, run.title)
            totals[name] = run.solver.max_iter
            content = {**run.content(self.engine, self.precision), "kind": "train", "folder": str(self.store / run.id)}
            place = self.experiment.variant(run.variant).section.at("")
            jobs.append(Job(name, self._result(run), content, run.threads, place=place))
        self._run(jobs, totals)

    def write_events(self, folder: Path) -> None:
        """Write the series of the runs as event files below `folder`."""
        write_events(self.plan.runs, self._records(self.plan.runs), folder)

    def results(self) -> Record:
        """The content of results.json without "about"."""
        records = self._records(self.plan.runs)
        self._measurements.add_costs(records)
        return assemble(self.plan, records, self._measurements.pairs(), self._measurements.memory())


def _engine(name: str | None, precision: str) -> str:
    """The name of the engine that nets get; "auto" is resolved here, once for all runs."""
    layer = pb.LayerParameter(name="data", type="Input", top=["data"], input_param={"shape": [{"dim": [1]}]})
    net = Net(pb.NetParameter(name="probe", layer=[layer]), engine=name, options=options_for(precision), seed=0)
    if precision == TF32 and net.executor.name != "cuda":
        raise UsageError(
            f"--tf32 is for a GPU, and engine {net.executor.name} runs on the CPU: add --engine cuda, or leave it out"
        )
    return net.executor.name
