"""Random interleavings of what a script may do with a net: both engines must be in the same state after each step.

ONEDNN_INTERLEAVINGS=N tries N of them for each net.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from tests.engines.onednn.comparing import Array, compare, fill, inputs, make_net

pytestmark = pytest.mark.usefixtures("device")

COUNT = int(os.environ.get("ONEDNN_INTERLEAVINGS", "6"))
STEPS = 25
TOLERANCE = 5e-3  # roundings add up over the steps; what is stale or lost is wrong by far more


def chain(*layers: str) -> str:
    """A net of layers in a row, each `NAME: SETTINGS`, `NAME!: SETTINGS` in place; then scores and a loss."""
    text = inputs((3, 3, 9, 9), (3,))
    bottom = "x0"
    for line in layers:
        name, settings = line.split(": ", 1)
        top = bottom if name.endswith("!") else name
        text += f'layer {{ name: "{name.rstrip("!")}" bottom: "{bottom}" top: "{top}" {settings} }}\n'
        bottom = top
    text += (
        f'layer {{ name: "ip" type: "InnerProduct" bottom: "{bottom}" top: "ip" inner_product_param '
        '{ num_output: 4 weight_filler { type: "xavier" } } }\n'
    )
    return text + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "x1" top: "loss" }\n'


CONV = 'type: "Convolution" convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }'
POINT = CONV.replace("kernel_size: 3 pad: 1", "kernel_size: 1")
MAX = 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }'
AVE = 'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 }'
FULL = 'type: "InnerProduct" inner_product_param { num_output: 8 weight_filler { type: "xavier" } }'
SCALE = 'type: "Scale" scale_param { bias_term: true filler { type: "uniform" min: 0.5 max: 2 } }'
NORM, BN, RELU, SIGMOID, DROP = (f'type: "{kind}"' for kind in ("BatchNorm", "BN", "ReLU", "Sigmoid", "Dropout"))
WITHIN = 'type: "LRN" lrn_param { local_size: 3 alpha: 0.1 norm_region: WITHIN_CHANNEL }'

NETS = {
    "plain": chain(
        f"c1: {CONV}", f"p1: {MAX}", f"r1!: {RELU}", f"c2: {CONV}", f"r2!: {RELU}", f"p2: {AVE}", f"f: {FULL}"
    ),
    "split": chain(f"c1: {CONV}", f"n1!: {NORM}", f"s1!: {SCALE}", f"r1!: {RELU}", f"p1: {MAX}", f"c2: {CONV}",
                   f"n2: {NORM}", f"s2: {SCALE}", f"r2: {RELU}"),
    "merged": chain(f"c1: {CONV}", f"n1!: {BN}", f"r1!: {RELU}", f"p1: {MAX}", f"c2: {CONV}", f"n2: {BN}",
                    f"r2: {RELU}", f"f: {FULL}", f"r3!: {RELU}"),
    "relu behind pool": chain(f"c1: {CONV}", f"r1!: {RELU}", f"p1: {MAX}", f"w: {WITHIN}", f"f: {FULL}",
                              f"s!: {SIGMOID}"),
    "dropout": chain(f"c1: {CONV}", f"s1: {SIGMOID}", f"d1!: {DROP}", f"f: {FULL}", f"r!: {RELU}", f"d2!: {DROP}"),
    "residual": inputs((3, 16, 6, 6), (3,))
    + f"""
layer {{ name: "c1" bottom: "x0" top: "c1" {CONV} }}
layer {{ name: "r1" bottom: "c1" top: "c1" {RELU} }}
layer {{ name: "c2" bottom: "c1" top: "c2" {CONV} }}
layer {{ name: "n2" bottom: "c2" top: "c2" {BN} }}
layer {{ name: "sum" bottom: "c2" bottom: "c1" top: "sum" type: "Eltwise" }}
layer {{ name: "r2" bottom: "sum" top: "sum" {RELU} }}
layer {{ name: "c3" bottom: "sum" top: "c3" {CONV} }}
layer {{ name: "sum2" bottom: "sum" bottom: "c3" top: "sum2" type: "Eltwise" }}
layer {{ name: "cat" bottom: "sum2" bottom: "c1" top: "cat" type: "Concat" }}
layer {{ name: "f" bottom: "cat" top: "f" {FULL} }}
layer {{ name: "ip" bottom: "f" top: "ip" {FULL} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "x1" top: "loss" }}
""",
    "strides behind a sum": inputs((3, 16, 6, 6), (3,))
    + f"""
layer {{ name: "c1" bottom: "x0" top: "c1" {CONV} }}
layer {{ name: "n1" bottom: "c1" top: "c1" {BN} }}
layer {{ name: "r1" bottom: "c1" top: "c1" {RELU} }}
layer {{ name: "c2" bottom: "c1" top: "c2" {POINT} }}
layer {{ name: "sum" bottom: "c2" bottom: "x0" top: "sum" type: "Eltwise" }}
layer {{ name: "r2" bottom: "sum" top: "sum" {RELU} }}
layer {{ name: "c3" bottom: "sum" top: "c3" {POINT.replace("1 weight", "1 stride: 2 weight")} }}
layer {{ name: "c4" bottom: "sum" top: "c4" {POINT.replace("1 weight", "1 stride: 2 weight")} }}
layer {{ name: "n4" bottom: "c4" top: "c4" {BN} }}
layer {{ name: "sum2" bottom: "c3" bottom: "c4" top: "sum2" type: "Eltwise" }}
layer {{ name: "c5" bottom: "sum2" top: "c5" {POINT} }}
layer {{ name: "p5" bottom: "c5" top: "p5" {AVE} }}
layer {{ name: "ip" bottom: "p5" top: "ip" {FULL} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "x1" top: "loss" }}
""",
}  # fmt: skip


class Pair:
    """The same net on two engines; every action is done to both."""

    def __init__(self, text: str, phase: int, seed: int, folder: Path, **options: Any) -> None:
        self.nets = make_net(text, "numpy", phase), make_net(text, "onednn", phase, **options)
        self.others = make_net(text, "numpy", 1 - phase), make_net(text, "onednn", 1 - phase, **options)
        self.rng = np.random.default_rng(seed)
        self.folder = folder
        self.held: list[tuple[str, Array, Array]] = []
        self.ready = False  # whether a backward has a forward to rest on
        self.last = len(self.nets[0].layers) - 1
        labels = self.rng.integers(0, 4, 3).astype(np.float32)
        for nets in (self.nets, self.others):
            fill(nets, seed, {"x1": labels})
        self.phase = phase
        self.changed = False  # whether weights are others than in the last forward
        self.log: list[str] = []
        self.actions: list[Callable[[], str]] = [
            self.forward, self.forward, self.backward, self.backward, self.train, self.train,
            self.part_forward, self.part_backward, self.write_data, self.write_diff, self.hold, self.write_held,
            self.peek, self.touch, self.reshape, self.share, self.save_and_load, self.change_weights, self.clear,
            self.update, self.other, self.drop_held,
        ]  # fmt: skip

    def step(self) -> None:
        action = self.actions[int(self.rng.integers(len(self.actions)))]
        self.log.append(action())
        self.changed |= action in (self.update, self.train, self.change_weights, self.save_and_load)

    def some(self, names: list[str]) -> str:
        return names[int(self.rng.integers(len(names)))]

    def blob(self) -> str:
        return self.some([name for name in self.nets[0].blobs if name != "x1"])

    def both(self, act: Callable[[dragon.Net], Any]) -> list[Any]:
        return [act(net) for net in self.nets]

    def forward(self) -> str:
        losses = self.both(lambda net: net.run_forward())
        assert abs(losses[0] - losses[1]) <= TOLERANCE * max(1, abs(losses[0]))
        self.ready = True
        self.changed = False
        return "forward"

    def backward(self) -> str:
        if not self.ready or (self.changed and self.phase == dragon.TEST):
            self.forward()  # a net in TEST runs again for the gradients, with the weights it has by then
        self.both(lambda net: net.run_backward())
        return "backward"

    def train(self) -> str:
        self.clear()
        self.forward()
        self.backward()
        return self.update()

    def part_forward(self) -> str:
        start, end = sorted(self.rng.integers(0, self.last + 1, 2).tolist())
        if not self.ready:
            start = 0
        self.both(lambda net: net.run_forward(start, end))
        made = {name for i in range(start, end + 1) for name in self.nets[0].top_names_of(i)}
        return f"forward {start}..{end}, {self.forward_from_pools_behind(made, end + 1)}"

    def part_backward(self) -> str:
        if not self.ready or (self.changed and self.phase == dragon.TEST):
            self.forward()
        end, start = sorted(self.rng.integers(0, self.last + 1, 2).tolist())
        self.both(lambda net: net.run_backward(start, end))
        return f"backward {start}..{end}"

    def values(self, shape: tuple[int, ...]) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)

    def write_data(self) -> str:
        name = self.blob()
        value = self.values(self.nets[0].blobs[name].shape)
        for net in self.nets:
            net.blobs[name].data[...] = value
        return f"write data of {name}, {self.forward_from_pools_behind({name})}"

    def forward_from_pools_behind(self, names: set[str], first: int = 0) -> str:
        """The reference looks there for the maxima, an engine has noted where they were."""
        net = self.nets[0]
        pools = [i for i in range(first, self.last + 1) if names & set(net.bottom_names_of(i)) and self.pools(i)]
        if self.ready and pools:
            self.both(lambda net: net.run_forward(pools[0], self.last))
        return f"forward from {pools[:1]}"

    def pools(self, i: int) -> bool:
        return self.nets[0].layers[i].type == "Pooling"

    def write_diff(self) -> str:
        name = self.some([name for name in self.nets[0].blobs if name not in ("x1", "loss")])
        value = self.values(self.nets[0].blobs[name].shape)
        for net in self.nets:
            net.blobs[name].diff[...] = value
        return f"write diff of {name}"

    def hold(self) -> str:
        name = self.blob()
        part = "data" if name == "loss" or self.rng.random() < 0.6 else "diff"
        first, second = self.both(lambda net: getattr(net.blobs[name], part))
        self.held.append((name if part == "data" else "", first, second))
        return f"hold {part} of {name}"

    def write_held(self) -> str:
        for _, first, second in self.held:
            value = self.values(first.shape)
            first[...] = value
            second[...] = value
        return f"write what is held, {self.forward_from_pools_behind({name for name, *_ in self.held})}"

    def drop_held(self) -> str:
        self.held.clear()
        return "let go"

    def peek(self) -> str:
        name = self.blob()
        self.both(lambda net: (net.blobs[name].peek(), net.blobs[name].peek_diff()))
        return f"peek at {name}"

    def touch(self) -> str:
        name = self.blob()
        self.both(lambda net: net.blobs[name].data)
        return f"touch {name}"

    def reshape(self) -> str:
        self.held.clear()  # a view of memory that was given up is nobody's
        count = int(self.rng.integers(1, 5))
        shape = (count, *self.nets[0].blobs["x0"].shape[1:])
        value, labels = self.values(shape), self.rng.integers(0, 4, count).astype(np.float32)
        for net in self.nets:
            net.blobs["x0"].reshape(*shape)
            net.blobs["x1"].reshape(count)
            net.reshape()
            net.blobs["x0"].data[...] = value
            net.blobs["x1"].data[...] = labels
            for blob in list(net.blobs.values())[:-1]:  # what a smaller batch left behind is nobody's either
                blob.diff[...] = 0
        self.forward()
        return f"reshape to {count}"

    def share(self) -> str:
        for net, other in zip(self.nets, self.others, strict=True):
            net.share_with(other)
        self.changed = True
        return "share weights"

    def other(self) -> str:
        for net in self.others:
            net.run_forward()
        compare(*self.others, TOLERANCE, diffs=False)
        return "run the other phase"

    def save_and_load(self) -> str:
        for i, net in enumerate(self.nets):
            net.save(self.folder / f"{i}.caffemodel")
            for blobs in net.params.values():
                blobs[0].data[...] = 0
            net.copy_from(self.folder / f"{i}.caffemodel")
        return "save and load"

    def change_weights(self) -> str:
        name = self.some(list(self.nets[0].params))
        layer = self.nets[0].layers[self.nets[0].layer_index(name)]
        i = int(self.rng.integers(len(layer.blobs)))
        factor = np.float32(self.rng.uniform(0.8, 1.2))
        for net in self.nets:
            net.params[name][i].data[...] *= factor
        return f"change blob {i} of {name}"

    def clear(self) -> str:
        self.both(lambda net: net.clear_param_diffs())
        return "clear diffs"

    def update(self) -> str:
        for net in self.nets:
            for param in net.learnable:
                param.blob.data[...] -= 0.01 * param.blob.diff
        return "update"


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("name", NETS)
def test_interleavings(name: str, phase: int, tmp_path: Path) -> None:
    interleave(name, phase, tmp_path, range(COUNT))


@pytest.mark.usefixtures("winograd_everywhere")
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("name", ["plain", "split", "residual"])
def test_interleavings_with_fewer_products(name: str, phase: int, tmp_path: Path) -> None:
    interleave(name, phase, tmp_path, range(COUNT, 2 * COUNT))


def interleave(name: str, phase: int, tmp_path: Path, seeds: range) -> None:
    for seed in seeds:
        pair = Pair(NETS[name], phase, seed, tmp_path, fuse=seed % 3 != 2)
        try:
            for _ in range(STEPS):
                pair.step()
                if seed % 2 or pair.rng.random() < 0.3:  # looking must not be what keeps the engines in step
                    compare(*pair.nets, TOLERANCE)
                for _, first, second in pair.held:
                    np.testing.assert_allclose(second, first, rtol=0, atol=TOLERANCE * max(1, np.abs(first).max()))
            compare(*pair.nets, TOLERANCE)
        except Exception as error:
            error.add_note(f"seed {seed}: {'; '.join(pair.log)}")
            raise
