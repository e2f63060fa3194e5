"""The arena of TEST nets: how large it is, that nothing alive overlaps, and that every blob can still be read.

ONEDNN_RANDOM_NETS=N tries N random nets, ONEDNN_INTERLEAVINGS=N as many interleavings for each net.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.bases.layer import Layer
from dragon.engines import Options
from dragon.engines.onednn.executor import OneDNNExecutor
from dragon.engines.onednn.plan import cache
from dragon.engines.onednn.plan.arena import Arena, ArenaMemory
from dragon.engines.onednn.plan.buffers import Buffer
from dragon.engines.onednn.plan.guarded import BoundedCall
from dragon.engines.onednn.plan.plan import Plan
from dragon.engines.onednn.plan.planned import Planned
from dragon.engines.onednn.plan.values import Value
from dragon.memory.blob import Blob
from tests.engines.onednn.comparing import Array, close, compare, fill, inputs, make_net, set_output_diffs
from tests.engines.onednn.random_nets import RandomNet
from tests.engines.onednn.test_interleaving import (
    AVE,
    BN,
    CONV,
    FULL,
    MAX,
    NETS,
    NORM,
    POINT,
    RELU,
    SCALE,
    STEPS,
    TOLERANCE,
    Pair,
    chain,
)
from tests.helpers import solver_param

pytestmark = pytest.mark.usefixtures("device")

COUNT = int(os.environ.get("ONEDNN_RANDOM_NETS", "30"))
LABELS = {"x1": np.array([0, 1, 2], np.float32)}
OUT_OF_PLACE = chain(f"c: {CONV}", f"n: {NORM}", f"s: {SCALE}", f"r: {RELU}", f"p: {MAX}", f"c2: {CONV}", f"n2: {BN}",
                     f"r2: {RELU}", f"p2: {AVE}", f"f: {FULL}")  # fmt: skip
ADD = 'type: "Eltwise"'


def _layer(kind: str, name: str, bottoms: str, tops: str) -> str:
    wires = "".join(f'bottom: "{one}" ' for one in bottoms.split()) + "".join(f'top: "{one}" ' for one in tops.split())
    return f'layer {{ name: "{name}" {wires} {kind} }}\n'


def _residual(k: int, before: str) -> str:
    """A block whose sum adds the blob `before`."""
    text = _layer(POINT, f"a{k}", before, f"a{k}") + _layer(BN, f"m{k}", f"a{k}", f"a{k}")
    text += _layer(RELU, f"q{k}", f"a{k}", f"a{k}") + _layer(CONV, f"b{k}", f"a{k}", f"b{k}")
    text += _layer(BN, f"n{k}", f"b{k}", f"b{k}") + _layer(ADD, f"sum{k}", f"{before} b{k}", f"sum{k}")
    return text + _layer(RELU, f"r{k}", f"sum{k}", f"sum{k}")


SUMS = (
    inputs((3, 16, 6, 6), (3,)) + _layer(CONV, "c1", "x0", "c1")
    + _residual(1, "c1") + _residual(2, "sum1") + _residual(3, "sum2")
    + _layer(FULL, "ip", "sum3", "ip") + _layer('type: "SoftmaxWithLoss"', "loss", "ip x1", "loss")
)  # fmt: skip
TEXTS = {**NETS, "out of place": OUT_OF_PLACE, "sums in place": SUMS}


def executor_of(net: dragon.Net) -> OneDNNExecutor:
    executor = net.executor
    assert isinstance(executor, OneDNNExecutor)
    return executor


def plans_of(net: dragon.Net) -> list[Plan]:
    return [plan for plan in executor_of(net).plans if plan.whole]


def arena_of(net: dragon.Net) -> Arena:
    arena = plans_of(net)[-1].arena
    assert arena is not None
    return arena


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arena's bytes are NaN before each run: whatever counts on zeros, or on what was there, shows."""
    begin = Arena.begin

    def begin_with_nan(self: Arena) -> None:
        begin(self)
        whole = self._memory.bytes
        whole[: whole.nbytes // 4 * 4].view(np.float32)[...] = np.nan

    monkeypatch.setattr(Arena, "begin", begin_with_nan)


# -- size ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["lenet", "cifar10_quick", "cifar10_full", "resnet20_cifar10", "vgg_a_cifar10_bn"])
def test_zoo_nets_need_what_is_alive_at_once(name: str) -> None:
    path = files("dragon.models") / name / "deploy.prototxt"
    net = dragon.Net(str(path), dragon.TEST, engine="onednn", options=Options(threads=1))
    net.run_forward()
    arena = arena_of(net)
    assert arena.peak <= arena.size < 0.8 * arena.total
    assert arena.size <= 1.1 * arena.peak
    assert executor_of(net).plans.arena_memory.bytes.nbytes == arena.size


def test_planned_memory_has_the_copies_of_parameters() -> None:
    """A convolution has its weights in another layout, which the limit of plans that are kept must know."""
    text = inputs((4, 64, 16, 16)) + _layer(CONV, "f", "x0", "f")
    net = make_net(text, "onednn", dragon.TRAIN)
    net.run_forward()
    weights = net.params["f"][0]
    planned = Planned.of(plans_of(net)[-1])
    assert planned.copies >= 4 * weights.count > 0
    assert planned.bytes == planned.copies + planned.activations + planned.scratchpad


def test_planned_memory() -> None:
    net = make_net(NETS["residual"], "onednn", dragon.TEST)
    resized(net, 50)
    net.run_forward()
    planned = Planned.of(plans_of(net)[-1])
    arena = arena_of(net)
    weights = {id(blob.data_storage): blob.count for blobs in net.params.values() for blob in blobs}
    assert planned.parameters == 4 * sum(weights.values())
    assert planned.unshared - planned.activations == arena.total - arena.size > 0
    net.blobs["c1"].peek()
    assert Planned.of(plans_of(net)[-1]).activations >= planned.activations + 4 * net.blobs["c1"].count
    (line,) = net.executor.remarks()
    assert line == Planned.of(plans_of(net)[-1]).line()
    assert f"({planned.unshared / 2**20:.1f} MiB without sharing)" in line


def no_overlap(arena: Arena) -> None:
    spans = list(arena.spans())
    for i, (one, at) in enumerate(spans):
        for other, where in spans[:i]:
            apart = at + one.size <= where or where + other.size <= at
            assert apart or one.end < other.start or other.end < one.start


@pytest.mark.usefixtures("poisoned")
def test_random_nets() -> None:
    """Nothing that is in use at once overlaps; after a run all blobs are as in the reference, read in any order."""
    shared = 0
    for seed in range(COUNT):
        drawn = RandomNet(seed)
        nets = tuple(make_net(drawn.text, engine, dragon.TEST) for engine in ("numpy", "onednn"))
        rng = np.random.default_rng(seed)
        try:
            for attempt in range(3):
                fill(nets, attempt, {"x1": drawn.labels()})
                for net in nets:
                    net.run_forward()
                arena = arena_of(nets[1])
                no_overlap(arena)
                shared += arena.size < arena.total
                names = rng.permutation(list(nets[0].blobs))
                for name in names if attempt else names[:1]:
                    close(nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), 1e-3, f"{name} in pass {attempt}")
        except Exception as error:
            error.add_note(f"seed {seed}\n{drawn.text}")
            raise
    assert shared > COUNT


# -- reading ------------------------------------------------------------------------------------------------------
@pytest.fixture(params=TEXTS)
def pair(request: pytest.FixtureRequest) -> tuple[dragon.Net, dragon.Net]:
    text = TEXTS[request.param]
    return make_net(text, "numpy", dragon.TEST), make_net(text, "onednn", dragon.TEST)


def resized(net: dragon.Net, count: int) -> None:
    net.blobs["x0"].reshape(count, *net.blobs["x0"].shape[1:])
    net.blobs["x1"].reshape(count)
    net.reshape()


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("order", [1, -1, 0])
def test_every_blob_reads_right(pair: tuple[dragon.Net, dragon.Net], order: int) -> None:
    """Forwards, backwards and in any order; with a smaller batch in between."""
    rng = np.random.default_rng(1)
    for attempt, count in enumerate((3, 2, 2, 3, 1, 3)):
        for net in pair:
            resized(net, count)
        fill(pair, attempt, {"x1": LABELS["x1"][:count]})
        for net in pair:
            net.run_forward()
        names = list(pair[0].blobs)[::order] if order else list(rng.permutation(list(pair[0].blobs)))
        for name in names[: 2 if attempt in (0, 1) else None]:
            close(pair[1].blobs[name].peek(), pair[0].blobs[name].peek(), 1e-4, f"{name} in pass {attempt}")


def change(nets: tuple[dragon.Net, dragon.Net], what: int) -> None:
    """Something that the values of the last run rest on."""
    for net in nets:
        if what == 0:
            net.blobs["x0"].data[...] = 7
        elif what == 1:
            for blobs in net.params.values():
                for blob in blobs:
                    blob.data[...] *= np.float32(1.5)
        elif what == 2:
            for name in list(net.blobs)[2:-1:2]:
                net.blobs[name].data[...] = -3
        elif what == 3:
            for name in net.params:
                net.params[name][0].data_storage.overwrite()[...] = 0
        else:
            net.run_forward(len(net.layers) // 2, len(net.layers) - 2)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("what", range(5))
def test_blobs_stay_what_the_run_made_them(pair: tuple[dragon.Net, dragon.Net], what: int) -> None:
    """Whatever a script changes afterwards, without having looked before."""
    for attempt in range(3):
        fill(pair, attempt, LABELS)
        for net in pair:
            net.run_forward()
        change(pair, what)
        if attempt != 1:
            compare(*pair, 1e-4, diffs=False)


@pytest.mark.usefixtures("poisoned")
def test_arrays_that_a_script_holds(pair: tuple[dragon.Net, dragon.Net]) -> None:
    fill(pair, 1, LABELS)
    names = ["x0", *list(pair[0].blobs)[3::3]]
    held = [[net.blobs[name].data for name in names] for net in pair]
    weights = [blobs[0].data for net in pair for blobs in net.params.values()]
    for attempt in range(3):
        for arrays in held:
            arrays[0][...] = attempt - 0.3
        for net in pair:
            net.run_forward()
        for name, first, second in zip(names, *held, strict=True):
            close(second, first, 1e-4, f"held {name}")
        for arrays in held:
            arrays[0][...] = 11
        for array in weights:
            array *= np.float32(1.01)
        compare(*pair, 1e-4, diffs=False)


def test_what_is_read_often_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make_net(NETS["residual"], "onednn", dragon.TEST)
    again: list[Buffer] = []
    steps_to = Arena._steps_to

    def counted(self: Arena, buffer: Buffer) -> list[int]:
        again.append(buffer)
        return steps_to(self, buffer)

    monkeypatch.setattr(Arena, "_steps_to", counted)
    for _ in range(3):
        net.run_forward()
        net.blobs["c1"].peek()
    assert len(again) == 1


def test_an_input_that_grows_leaves_the_values() -> None:
    nets = make_net(NETS["plain"], "numpy", dragon.TEST), make_net(NETS["plain"], "onednn", dragon.TEST)
    fill(nets, 1, LABELS)
    for net in nets:
        net.run_forward()
        net.blobs["x0"].reshape(50, 3, 9, 9)
        net.blobs["x0"].data[...] = 5
    for name in list(nets[0].blobs)[1:]:
        close(nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), 1e-4, name)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("name", TEXTS)
def test_interleavings_without_backward(name: str, tmp_path: Path) -> None:
    """All that a script may do with a net that nobody trains; in between, blobs are read now and then."""
    for seed in range(int(os.environ.get("ONEDNN_INTERLEAVINGS", "3"))):
        pair = Pair(TEXTS[name], dragon.TEST, seed, tmp_path, fuse=seed % 3 != 2)
        pair.actions = [
            action for action in pair.actions if action not in (pair.backward, pair.train, pair.part_backward)
        ]
        try:
            for _ in range(STEPS):
                pair.step()
                if pair.rng.random() < 0.3:
                    compare(*pair.nets, TOLERANCE, diffs=False)
            compare(*pair.nets, TOLERANCE, diffs=False)
        except Exception as error:
            error.add_note(f"seed {seed}: {'; '.join(pair.log)}")
            raise


def test_an_input_that_a_layer_overwrites() -> None:
    """What was made of it before cannot be made again, and must not be overwritten."""
    text = inputs((2, 3, 6, 6)) + "".join(
        f'layer {{ name: "{name}" bottom: "{bottom}" top: "{top}" {settings} }}\n'
        for name, bottom, top, settings in (
            ("c1", "x0", "c1", CONV),
            ("flat", "x0", "flat", 'type: "Flatten"'),
            ("r", "flat", "flat", RELU),  # in the same memory
            ("c2", "c1", "c2", CONV),
            ("c3", "c2", "c3", CONV),
            ("c4", "c3", "c4", CONV),
            ("f", "c4", "f", FULL),
            ("f2", "flat", "f2", FULL),
        )
    )
    nets = make_net(text, "numpy", dragon.TEST), make_net(text, "onednn", dragon.TEST)
    for attempt in range(2):
        fill(nets, attempt)
        for net in nets:
            net.run_forward()
        for name in nets[0].blobs:  # x0 comes to the host first
            close(nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), 1e-4, name)


# -- beside other uses --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("read", [False, True])
def test_backward_of_a_test_net(pair: tuple[dragon.Net, dragon.Net], read: bool) -> None:
    for attempt in range(2):
        fill(pair, attempt, LABELS)
        set_output_diffs(pair, attempt)
        for net in pair:
            net.clear_param_diffs()
            net.run_forward()
        if read:
            pair[1].blobs["f" if "f" in pair[1].blobs else "ip"].peek()
        for net in pair:
            net.run_backward()
        compare(*pair, 1e-3)
    assert not any(plan.arena for plan in plans_of(pair[1]))


def test_no_gradients_are_allocated() -> None:
    net = make_net(NETS["split"], "onednn", dragon.TEST)
    net.run_forward()
    assert [name for name, blob in net.blobs.items() if blob.diff_storage.allocated] == ["loss"]  # its weight


def test_activations_stay_off_the_host() -> None:
    net = make_net(NETS["plain"], "onednn", dragon.TEST)
    net.run_forward()
    assert [name for name, blob in net.blobs.items() if blob.data_storage.allocated] == ["x0", "x1", "loss"]


def test_a_solvers_test_net() -> None:
    """It shares weights with the train net, which changes them after each test."""
    nets = []
    for engine in ("numpy", "onednn"):
        param = solver_param(NETS["split"], max_iter=10, test_interval=2, test_iter=[1], base_lr=0.01)
        solver = dragon.get_solver(param, engine=engine, seed=3, options=Options(threads=1))
        fill((solver.net,), 1, LABELS)
        for name in ("x0", "x1"):
            solver.test_nets[0].blobs[name].data[...] = solver.net.blobs[name].data
        solver.step(3)  # trained on after the test
        nets.append(solver.test_nets[0])
    compare(nets[0], nets[1], 1e-3, diffs=False)


def test_plans_share_one_buffer() -> None:
    net = make_net(NETS["residual"], "onednn", dragon.TEST)
    for count in (5, 2, 1):
        resized(net, count)
        net.run_forward()
    arenas = [plan.arena for plan in plans_of(net)]
    assert len(arenas) == 3
    whole = executor_of(net).plans.arena_memory.bytes
    assert whole.nbytes == max(arena.size for arena in arenas if arena)
    for arena in arenas:
        assert arena
        for buffer in arena.buffers:
            assert np.shares_memory(buffer.origin.buffer, whole)


class Twice(Layer):
    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = 2 * bottom[0].data


def test_a_net_with_python_layers_has_no_arena() -> None:
    text = inputs((2, 3)) + (
        'layer { name: "p" type: "Python" bottom: "x0" top: "p" python_param '
        '{ module: "tests.engines.onednn.plan.test_arena" layer: "Twice" } }'
    )
    net = make_net(text, "onednn", dragon.TEST)
    net.run_forward()
    assert plans_of(net)[-1].arena is None


def test_a_plan_that_breaks_off() -> None:
    """Labels beyond the classes: an error in the middle of a run, then all goes on."""
    nets = make_net(NETS["plain"], "numpy", dragon.TEST), make_net(NETS["plain"], "onednn", dragon.TEST)
    fill(nets, 1, LABELS)
    for net in nets:
        net.run_forward()
        net.blobs["x1"].data[0] = 99
        with pytest.raises(dragon.DragonError):
            net.run_forward()
    compare(*nets, 1e-4, diffs=False)
    for net in nets:
        net.blobs["x1"].data[0] = 0
        net.run_forward()
    compare(*nets, 1e-4, diffs=False)


def test_arenas_go_with_their_plans() -> None:
    net = make_net(NETS["plain"], "onednn", dragon.TEST)
    net.run_forward()
    memory = executor_of(net).plans.arena_memory
    assert list(memory._arenas)
    net.run_backward()
    gc.collect()
    assert isinstance(memory, ArenaMemory)
    assert not list(memory._arenas)


def _values(net: dragon.Net) -> Iterator[Array]:
    for blob in net.blobs.values():
        yield blob.peek().copy()


def test_profile_leaves_right_values() -> None:
    net = make_net(NETS["residual"], "onednn", dragon.TEST)
    fill((net,), 1, LABELS)
    net.run_forward()
    before = list(_values(net))
    other = make_net(NETS["residual"], "onednn", dragon.TEST)
    fill((other,), 1, LABELS)
    other.executor.profile(2, backward=False)
    for name, first, second in zip(net.blobs, before, _values(other), strict=True):
        close(second, first, 1e-6, name)


def test_a_sum_overwrites_what_it_adds() -> None:
    """Unless the convolution reads it, too; then the blobs that were overwritten are computed again."""
    nets = tuple(make_net(SUMS, engine, dragon.TEST) for engine in ("numpy", "onednn"))
    fill(nets, 1, LABELS)
    for net in nets:
        net.run_forward()
    values = [value for value in plans_of(nets[1])[-1].builder.values if isinstance(value, Value)]
    where = {value.storage: value for value in values}
    found = {name: where.get(nets[1].blobs[name].data_storage) for name in ("c1", "sum1", "sum2", "sum3")}
    assert [name for name, value in found.items() if value and value.copy.earlier] == ["c1", "sum1", "sum2"]
    assert len({id(value.memory.origin) for value in found.values() if value}) == 1
    for name in ("sum1", "c1", "sum3", "sum2", "c1"):
        close(nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), 1e-4, name)
    net = make_net(NETS["residual"], "onednn", dragon.TEST)
    net.run_forward()
    value = next(value for value in plans_of(net)[-1].builder.values if value.storage is net.blobs["sum"].data_storage)
    assert isinstance(value, Value)
    assert value.copy.earlier is None


WIDE = CONV.replace("16", "32")
SLICED = (  # both tops of one layer are overwritten
    inputs((2, 16, 8, 8)) + _layer(WIDE, "w", "x0", "w") + _layer('type: "Slice"', "cut", "w", "a b")
    + _layer(CONV, "d", "x0", "d") + _layer(ADD, "s", "d a", "s") + _layer(CONV, "e", "x0", "e")
    + _layer(ADD, "t", "e b", "t") + _layer(POINT, "g", "s", "g") + _layer(POINT, "h", "t", "h")
)  # fmt: skip
SKIPPED = (  # s is skipped behind a, which is overwritten; d is skipped before it
    inputs((2, 16, 8, 8)) + _layer(CONV, "a", "x0", "a") + _layer(CONV, "d", "a", "d") + _layer(BN, "n", "d", "n")
    + _layer(CONV, "e", "n", "e") + _layer(ADD, "s", "e a", "s") + _layer(RELU, "r", "s", "r")
    + _layer(POINT, "g", "r", "g")
)  # fmt: skip


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("text", [SLICED, SKIPPED], ids=["sliced", "skipped"])
def test_blobs_around_a_sum_in_place_are_those_of_the_run(text: str) -> None:
    """Whatever a script writes or runs between the pass and the reading, and whichever blob it reads first."""
    names = list(make_net(text, "numpy", dragon.TEST).blobs)
    for changed in (*names, None):
        for first in names:
            nets = tuple(make_net(text, engine, dragon.TEST) for engine in ("numpy", "onednn"))
            fill(nets, 1)
            for net in nets:
                net.run_forward()
                if changed is None:
                    net.blobs["x0"].data[...] *= 2
                    net.forward(end=net.layer_names[1])
                else:
                    net.blobs[changed].data[...] = 0.25
            for name in (first, *names):
                close(nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), 1e-4, f"{name} after {changed}, {first}")


def test_a_long_chain_of_sums_reads_right() -> None:
    text = inputs((1, 16, 4, 4)) + _layer(POINT, "b0", "x0", "b0")
    for k in range(60):
        text += _layer(POINT, f"c{k}", f"b{k}", f"c{k}") + _layer(POINT, f"d{k}", f"c{k}", f"d{k}")
        text += _layer(ADD, f"b{k + 1}", f"d{k} b{k}", f"b{k + 1}") + _layer(RELU, f"r{k}", f"b{k + 1}", f"b{k + 1}")
    nets = tuple(make_net(text, engine, dragon.TEST) for engine in ("numpy", "onednn"))
    fill(nets, 1)
    for net in nets:
        net.run_forward()
    for name in ("b59", "b1", "b60", "b30"):
        close(nets[1].blobs[name].peek(), nets[0].blobs[name].peek(), 1e-4, name)


def test_a_sum_in_place_passes_its_bound_on() -> None:
    """So the ReLU of the next convolution is the fast one."""
    text = inputs((2, 3, 16, 16)) + _layer(CONV, "i", "x0", "i") + _layer(POINT, "a", "i", "a")
    text += _layer(POINT, "b", "a", "b")
    text += _layer(POINT, "c", "b", "c") + _layer(ADD, "s", "c a", "s") + _layer(CONV, "e", "s", "e")
    text += _layer(RELU, "r", "e", "e")
    net = make_net(text, "onednn", dragon.TEST)
    net.run_forward()
    (plan,) = (plan for plan in plans_of(net) if plan.whole)
    assert any(isinstance(v, Value) and v.copy.earlier for v in plan.builder.values)
    calls = [call for group in plan.groups for call in group.forward.calls if "e" in net.layer_names[group.first]]
    assert any(isinstance(call, BoundedCall) for call in calls)


def test_plans_of_many_shapes_leave_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector's labels have another shape in nearly each batch: old plans go, and so does what they took."""
    monkeypatch.setattr(cache, "_KEPT_BYTES", 1 << 20)
    monkeypatch.setattr(cache, "_GARBAGE", 1)
    net = make_net(NETS["plain"], "onednn", dragon.TRAIN)
    made: list[weakref.ref[Plan]] = []
    for count in range(1, 20):
        resized(net, 100 + count)
        net.run_forward()
        net.run_backward()
        made += [weakref.ref(plan) for plan in plans_of(net) if all(plan is not each() for each in made)]
    assert len(made) >= 19
    assert len([plan for plan in made if plan() is not None]) <= cache._KEPT + 1  # a net notes which plan ran last
    monkeypatch.setattr(cache, "_KEPT_BYTES", 1 << 30)
    for count in range(1, 20):
        resized(net, 100 + count)
        net.run_forward()
    assert len(plans_of(net)) == 2 * cache._KEPT_SHAPES
