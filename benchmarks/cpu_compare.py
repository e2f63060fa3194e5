"""CPU benchmarks that time steps of workers in turn: training, inference, the cost of BN, threads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from benchmarks._harness import BenchmarkError, Candidate, Series, Worker, interleave, ratio
from benchmarks.cpu_nets import SOLVER

__all__ = ["NETS", "Bench", "Comparison", "Result", "batch_norm", "facts", "inference", "step", "threads", "winograd"]

NETS = (
    "cifar10_quick", "cifar10_quick_bn_split", "cifar10_quick_bn_merged", "cifar10_full", "lenet",
    "resnet20_cifar10", "vgg_a_cifar10",
)  # fmt: skip
OURS: dict[str, dict[str, Any]] = {"fp32": {}, "bf16": {"precision": "bf16"}}
PEER: dict[str, dict[str, Any]] = {
    "eager": {},
    "channels_last": {"channels_last": True},
    "compiled": {"channels_last": True, "compiled": True},
    "bf16 channels_last": {"channels_last": True, "bf16": True},
    "bf16 compiled": {"channels_last": True, "bf16": True, "compiled": True},
}
_PEER_FP32 = ("eager", "channels_last", "compiled")
_PEER_BF16 = ("bf16 channels_last", "bf16 compiled")
_TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}
Result: TypeAlias = dict[str, Any]


@dataclass
class Bench:
    """Settings of the command line. peer: the interpreter that has PyTorch, None to measure without it."""

    rounds: int = 11
    peer: str | None = None
    nets: Sequence[str] = NETS
    batches: Sequence[int] | None = None
    compiled: bool = True
    engine: str = "onednn"
    bf16: bool = True
    block_ms: float = 60
    iterations: int = 600  # of `dragon train`
    threads: int | None = None  # None: the default of each side
    clock: str = "wall"  # or cpu: processor time, for one thread on a busy machine

    def ours(self) -> dict[str, dict[str, Any]]:
        return {name: self._threaded(form) for name, form in OURS.items() if self.bf16 or name != "bf16"}

    def peers(self) -> dict[str, dict[str, Any]]:
        if self.peer is None:
            return {}
        return {name: self._threaded(form) for name, form in PEER.items() if self.compiled or "compiled" not in name}

    def _threaded(self, form: dict[str, Any]) -> dict[str, Any]:
        return form if self.threads is None else {**form, "threads": self.threads}

    @contextmanager
    def workers(self) -> Iterator[dict[str, Worker]]:
        """ "dragon" and, where there is one, "PyTorch"."""
        with ExitStack() as stack:
            started = {"dragon": stack.enter_context(Worker("benchmarks.cpu_ours"))}
            if self.peer is not None:
                started["PyTorch"] = stack.enter_context(Worker("benchmarks.cpu_torch", self.peer))
            yield started

    def batches_or(self, usual: Sequence[int]) -> Sequence[int]:
        return self.batches or usual


class Comparison:
    """Collects the candidates of one comparison, and times them."""

    def __init__(self, bench: Bench, workers: dict[str, Worker]) -> None:
        self.bench = bench
        self.workers = workers
        self.candidates: list[Candidate] = []
        self.notes: list[str] = []
        self._folder = tempfile.TemporaryDirectory()
        self._exported: dict[tuple[str, str, int], dict[str, Any]] = {}

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
        for name, worker in self.workers.items():
            worker.ask("drop")
            if name == "PyTorch":
                worker.ask("reset")

    def _export(self, mode: str, net: str, batch: int) -> dict[str, Any]:
        key = mode, net, batch
        if key not in self._exported:
            folder = tempfile.mkdtemp(dir=self._folder.name)
            self._exported[key] = self.workers["dragon"].ask(
                "export", mode=mode, net=net, batch=batch, folder=folder, engine=self.bench.engine
            )
        return self._exported[key]

    def ours(self, name: str, mode: str, net: str, batch: int, **form: Any) -> None:
        """Add a candidate of Dragon's."""
        if mode == "infer":
            form["weights"] = self._export(mode, net, batch)["weights"]
        worker = self.workers["dragon"]
        settings = {"mode": mode, "net": net, "batch": batch, "engine": self.bench.engine, **form}
        worker.ask("make", candidate=name, **settings)
        self.candidates.append(Candidate(name, worker, clock=self.bench.clock))

    def peer(self, name: str, mode: str, net: str, batch: int, **form: Any) -> None:
        """Add a candidate of the peer; a compiled one that does not run there is left out, with a note."""
        exported = self._export(mode, net, batch)
        worker = self.workers["PyTorch"]
        try:
            worker.ask(
                "make", candidate=name, mode=mode, solver=SOLVER,
                layers=exported["layers"], arrays=exported["arrays"], **form,
            )  # fmt: skip
            worker.ask("time", candidate=name, count=1, warm=0)
        except BenchmarkError as error:
            if not form.get("compiled"):
                raise
            self.notes.append(f"{name} left out: {error}"[:300])
            return
        self.candidates.append(Candidate(name, worker, clock=self.bench.clock))

    def check(self, mode: str, net: str, batch: int) -> None:
        """Raise BenchmarkError unless both sides compute the same scores, and the same losses in three updates."""
        exported = self._export(mode, net, batch)
        own = {"mode": mode, "net": net, "batch": batch, "engine": self.bench.engine}
        if mode == "infer":
            own["weights"] = exported["weights"]
        theirs = self.workers["PyTorch"].ask(
            "answer", mode=mode, layers=exported["layers"], arrays=exported["arrays"], solver=SOLVER
        )
        for name, form in OURS.items():
            if name not in self.bench.ours():
                continue
            mine = self.workers["dragon"].ask("answer", **own, **form)
            for what in ("scores", "losses"):
                largest = max(map(abs, theirs[what]), default=0)
                worst = max((abs(a - b) for a, b in zip(mine[what], theirs[what], strict=True)), default=0)
                if not worst <= _TOLERANCE[name] * largest:
                    raise BenchmarkError(
                        f"{net}, batch {batch}, {name}: {what} differ by {worst:.3g} where the largest is {largest:.3g}"
                    )

    def run(self) -> dict[str, Series]:
        return interleave(self.candidates, self.bench.rounds, self.bench.block_ms)


def facts(series: dict[str, Series], notes: Sequence[str]) -> Result:
    """The record of a comparison, without ratios."""
    return {"candidates": {name: s.facts() for name, s in series.items()}, "notes": list(notes), "ratios": {}}


def _against(series: dict[str, Series], ours: str, peers: Sequence[str]) -> tuple[str, float, float] | None:
    """The fastest of `peers`, and how many times faster ours is: median of pairs, minima."""
    there = [name for name in peers if name in series]
    if ours not in series or not there:
        return None
    fastest = min(there, key=lambda name: series[name].median)
    return fastest, *ratio(series[fastest], series[ours])


_RATIOS = {
    "fp32 / eager": ("fp32", ("eager",)),
    "fp32 / best fp32": ("fp32", _PEER_FP32),
    "bf16 / eager": ("bf16", ("eager",)),
    "bf16 / best bf16": ("bf16", _PEER_BF16),
    "best / best": ("", (*_PEER_FP32, *_PEER_BF16)),
}


def _compare(bench: Bench, workers: dict[str, Worker], mode: str, net: str, batch: int) -> Result:
    with Comparison(bench, workers) as comparison:
        if bench.peer is not None:
            comparison.check(mode, net, batch)
        for name, form in bench.ours().items():
            comparison.ours(name, mode, net, batch, **form)
        for name, form in bench.peers().items():
            comparison.peer(name, mode, net, batch, **form)
        series = comparison.run()
        result = facts(series, comparison.notes) | {"net": net, "batch": batch}
    fastest = min(bench.ours(), key=lambda name: series[name].median)
    for name, (ours, peers) in _RATIOS.items():
        found = _against(series, ours or fastest, peers)
        if found is not None:
            against, median, minimum = found
            result["ratios"][name] = {"against": against, "median": round(median, 3), "min": round(minimum, 3)}
    return result


def step(bench: Bench) -> Iterator[Result]:
    """Training step: forward, backward, SGD."""
    with bench.workers() as workers:
        for net in bench.nets:
            for batch in bench.batches_or((100, 16)):
                yield _compare(bench, workers, "train", net, batch)


def inference(bench: Bench) -> Iterator[Result]:
    """From images in memory to scores."""
    with bench.workers() as workers:
        for net in bench.nets:
            for batch in bench.batches_or((1, 100)):
                yield _compare(bench, workers, "infer", net, batch)


_VARIANTS = {
    "plain": ("cifar10_quick", True),
    "merged": ("cifar10_quick_bn_merged", True),
    "merged, unfused": ("cifar10_quick_bn_merged", False),
    "split": ("cifar10_quick_bn_split", True),
    "split, unfused": ("cifar10_quick_bn_split", False),
}


def batch_norm(bench: Bench) -> Iterator[Result]:
    """What BN adds to a training step of CIFAR-10 quick: merged and split, fused and not."""
    batch = bench.batches_or((100,))[0]
    with bench.workers() as workers, Comparison(bench, workers) as comparison:
        for precision, form in bench.ours().items():
            for variant, (net, fuse) in _VARIANTS.items():
                comparison.ours(f"{precision}: {variant}", "train", net, batch, fuse=fuse, **form)
        for name, form in bench.peers().items():
            for variant, (net, fuse) in _VARIANTS.items():
                if fuse:
                    comparison.peer(f"{name}: {variant}", "train", net, batch, **form)
        series = comparison.run()
        result = facts(series, comparison.notes) | {"net": "cifar10_quick", "batch": batch}
    for name, one in series.items():
        base = series.get(f"{name.split(': ')[0]}: plain")
        if base is not None:
            median, minimum = ratio(one, base)
            result["ratios"][name] = {"share": round(1 - 1 / median, 4), "share of minima": round(1 - 1 / minimum, 4)}
    yield result


def threads(bench: Bench) -> Iterator[Result]:
    """One thread against two."""
    for net in [name for name in ("cifar10_quick", "cifar10_quick_bn_merged", "lenet") if name in bench.nets]:
        batch = bench.batches_or((100,))[0]
        with bench.workers() as workers, Comparison(bench, workers) as comparison:
            for count in (1, 2):
                for name, form in bench.ours().items():
                    comparison.ours(f"{name}: {count}", "train", net, batch, **{**form, "threads": count})
                for name, form in bench.peers().items():
                    if not form.get("compiled"):
                        comparison.peer(f"{name}: {count}", "train", net, batch, **{**form, "threads": count})
            series = comparison.run()
            result = facts(series, comparison.notes) | {"net": net, "batch": batch}
        for name in {candidate.split(": ")[0] for candidate in series}:
            median, minimum = ratio(series[f"{name}: 1"], series[f"{name}: 2"])
            result["ratios"][name] = {"median": round(median, 3), "min": round(minimum, 3)}
        yield result


def winograd(bench: Bench) -> Iterator[Result]:
    """Convolutions with fewer products against direct sums, in training and inference."""
    with bench.workers() as workers:
        for net in bench.nets:
            for batch in bench.batches_or((100, 16)):
                with Comparison(bench, {"dragon": workers["dragon"]}) as comparison:
                    for mode in ("train", "infer"):
                        for name, form in bench.ours().items():
                            for how in (True, False):
                                label = f"{name} {mode}" + ("" if how else ", direct")
                                comparison.ours(label, mode, net, batch, winograd=how, **form)
                    series = comparison.run()
                    result = facts(series, comparison.notes) | {"net": net, "batch": batch}
                for name in [name for name in series if not name.endswith(", direct")]:
                    median, minimum = ratio(series[f"{name}, direct"], series[name])
                    result["ratios"][name] = {"median": round(median, 3), "min": round(minimum, 3)}
                yield result
