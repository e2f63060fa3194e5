"""Data and diffs that share memory in training: bits are those of a run without sharing, whoever looks at what."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.engines import Options
from dragon.engines.cuda import plan_figures
from dragon.engines.cuda.device.gpu import open_gpu
from dragon.engines.cuda.plan import sharing
from dragon.engines.cuda.plan.lifetimes import BlobLifetimes, planned_step_bytes
from dragon.proto import dragon_pb2 as pb
from dragon.solver.solver import Solver
from tests.engines.cuda.running import fill, make, parse
from tests.engines.cuda.training import (
    BRANCHES,
    FROZEN,
    INPUTS,
    NETS,
    RESIDUAL,
    arena,
    executor_of,
    is_lost,
    pair,
    same,
    same_blobs,
    same_weights,
    share,
    solver_of,
    values,
)

needs_gpu = pytest.mark.usefixtures("cuda")
looks_inside = pytest.mark.usefixtures("emulated")
CHANGES: Mapping[str, Mapping[str, Any]] = {
    **{name: {"text": text} for name, text in NETS.items()},
    "frozen": {"text": FROZEN},
    "input gradients": {"text": RESIDUAL, "above": "force_backward: true "},
    "unfused": {"text": RESIDUAL, "options": Options(fuse=False)},
    "bf16": {"text": RESIDUAL, "options": Options(precision="bf16")},
    "channels last": {"text": RESIDUAL, "options": Options(precision="bf16", channels_last=True)},
    "fp16": {"text": BRANCHES, "options": Options(precision="fp16")},
    "iter_size": {"text": BRANCHES, "settings": "iter_size: 2"},
    "clip": {"text": RESIDUAL, "settings": "clip_gradients: 0.5"},
    "Adam": {"text": RESIDUAL, "settings": 'type: "Adam" delta: 1e-8'},
    "display": {"text": RESIDUAL, "settings": "display: 2"},
}


@needs_gpu
@pytest.mark.parametrize("case", CHANGES)
def test_bits_are_those_of_a_run_without_sharing(case: str) -> None:
    solvers = pair(**CHANGES[case])
    nets = [solver.net for solver in solvers]
    for number in range(6):  # as it is, captured, replayed
        for net in nets:
            fill(net, values(number))
        assert solvers[0].step(1) == solvers[1].step(1)
        assert arena(nets[1])
        assert not arena(nets[0])
        same_weights(nets, f"step {number}")
    if case not in ("iter_size", "display"):
        assert "whole iteration: graph" in nets[1].executor.remarks()
    assert executor_of(nets[1]).sharing.size < executor_of(nets[1]).sharing.unshared_size
    name = next(name for name, blob in nets[1].blobs.items() if is_lost(nets[1], blob.diff_storage))
    same(f"diff of {name}", nets[0].blobs[name].peek_diff(), nets[1].blobs[name].peek_diff())
    assert nets[1].blobs[name].diff_storage not in arena(nets[1])
    assert arena(nets[1])
    same_weights(nets, "after a look")
    for number in range(4):
        for net in nets:
            fill(net, values(10 + number))
        assert solvers[0].step(1) == solvers[1].step(1)
    same_weights(nets, "after four more steps")
    assert not executor_of(nets[1]).sharing.given_up
    same_blobs(nets, "after four more steps")


@needs_gpu
def test_a_script_that_reads_many_blobs_ends_the_sharing() -> None:
    solvers = pair(RESIDUAL)
    nets = [solver.net for solver in solvers]
    for solver in solvers:
        solver.step(4)
    lost = [s for s in arena(nets[1]) if is_lost(nets[1], s)]
    assert len(lost) > sharing.MOST_READS + 1
    for storage in lost[: sharing.MOST_READS]:
        storage.read()
    assert arena(nets[1])
    lost[sharing.MOST_READS].read()
    assert not arena(nets[1])
    same_blobs(nets, "after many looks")
    for solver in solvers:
        solver.step(4)
    same_weights(nets, "after four more steps")
    same_blobs(nets, "after four more steps")
    assert executor_of(nets[1]).sharing.given_up


@needs_gpu
def test_what_was_read_is_what_the_step_made_though_all_has_changed_since() -> None:
    solvers = pair(BRANCHES, above="force_backward: true ")
    nets = [solver.net for solver in solvers]
    for solver in solvers:
        solver.step(4)
    expected = {name: (blob.peek().copy(), blob.peek_diff().copy()) for name, blob in nets[0].blobs.items()}
    for net in nets:
        for layer in net.layers:
            for blob in layer.blobs:
                blob.data[...] *= 0.5
        net.blobs["label"].data[...] = 0
        net.blobs["g"].diff[...] = 3
    for name in ("c1", "c2", "cat", "a", "f", "product"):
        same(name, nets[1].blobs[name].peek(), expected[name][0])
        same(f"diff of {name}", nets[1].blobs[name].peek_diff(), expected[name][1])
    same_weights(nets, "after")
    for solver in solvers:
        solver.step(3)
    same_weights(nets, "after three more steps")
    same_blobs(nets, "after three more steps")


@needs_gpu
def test_what_shares_lies_apart_while_it_is_in_use() -> None:
    solver = pair(RESIDUAL)[1]
    solver.step(1)
    executor, net = executor_of(solver), solver.net
    groups = executor.plan.groups
    spans = BlobLifetimes(net, groups, backward=[g for g in reversed(groups) if g.need_backward]).in_arena()
    found = arena(net)
    assert set(spans) == set(found)
    place = {s: (array.data.ptr, array.nbytes) for s, array in found.items()}
    overlapping = 0
    for a, b in combinations(spans, 2):
        (x, m), (y, n) = place[a], place[b]
        apart = x + m <= y or y + n <= x
        assert apart or not spans[a].overlaps(spans[b])
        overlapping += not apart
    assert overlapping
    data, diff = net.blobs["c2"].data_storage, net.blobs["c2"].diff_storage
    assert spans[diff].end - spans[diff].start == 1  # from the backward of one layer to that of the next
    assert spans[data].end > len(groups)  # BN needs it to go back
    assert spans[net.blobs["n2"].data_storage].end < len(groups)  # the sum does not
    apart, shared, least = planned_step_bytes(net, groups)
    assert least <= shared < apart
    assert apart - shared == executor.sharing.unshared_size - executor.sharing.size


@looks_inside
def test_the_memory_of_a_step_is_less_by_what_is_shared() -> None:
    used = []
    first = solver_of(RESIDUAL, above="force_backward: true ")
    first.step(1)  # makes the workspace, which all nets share
    pool = open_gpu(0).cupy.get_default_memory_pool()
    for solver in pair(RESIDUAL, above="force_backward: true "):
        before = pool.used_bytes()
        solver.step(1)
        used.append(pool.used_bytes() - before)
        ours = executor_of(solver).sharing
    parameters = 4 * sum(-(-blob.count // 64) * 64 for layer in solver.net.layers for blob in layer.blobs)
    saved = ours.unshared_size - ours.size - parameters
    assert saved > 0
    assert saved <= used[0] - used[1] < saved + 512 * 2 * len(solver.net.blobs)  # CuPy rounds up each array


def test_the_dry_run_reports_the_memory_of_a_training_step() -> None:
    net = make(INPUTS + RESIDUAL, "numpy")
    figures = plan_figures(net)
    apart, shared, least = figures.step_bytes
    assert least <= shared < apart
    blobs = {s: s.count * 4 for b in net.blobs.values() for s in (b.data_storage, b.diff_storage)}
    assert figures.blob_bytes[0] < apart <= sum(-(-size // 256) * 256 for size in blobs.values())
    learned = sum(p.blob.count for p in net.learnable)
    assert figures.parameter_bytes == 4 * 2 * (learned + sum(b.count for n in ("n1", "n2") for b in net.params[n][2:]))
    (line,) = [line for line in figures.lines() if line.startswith("memory of data and diffs in training")]
    assert f"{apart / 1e6:.3f} MB apart, {shared / 1e6:.3f} MB shared" in line
    assert plan_figures(net, backward=False).step_bytes == (0, 0, 0)


@needs_gpu
def test_little_is_not_worth_the_copy_of_the_parameters() -> None:
    solver = solver_of(RESIDUAL)
    solver.step(4)
    assert not arena(solver.net)
    assert executor_of(solver).sharing.worth == sharing.WORTH_SHARING


@needs_gpu
@pytest.mark.parametrize("way", ["forward", "part", "backward", "hook", "debug_info"])
def test_another_kind_of_run_ends_it_and_finds_what_it_needs(way: str) -> None:
    solvers = pair(RESIDUAL, above="force_backward: true ")
    nets = [solver.net for solver in solvers]
    for solver in solvers:
        solver.step(4)
        net = solver.net
        if way == "forward":
            net.run_forward()
        elif way == "part":
            net.run_forward(net.layer_index("c2"), net.layer_index("sum"))
        elif way == "backward":
            net.run_backward(net.layer_index("rs"), net.layer_index("n1"))
        elif way == "hook":
            net.before_backward(lambda index: None)
            net.forward_backward()
        else:
            net.debug_info = True
            net.forward_backward()
            net.debug_info = False
    assert not arena(nets[1])
    same_weights(nets, way)
    same_blobs(nets, way)
    for solver in solvers:
        solver.step(3)
    same_weights(nets, f"{way}, then steps")
    same_blobs(nets, f"{way}, then steps")
    assert not arena(nets[1])


@needs_gpu
def test_views_that_a_script_keeps() -> None:
    solvers = pair(RESIDUAL)
    views = [(s.net.blobs["c2"].diff, s.net.blobs["n1"].data) for s in solvers]
    for _ in range(5):
        for solver in solvers:
            solver.step(1)
        for a, b in zip(*views, strict=True):
            same("held", a, b)
    held = {solvers[1].net.blobs["c2"].diff_storage, solvers[1].net.blobs["n1"].data_storage}
    assert not held & set(arena(solvers[1].net))
    assert solvers[1].net.blobs["c1"].diff_storage in arena(solvers[1].net)


@needs_gpu
def test_other_batches_need_another_arena() -> None:
    solvers = pair(BRANCHES)
    sizes = []
    for number, batch in enumerate((4, 4, 4, 6, 6, 6, 3, 4)):
        for solver in solvers:
            fill(solver.net, values(number, batch))
        assert solvers[0].step(1) == solvers[1].step(1)
        assert arena(solvers[1].net)
        sizes.append(executor_of(solvers[1]).sharing.size)
    assert sizes[3] > sizes[0]
    nets = [solver.net for solver in solvers]
    same_weights(nets, "after")
    same_blobs(nets, "after")


def give_once(layer: Any, batch: int) -> None:
    """Let a source give one batch of another size."""

    def forward(bottom: Any, top: Any) -> None:
        del layer.forward
        layer.forward(bottom, top)
        for blob in top:
            blob.reshape(batch, *blob.shape[1:])
            blob.data[...] = np.linspace(0, 2, blob.count).reshape(blob.shape).astype(int)

    layer.forward = forward


@needs_gpu
def test_a_source_that_changes_the_shapes_in_the_middle_of_a_step(tmp_path: Path) -> None:
    import h5py

    for k, batch in enumerate((4, 4)):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            for name, value in values(k, batch).items():
                file[name] = value
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path / f'{k}.h5'}\n" for k in range(2)))
    source = f'hdf5_data_param {{ source: "{tmp_path}/list.txt" batch_size: 3 }}'
    text = f'layer {{ name: "in" type: "HDF5Data" top: "data" top: "label" {source} }}'
    solvers = []
    for _ in range(2):
        param = pb.SolverParameter(net_param=parse(text + RESIDUAL))
        text_format.Merge('base_lr: 0.05 momentum: 0.9 lr_policy: "fixed"', param)
        solvers.append(Solver(param, engine="cuda", seed=4))
    for solver, shares in zip(solvers, (False, True), strict=True):
        share(solver, shares)
    for number in range(9):
        if number in (4, 7):  # in the middle of the step, as a source does
            for solver in solvers:
                give_once(solver.net.layers[0], 4 if number == 4 else 2)
        assert solvers[0].step(1) == solvers[1].step(1)
        assert arena(solvers[1].net)
    nets = [solver.net for solver in solvers]
    same_weights(nets, "after")
    same_blobs(nets, "after")


@needs_gpu
def test_a_snapshot_in_the_middle(tmp_path: Path) -> None:
    settings = f'snapshot: 3 snapshot_prefix: "{tmp_path}/s"'
    solvers = pair(RESIDUAL, settings)
    solvers[1].step(5)
    shared = len(arena(solvers[1].net))
    assert shared
    solvers[0].restore(str(tmp_path / "s_iter_3.solverstate"))
    solvers[0].step(2)
    same_weights([solver.net for solver in solvers], "after")


# -- gradients of one value ----------------------------------------------------------------------------------------
def place_of(net: Any, name: str) -> int:
    return int(net.blobs[name].diff_storage.copy_at("cuda:0").array.data.ptr)


TWINS = {
    "fused": (RESIDUAL, {}, [("sum", "n2", "c0_c0_0_split_1"), ("sum2", "sum_rs_0_split_1", "c3")]),
    "unfused": (RESIDUAL, {"options": Options(fuse=False)}, [
        ("sum", "n2", "c0_c0_0_split_1"), ("sum2", "sum_rs_0_split_1", "c3")]),
    "bf16": (RESIDUAL, {"options": Options(precision="bf16")}, [("sum", "n2", "c0_c0_0_split_1")]),
    "tf32": (RESIDUAL, {"options": Options(tf32=True)}, [("sum", "n2", "c0_c0_0_split_1")]),
    "without ReLU": (  # one sum behind another: all have the gradient of the last one
        RESIDUAL.replace('layer { name: "rs2" bottom: "sum2" top: "sum2" type: "ReLU" }', "")
        .replace('layer { name: "rs" bottom: "sum" top: "sum" type: "ReLU" }', "")
        .replace('name: "sum2" bottom: "sum"', 'name: "more" bottom: "c3" bottom: "sum" top: "more" type: "Eltwise" }\n'
                 'layer { name: "sum2" bottom: "more"'),
        {}, [("sum2", "more", "sum_sum_0_split_1")]),
}  # fmt: skip


@looks_inside
@pytest.mark.parametrize("case", TWINS)
def test_bottoms_of_a_sum_have_one_gradient(case: str) -> None:
    """In one array, written once; what a script reads is what it was."""
    text, kwargs, expected = TWINS[case]
    solvers = pair(text, above="force_backward: true ", **kwargs)
    nets = [solver.net for solver in solvers]
    for number in range(4):
        for net in nets:
            fill(net, values(number))
        assert solvers[0].step(1) == solvers[1].step(1)
    for names in expected:
        assert len({place_of(nets[1], name) for name in names}) == 1, names
        assert len({place_of(nets[0], name) for name in names}) == len(names)
    nets[1].blobs[expected[0][1]].diff[...] = 7  # no other one of them changes
    others = [name for one in expected for name in one if name != expected[0][1]]
    for name in others[: sharing.MOST_READS - 2]:
        same(f"diff of {name}", nets[0].blobs[name].peek_diff(), nets[1].blobs[name].peek_diff())
    for solver in solvers:
        solver.step(3)
    same_weights(nets, "after")
    same_blobs(nets, "after")


@looks_inside
def test_a_gradient_that_is_overwritten_stays_apart() -> None:
    """A normalisation in place leaves its bottom's gradient where that of its top was."""
    text = RESIDUAL.replace('top: "n2"', 'top: "c2"').replace('bottom: "n2"', 'bottom: "c2"')
    solvers = pair(text, above="force_backward: true ")
    nets = [solver.net for solver in solvers]
    for solver in solvers:
        solver.step(3)
    assert place_of(nets[1], "sum") == place_of(nets[1], "c0_c0_0_split_1") != place_of(nets[1], "c2")
    same_weights(nets, "after")
    same_blobs(nets, "after")


def test_the_dry_run_counts_a_gradient_of_several_blobs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(INPUTS + RESIDUAL, "numpy")
    apart = plan_figures(net)
    monkeypatch.setattr("dragon.engines.cuda.plan.lifetimes.WORTH_SHARING", 0)
    shared = plan_figures(net)
    size = {name: net.blobs[name].count * 4 for name in ("sum", "sum2")}
    assert apart.launches == shared.launches
    assert apart.bytes - shared.bytes == 2 * size["sum"] + 2 * size["sum2"]
