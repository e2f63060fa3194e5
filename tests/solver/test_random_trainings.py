"""Random trainings are those of the formulas, with snapshots, changed weights and batches of other sizes in between.

DRAGON_TRAININGS=N tries N of them; DRAGON_TRAININGS_START=S begins with seed S.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.solver.formulas import Formulas, Saved

COUNT = int(os.environ.get("DRAGON_TRAININGS", "40"))
START = int(os.environ.get("DRAGON_TRAININGS_START", "0"))
ACTIONS = 10
RULES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW", "LARS", "LAMB")
POLICIES: dict[str, dict[str, Any]] = {
    "fixed": {},
    "step": {"gamma": 0.5, "stepsize": 2},
    "exp": {"gamma": 0.9},
    "inv": {"gamma": 0.5, "power": 0.75},
    "multistep": {"gamma": 0.1, "stepvalue": [1, 3, 3]},
    "poly": {"power": 0.5},
    "sigmoid": {"gamma": -0.5, "stepsize": 3},
    "cosine": {},
    "multifixed": {"stageiter": [1, 4], "stagelr": [0.1, 0.02]},
    "plateau": {"gamma": 0.3, "plateau_winsize": [1, 2]},
}


def spec(rng: np.random.Generator, name: str = "") -> str:
    """The settings of a parameter: frozen at times, with a rate and a decay of its own."""
    rate, decay = rng.choice([0, 0.5, 1, 1, 2]), rng.choice([0, 1, 2])
    return f"param {{ {f'name: {name!r}' if name else ''} lr_mult: {rate} decay_mult: {decay} }}"


def net_text(rng: np.random.Generator) -> str:
    """Layers of every kind of parameter: shared, frozen, running statistics, single numbers."""
    middle, pair = "", spec(rng) + spec(rng)
    if rng.random() < 0.5:
        middle = f"""layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" {spec(rng)} convolution_param {{
            num_output: 5 kernel_size: 2 bias_term: false weight_filler {{ type: "xavier" }} }} }}
        layer {{ name: "bn" type: "{rng.choice(["BN", "BatchNorm"])}" bottom: "c" top: "bn" }}
        layer {{ name: "pr" type: "PReLU" bottom: "bn" top: "i" {spec(rng)} }}"""
    shared = rng.random() < 0.5
    specs = [spec(rng, "w") + spec(rng, "b"), "param { name: 'w' } param { name: 'b' }"] if shared else [pair, pair]
    text = f"""layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 3 dim: 2 dim: 3 dim: 3 }} }} }}
    layer {{ name: "y" type: "Input" top: "y" input_param {{ shape {{ dim: 3 dim: 4 }} }} }} {middle}"""
    bottom = "i" if middle else "x"
    for k, given in enumerate(["", *specs]):
        text += f"""layer {{ name: "ip{k}" type: "InnerProduct" bottom: "{bottom}" top: "ip{k}" {given}
        inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }} }}
        layer {{ name: "t{k}" type: "TanH" bottom: "ip{k}" top: "ip{k}" }}"""
        bottom = f"ip{k}"
    return text + 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip2" bottom: "y" top: "loss" }'


def definition(rng: np.random.Generator, folder: Path) -> pb.SolverParameter:
    rule, policy = str(rng.choice(RULES)), str(rng.choice(list(POLICIES)))
    settings: dict[str, Any] = {"type": rule, "lr_policy": policy, **POLICIES[policy]}
    if rule not in ("AdaGrad", "RMSProp"):
        settings["momentum"] = rng.choice([0, 0.5, 0.9])
    if rng.random() < 0.3:
        settings |= {"warmup_iter": 3, "warmup_start": 0.2}
    settings |= {
        "momentum2": rng.choice([0.5, 0.99]), "rms_decay": rng.choice([0, 0.9]), "weight_decay": rng.choice([0, 0.1]),
        "regularization_type": str(rng.choice(["L1", "L2"])), "clip_gradients": rng.choice([-1, 0.1, 1, np.inf]),
        "iter_size": rng.integers(1, 4), "average_loss": rng.integers(1, 4), "display": rng.integers(0, 3),
        "snapshot_format": rng.integers(0, 2), "snapshot_diff": bool(rng.integers(2)),
    }  # fmt: skip
    param = pb.SolverParameter(
        **settings, base_lr=0.05, max_iter=9, delta=0.1, larc_eta=0.02, snapshot_prefix=str(folder / "s"), random_seed=7
    )
    parse_text(net_text(rng), param.net_param)
    return param


class Training:
    """A solver and the formulas, to which everything is done alike."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = np.random.default_rng(seed)
        self.folder = folder
        self.param = definition(self.rng, folder)
        self.dtype = np.dtype(self.rng.choice(["float32", "float64"]))
        engines = ["numpy", "onednn"] if self.dtype == np.float32 else ["numpy"]
        self.engine = str(self.rng.choice(engines))
        self.solver = self.make()
        self.model = Formulas(self.param, self.solver.net)
        self.saved: dict[str, Saved] = {}
        self.log = [f"{self.engine} {self.dtype} {self.param.type} {self.param.lr_policy}"]

    def make(self) -> dragon.Solver:
        return dragon.get_solver(self.param, engine=self.engine, dtype=self.dtype, verbose=False)

    def nets(self) -> tuple[dragon.Net, dragon.Net]:
        return self.solver.net, self.model.net

    def step(self) -> None:
        for name in ("x", "y"):
            value = self.rng.standard_normal(self.model.net.blobs[name].shape).astype(np.float32)
            for net in self.nets():
                net.blobs[name].data[...] = value
        self.close("loss", self.solver.step(1), self.model.step())

    def edit(self) -> None:
        value = self.rng.standard_normal((4, 4)).astype(np.float32) / 2
        for net in self.nets():
            net.params["ip1"][0].data[...] = value

    def reshape(self) -> None:
        self.resize(int(self.rng.integers(1, 5)))

    def resize(self, count: int) -> None:
        for net in self.nets():
            for name in ("x", "y"):
                net.blobs[name].reshape(count, *net.blobs[name].shape[1:])

    def snapshot(self) -> None:
        self.saved[self.solver.snapshot()] = self.model.save()

    def restore(self) -> None:
        if not self.saved:
            return
        path = str(self.rng.choice(list(self.saved)))
        if self.rng.random() < 0.5:
            self.solver.close()
            self.solver = self.make()
        self.solver.restore(path)
        self.model.restore(self.saved[path])
        self.resize(self.model.net.blobs["x"].shape[0])

    def weights(self) -> None:
        path = self.folder / str(self.rng.choice(["w.caffemodel", "w.h5", "w.safetensors"]))
        self.solver.net.save(path)
        for blobs in self.solver.net.params.values():
            for blob in blobs:
                blob.data[...] = 1
        self.solver.net.copy_from(path)

    def compare(self) -> None:
        assert self.solver.iter == self.model.iteration
        self.close("rate", self.solver.learning_rate(), self.model.rate)
        self.close("losses", self.solver.losses, self.model.window)
        own = [blob for blobs in self.solver.net.params.values() for blob in blobs]
        for k, (found, blob) in enumerate(zip(own, self.model.blobs(), strict=True)):
            self.close(f"blob {k}", found.peek(), blob.peek())
        for found_slot, slot in zip(self.solver.updater.history, self.model.history, strict=True):
            for k, (found, value) in enumerate(zip(found_slot, slot, strict=True)):
                self.close(f"history {k}", found.peek(), value)

    def close(self, what: str, found: Any, expected: Any) -> None:
        tolerance = 1e-3 if self.dtype == np.float32 else 1e-9
        scale = max(0.01, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, err_msg=what)

    def run(self) -> None:
        actions = [self.step] * 5 + [self.edit, self.reshape, self.snapshot, self.restore, self.restore, self.weights]
        for _ in range(ACTIONS):
            action = actions[self.rng.integers(len(actions))]
            self.log.append(action.__name__)
            action()
            self.compare()
        self.solver.close()


@pytest.mark.parametrize("seed", range(START, START + COUNT))
def test_a_training_is_that_of_the_formulas(seed: int, tmp_path: Path) -> None:
    training = Training(seed, tmp_path)
    try:
        training.run()
    except Exception as error:
        error.add_note(f"seed {seed}: {', '.join(training.log)}\n{training.param}")
        raise
