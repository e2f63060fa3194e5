"""With and without any probe, training gives the same bits; and a run in two parts gives the same series as one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.data import write_synthetic
from dragon.probes import Probe, ProbeObserver, Run, probe_names
from dragon.solver.solver import Observer, Solver
from tests.helpers import TRAINABLE, weights_of
from tests.probes.helpers import IMAGES, make_solver, observe

ENGINES = ("numpy", "onednn")
# small settings, where the defaults would take long
SETTINGS: dict[str, dict[str, Any]] = {
    "adversarial": {"steps": 2},
    "hessian": {"iterations": 2},
    "jacobian": {"images": 2},
    "precise_bn": {"samples": [10], "images": 8},
    "test_batch": {"sizes": [1, 4], "images": 8},
}
EVERY = 2


def settings(name: str) -> dict[str, Any]:
    return {"every": EVERY, **SETTINGS.get(name, {})}


def everything(solver: Solver) -> dict[str, np.ndarray[Any, Any]]:
    """Weights, statistics, momentum, losses, random streams and positions."""
    found = weights_of(solver.net)
    for s, slot in enumerate(solver.updater.history):
        found |= {f"history {s}/{k}": blob.peek().copy() for k, blob in enumerate(slot)}
    found["losses"] = np.array(solver.losses)
    for net in (solver.net, *solver.test_nets):
        for i, layer in enumerate(net.layers):
            found[f"draws {net.phase}/{i}"] = np.array(layer.rng.draws)
            found |= {f"state {net.phase}/{i}/{k}": np.array(v) for k, v in layer.state().items()}
    return found


def trained(engine: str, *probes: str, net: str = TRAINABLE) -> dict[str, np.ndarray[Any, Any]]:
    solver = make_solver(net, engine)
    observer = observe(solver, *((name, settings(name)) for name in probes))
    solver.solve()
    assert all(any(f"/{name}/" in key for key in observer.series()) for name in probes), observer.series()
    solver.close()
    return everything(solver)


def same(a: dict[str, np.ndarray[Any, Any]], b: dict[str, np.ndarray[Any, Any]]) -> None:
    assert a.keys() == b.keys()
    assert not [key for key in a if a[key].tobytes() != b[key].tobytes()]


@pytest.fixture(scope="module")
def plain() -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    return {engine: trained(engine) for engine in ENGINES}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", probe_names())
def test_the_same_bits(name: str, engine: str, plain: dict[str, dict[str, np.ndarray[Any, Any]]]) -> None:
    same(trained(engine, name), plain[engine])


class Meddler(Probe):
    """Does one thing that a probe must not do."""

    name = "meddler"

    def __init__(self, meddle: Callable[[Run], object]) -> None:
        super().__init__(every=EVERY)
        self.meddle = meddle

    def measure(self, run: Run) -> dict[str, float]:
        self.meddle(run)
        return {}


@pytest.mark.parametrize(
    "meddle",
    [
        lambda run: run.solver.net.layers[4].rng.raw(1),
        lambda run: run.solver.net.run_forward(),
        lambda run: run.solver.test_nets[0].run_forward(),
        lambda run: run.solver.net.params["bn"][2].data.fill(0),
    ],
)
def test_what_a_probe_must_not_do_is_seen(
    meddle: Callable[[Run], object], plain: dict[str, dict[str, np.ndarray[Any, Any]]]
) -> None:
    solver = make_solver()
    solver.observers.append(ProbeObserver([Meddler(meddle)]))
    solver.solve()
    with pytest.raises(AssertionError):
        same(everything(solver), plain["numpy"])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A net that reads images, crops and mirrors them."""
    folder = tmp_path_factory.mktemp("images")
    write_synthetic(folder, train=60, test=24)
    _, _, rest = TRAINABLE.partition('layer { name: "conv"')
    source = IMAGES.replace("SOURCE", str(folder / "synthetic_train_lmdb"))
    return source + 'layer { name: "conv"' + rest.replace("num_output: 3", "num_output: 10")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_bits_over_images_with_all_probes_at_once(engine: str, images: str) -> None:
    same(trained(engine, *probe_names(), net=images), trained(engine, net=images))


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_of_the_solver_is_held(engine: str) -> None:
    """A held storage is copied in every step."""
    solver = make_solver(engine=engine)
    observe(solver, *((name, settings(name)) for name in probe_names()))
    before = {id(blob) for blob in solver.net.blobs.values() if blob.data_storage.held or blob.diff_storage.held}
    for observer in solver.observers:
        observer.on_start(solver)
    solver.step(3)
    held = [p.name for p in solver.net.learnable if p.blob.data_storage.held or p.blob.diff_storage.held]
    after = {id(blob) for blob in solver.net.blobs.values() if blob.data_storage.held or blob.diff_storage.held}
    for observer in solver.observers:
        observer.on_end(solver)
    assert not held
    assert after == before


class Saver(Observer):
    """Keeps what a probe observer says at each snapshot, through JSON."""

    def __init__(self, probes: ProbeObserver) -> None:
        self.probes = probes
        self.saved: list[tuple[str, dict[str, Any]]] = []

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        self.saved.append((state, json.loads(json.dumps(self.probes.state()))))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("at", [3, 4])
def test_a_resumed_run_gives_the_same_series(engine: str, at: int, images: str, tmp_path: Path) -> None:
    probes = [(name, settings(name)) for name in probe_names()]
    whole = make_solver(images, engine, tmp_path, snapshot=at)
    expected = observe(whole, *probes)
    saver = Saver(expected)
    whole.observers.append(saver)
    whole.solve()
    whole.close()
    state, of_probes = saver.saved[0]
    rest = make_solver(images, engine, tmp_path)
    observer = observe(rest, *probes)
    observer.load_state(of_probes)
    rest.solve(state)
    rest.close()
    assert observer.series() == expected.series()
