"""Times training steps on a GPU, Dragon in each precision and PyTorch in several forms, in turn in several processes.

A process holds one precision of one library. All start together, but use the GPU one at a time while libraries try out
algorithms; only compilers run meanwhile.
"""

from __future__ import annotations

import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._harness import BenchmarkError, Candidate, Series, Worker, interleave
from benchmarks.cpu_nets import export_arrays, inputs, net_for
from benchmarks.gpu_cases import OURS, PEERS, Case, Form

__all__ = ["Measured", "Settings", "export", "training"]

SET_UP = 0.75  # part of a case's time after which nothing more is set up
FARTHEST = {"fp32": 1e-3, "tf32": 0.01, "bf16": 0.05}  # of a peer's first loss from ours, relative
LONGEST = 400  # characters of an error; those of compilers quote whole programs


@dataclass(frozen=True)
class Settings:
    """How a case is measured.

    compile_seconds: the most that setting up one compiled form may take. only: a regular expression; peers whose names
    it does not find are left out.
    """

    seconds: float = 120
    rounds: int = 7
    block_ms: float = 60
    compile_seconds: float = 60
    deterministic: bool = True  # cuDNN's algorithms of the peers; ours always are
    with_torch: bool = True
    profile: bool = False
    only: str = ""
    device: str = "cuda"  # of the peers
    ours: str = "benchmarks.gpu_ours"
    peers: str = "benchmarks.gpu_torch"
    env: Mapping[str, str] = field(default_factory=dict)

    def forms(self) -> dict[str, Form]:
        """The peers to measure, by name."""
        return {name: form for name, form in PEERS.items() if re.search(self.only, name)}


@dataclass
class Measured:
    """What came of a case: times by the wall's clock and the GPU's, and what each candidate said of itself."""

    wall: dict[str, Series]
    gpu: dict[str, Series]
    made: dict[str, dict[str, Any]]
    profiles: dict[str, list[list[Any]]] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            name: {**one.facts(), **({"gpu_ms": self.gpu[name].facts()} if name in self.gpu else {}), **self.made[name]}
            for name, one in self.wall.items()
        }


class _Groups:
    """The processes of a case, and what they hold."""

    def __init__(self, case: Case, settings: Settings, arrays: str, say: Callable[[str], object]) -> None:
        self.case = case
        self.settings = settings
        self.say = say
        self.made: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, Worker] = {}
        self.begin = time.monotonic()
        self._arrays = arrays
        self._gpu = threading.Lock()  # held while algorithms are tried out
        self._said = threading.Lock()
        self._processes: list[Worker] = []

    def left(self, part: float = 1) -> float:
        """Seconds until a part of the case's time is over."""
        return self.begin + part * self.settings.seconds - time.monotonic()

    def start(self) -> None:
        """Set up every candidate that can be."""
        chosen = self.settings
        with ThreadPoolExecutor(len(OURS) + len(FARTHEST)) as pool:
            running = [
                pool.submit(self._start_ours, self._worker(chosen.ours), name, precision, tf32)
                for name, (precision, tf32) in OURS.items()
            ]
            if chosen.with_torch:
                precisions = dict.fromkeys(form.precision for form in chosen.forms().values())
                running += [pool.submit(self._start_peers, self._worker(chosen.peers), p) for p in precisions]
            for one in running:
                one.result()

    def _worker(self, module: str) -> Worker:
        worker = Worker(module, env=self.settings.env)
        self._processes.append(worker)
        return worker

    def _start_ours(self, worker: Worker, name: str, precision: str, tf32: bool) -> None:
        if self._ask(name, worker, "facts") is None:
            return
        with self._gpu:
            made = self._ask(
                name, worker, "make", candidate=name, net=self.case.net, batch=self.case.batch, size=self.case.size,
                precision=precision, tf32=tf32,
            )  # fmt: skip
        if made is not None:
            self.made[name], self.workers[name] = made, worker

    def _start_peers(self, worker: Worker, precision: str) -> None:
        chosen = self.settings
        forms = {name: form for name, form in chosen.forms().items() if form.precision == precision}
        tf32 = precision == "tf32"
        if self._ask(f"torch, {precision}", worker, "facts", tf32=tf32, deterministic=chosen.deterministic) is None:
            return
        with self._gpu:
            for name, form in forms.items():
                if not form.compiled and not self._add_peer(worker, name, form, self.left(SET_UP)):
                    return
        for name, form in forms.items():
            if form.compiled:
                seconds = min(chosen.compile_seconds, self.left(SET_UP))
                if not self._add_peer(worker, name, form, seconds):
                    return

    def _add_peer(self, worker: Worker, name: str, form: Form, seconds: float) -> bool:
        """Set up one form; whether the process lives on."""
        if seconds < 1:
            self._tell(f"{self.case}: {name} was skipped: no time is left to set it up")
            return True
        made = self._ask(
            name, worker, "make", seconds + 15, candidate=name, net=self.case.net, batch=self.case.batch,
            size=self.case.size, arrays=self._arrays, bf16=form.precision == "bf16", channels_last=form.channels_last,
            compiled=form.compiled, graph=form.graph, device=self.settings.device, seconds=seconds,
        )  # fmt: skip
        if made is not None:
            self.made[name], self.workers[name] = made, worker
        elif not worker.is_running:
            self.drop(worker)
        return worker.is_running

    def drop(self, worker: Worker) -> None:
        """Forget what a process holds that has ended."""
        for lost in [name for name, holder in self.workers.items() if holder is worker]:
            self._tell(f"{self.case}: {lost} was lost with its process")
            del self.workers[lost], self.made[lost]

    def _ask(self, name: str, worker: Worker, do: str, limit: float | None = None, **settings: Any) -> Any:
        try:
            return worker.ask_within(max(5.0, self.left(SET_UP)) if limit is None else limit, do, **settings)
        except BenchmarkError as error:  # out of memory, an operator that a release lacks, too slow, ...
            self._tell(f"{self.case}: {name} does not run: {str(error)[:LONGEST]}")
            return None

    def _tell(self, line: str) -> None:
        with self._said:
            self.say(line)

    def close(self) -> None:
        """End the processes."""
        for worker in self._processes:
            worker.close()


def training(case: Case, settings: Settings, say: Callable[[str], object]) -> Measured:
    """Measure a training step of every candidate that can be set up in time.

    Raises BenchmarkError if none of Dragon's runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        arrays = str(Path(folder) / "arrays.npz")
        if settings.with_torch:
            export(case, arrays)
        groups = _Groups(case, settings, arrays, say)
        try:
            groups.start()
            ours = [name for name in OURS if name in groups.made]
            if not ours:
                raise BenchmarkError(f"{case}: nothing of ours runs")
            _compare_losses(groups, ours[0])
            measured = _measure(groups)
            if settings.profile:
                measured.profiles.update(_profiles(groups, [name for name in ours if name in measured.wall]))
            return measured
        finally:
            groups.close()


def _measure(groups: _Groups) -> Measured:
    times: dict[str, list[float | None]] = {}
    failed: list[str] = []

    def timed(name: str, count: int) -> float:
        try:
            found = groups.workers[name].ask_within(max(20.0, groups.left() + 10), "time", candidate=name, count=count)
        except BenchmarkError:
            failed.append(name)
            raise
        times.setdefault(name, []).append(found["gpu"])
        return float(found["wall"])

    chosen = groups.settings
    while True:
        names = [name for name in (*OURS, *PEERS) if name in groups.made]
        candidates = [Candidate(name, run=lambda count, name=name: timed(name, count)) for name in names]  # type: ignore[misc]
        try:
            wall = interleave(candidates, chosen.rounds, chosen.block_ms, groups.begin + chosen.seconds)
            break
        except BenchmarkError as error:
            groups.say(f"{groups.case}: {failed[-1]} failed while it was timed: {error}")
            worker = groups.workers.pop(failed[-1])
            del groups.made[failed[-1]]
            if not worker.is_running:
                groups.drop(worker)
    gpu = {}
    for name, series in wall.items():
        values = [value for value in times[name][-len(series.ms) :] if value is not None]
        if values:
            gpu[name] = Series(values)
    return Measured(wall, gpu, {name: groups.made[name] for name in names})


def _compare_losses(groups: _Groups, first: str) -> None:
    """Leave out a peer whose first loss is not ours: it computes something else."""
    expected = groups.made[first]["loss"]
    for name in [name for name in groups.made if name in PEERS]:
        loss, farthest = groups.made[name]["loss"], FARTHEST[PEERS[name].precision]
        if not abs(loss - expected) <= farthest * abs(expected):
            groups.say(f"{groups.case}: {name} is left out: its first loss is {loss:.6g}, ours is {expected:.6g}")
            del groups.made[name]


def _profiles(groups: _Groups, names: list[str]) -> dict[str, list[list[Any]]]:
    found = {}
    for name in names:
        if groups.left() < 1:
            groups.say(f"{groups.case}: no kernel table of {name}: no time is left")
            continue
        try:
            found[name] = groups.workers[name].ask_within(groups.left(), "profile", candidate=name)
        except BenchmarkError as error:
            groups.say(f"{groups.case}: no kernel table of {name}: {error}")
    return found


def export(case: Case, path: str) -> None:
    """Write the weights and inputs that every peer of a case begins with to an .npz file."""
    from dragon.bases.layer import TRAIN
    from dragon.graph.net import Net

    net = Net(net_for(case.net, case.batch, TRAIN, case.size), TRAIN, engine="numpy", seed=1)
    images, labels = inputs(case.net, net.blobs["data"].shape)
    net.blobs["data"].data[...] = images
    net.blobs["label"].data[...] = labels
    export_arrays(net, path)
    net.close()
