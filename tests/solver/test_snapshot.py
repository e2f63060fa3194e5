"""Snapshots: a resumed run computes the same bits; damaged and foreign files are refused in one line."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import dragon
from dragon.data import encode_datum, write_lmdb
from dragon.errors import WeightsError
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from tests.helpers import solver_param, toy_solver, weights_of

FORMATS = [pb.SolverParameter.BINARYPROTO, pb.SolverParameter.HDF5]


@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize("rule", ["SGD", "Adam"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_resumed_run_gives_the_same_bits(kind: int, rule: str, engine: str, tmp_path: Path) -> None:
    settings = {"snapshot_format": kind, "type": rule, "average_loss": 4, "snapshot": 6}
    whole = toy_solver(tmp_path, engine, **settings)
    whole.step(12)
    ending = ".h5" if kind == pb.SolverParameter.HDF5 else ""
    resumed = toy_solver(tmp_path, engine, **{**settings, "random_seed": 99})
    resumed.restore(tmp_path / f"toy_iter_6.solverstate{ending}")
    assert resumed.iter == 6
    resumed.step(6)
    expected, got = weights_of(whole.net), weights_of(resumed.net)
    for name, value in expected.items():
        assert (value == got[name]).all(), name
    assert resumed.losses == whole.losses
    for a, b in zip(whole.updater.history, resumed.updater.history, strict=True):
        assert all((x.peek() == y.peek()).all() for x, y in zip(a, b, strict=True))


AUGMENTED = """
layer { name: "data" type: "Data" top: "data" top: "label"
        data_param { source: "SOURCE" backend: LMDB batch_size: 4 shuffle: true }
        transform_param { zero_pad: 1 crop_size: 5 mirror: true cutout: 2 brightness: 0.3 scale: 0.01 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("before", [2, 13], ids=["first epoch", "later epoch"])
@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_shuffled_and_augmented_images_resume_under_another_seed(engine: str, before: int, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 3, 5, 5), dtype=np.uint8)
    write_lmdb(tmp_path / "lmdb", ((f"{i:02d}".encode(), encode_datum(x, i % 3)) for i, x in enumerate(images)))
    net = AUGMENTED.replace("SOURCE", str(tmp_path / "lmdb"))
    prefix = str(tmp_path / "run")
    with dragon.get_solver(solver_param(net, snapshot_prefix=prefix), engine=engine) as whole:
        whole.step(before)
        state = whole.snapshot()
        whole.step(4)
        expected = weights_of(whole.net)
    with dragon.get_solver(solver_param(net, snapshot_prefix=prefix, random_seed=99), engine=engine) as resumed:
        resumed.restore(state)
        resumed.step(4)
        got = weights_of(resumed.net)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, name)


def test_the_state_is_what_bvlc_expects(tmp_path: Path) -> None:
    solver = toy_solver(tmp_path, lr_policy="step", stepsize=2, gamma=0.5)
    solver.step(5)
    state = pb.SolverState.FromString(Path(solver.snapshot()).read_bytes())
    assert state.iter == 5
    assert state.current_step == 2
    assert state.learned_net.endswith("toy_iter_5.caffemodel")
    shapes = [tuple(blob.shape.dim) for blob in state.history]
    # convolution, then all five blobs of BN (Caffe keeps a history for statistics too), then the inner product
    assert shapes == [(4, 2, 3, 3), (4,), (4,), (4,), (4,), (4,), (1,), (3, 36), (3,)]
    assert not any(state.history[i].data[0] for i in (4, 5, 6))


def test_a_state_of_bvlc_resumes(tmp_path: Path) -> None:
    solver = toy_solver(tmp_path)
    solver.step(3)
    path = Path(solver.snapshot())
    state = pb.SolverState.FromString(path.read_bytes())
    for field in ("random_seed", "layer_state", "losses", "version"):
        state.ClearField(field)
    path.write_bytes(state.SerializeToString())
    again = toy_solver(tmp_path)
    again.restore(path)
    assert again.iter == 3
    assert (again.updater.history[0][0].peek() == solver.updater.history[0][0].peek()).all()


def test_the_model_is_found_beside_the_state_when_both_have_moved(tmp_path: Path) -> None:
    solver = toy_solver(tmp_path)
    solver.step(2)
    state = Path(solver.snapshot())
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in (state, state.with_suffix(".caffemodel")):
        shutil.move(path, moved / path.name)
    again = toy_solver(tmp_path)
    again.restore(moved / state.name)
    assert (again.net.params["ip"][0].peek() == solver.net.params["ip"][0].peek()).all()


def test_nothing_is_left_of_a_snapshot_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solver = toy_solver(tmp_path)
    solver.step(1)
    monkeypatch.setattr("os.fsync", _full_disk)
    with pytest.raises(dragon.WeightsError, match="No space left"):
        solver.snapshot()
    assert list(tmp_path.iterdir()) == []


def _full_disk(handle: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "damage", ["missing", "truncated", "garbage", "history", "other rule", "other net", "no model"]
)
def test_what_cannot_be_resumed_is_one_line(damage: str, tmp_path: Path) -> None:
    solver = toy_solver(tmp_path)
    solver.step(1)
    path = Path(solver.snapshot())
    again = toy_solver(tmp_path)
    match damage:
        case "missing":
            path = tmp_path / "none.solverstate"
        case "truncated":
            path.write_bytes(path.read_bytes()[:-7])
        case "garbage":
            path.write_bytes(b"\xff" * 100)
        case "history":
            state = pb.SolverState.FromString(path.read_bytes())
            state.history[0].shape.dim[0] = 99
            path.write_bytes(state.SerializeToString())
        case "other rule":
            again = toy_solver(tmp_path, type="Adam")
        case "other net":
            other = solver_param().net_param
            other.layer[1].convolution_param.num_output = 5
            param = solver_param()
            param.net_param.CopyFrom(other)
            again = dragon.get_solver(param, engine="numpy")
        case "no model":
            path.with_suffix(".caffemodel").unlink()
    before = weights_of(again.net)
    with pytest.raises(dragon.WeightsError, match=r"toy_iter_1|none\.solverstate") as caught:
        again.restore(path)
    assert "\n" not in str(caught.value)
    after = weights_of(again.net)
    assert all((before[k] == after[k]).all() for k in before), "a refused state must leave the solver as it was"
    assert again.iter == 0


def test_weights_load_by_name_and_refuse_another_net(tmp_path: Path) -> None:
    solver = toy_solver(tmp_path)
    path = tmp_path / "w.caffemodel"
    solver.net.save(path)
    other = dragon.get_solver(
        solver_param().__class__.FromString(
            solver_param()
            .SerializeToString()
            .replace(b"conv", b"cnvv")
            .replace(b"\x02bn", b"\x02nb")
            .replace(b"\x02ip", b"\x02pi")
        ),
        engine="numpy",
    )
    with pytest.raises(dragon.WeightsError, match="weights of another net"):
        other.net.copy_from(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(dragon.WeightsError, match=r"w\.caffemodel"):
        solver.net.copy_from(path)


def test_net_weights_round_trip_in_both_formats(tmp_path: Path) -> None:
    solver = toy_solver(tmp_path)
    solver.step(2)
    for name in ("w.caffemodel", "w.caffemodel.h5"):
        solver.net.save(tmp_path / name)
        fresh = toy_solver(tmp_path, random_seed=77)
        fresh.net.copy_from(tmp_path / name)
        a, b = weights_of(solver.net), weights_of(fresh.net)
        assert all(np.array_equal(a[k], b[k]) for k in a)


def test_the_model_of_an_hdf5_state_is_a_string_of_fixed_length(tmp_path: Path) -> None:
    """As BVLC Caffe writes it. States with h5py's own strings, as they once were, are read by what stands beside."""
    solver = toy_solver(tmp_path, snapshot_format=pb.SolverParameter.HDF5)
    solver.step(1)
    state = tmp_path / Path(solver.snapshot()).name.replace("caffemodel", "solverstate")
    with h5py.File(state, "r+") as file:
        assert file["learned_net"].dtype.kind == "S"
        del file["learned_net"]
        file["learned_net"] = "not looked at"
    solver.step(1)
    solver.restore(state)
    assert solver.iter == 1
    with h5py.File(state, "r+") as file:
        del file["dragon"]
    with pytest.raises(WeightsError, match="expected learned_net to be a string of fixed length, got object"):
        solver.restore(state)


def test_an_hdf5_state_as_bvlc_caffe_writes_and_reads_it(tmp_path: Path) -> None:
    """The datasets iter and current_step have shape (1,), learned_net is a scalar string that ends in NUL."""
    solver = toy_solver(
        tmp_path, snapshot_format=pb.SolverParameter.HDF5, lr_policy="step", stepsize=2, gamma=0.5, type="Adam"
    )
    solver.step(3)
    state = Path(solver.snapshot())
    with h5py.File(state) as file:
        assert {name: (file[name].shape, file[name].dtype.str) for name in ("iter", "current_step")} == {
            "iter": ((1,), "<i4"),
            "current_step": ((1,), "<i4"),
        }
        assert (file["iter"][0], file["current_step"][0]) == (3, 1)
        learned = file["learned_net"].id
        model = str(tmp_path / "toy_iter_3.caffemodel.h5")
        assert learned.shape == ()
        assert learned.get_type().get_size() == len(model) + 1
        assert learned.get_type().get_strpad() == h5py.h5t.STR_NULLTERM
        assert file["learned_net"][()] == model.encode()
    for scalar in (False, True):  # as ours once were
        with h5py.File(state, "r+") as file:
            for name in ("dragon", "iter", "current_step", "learned_net"):
                if name in file:
                    del file[name]
            file["iter"], file["current_step"] = (np.int32(3), np.int32(1)) if scalar else ([3], [1])
            file["learned_net"] = np.bytes_(model.encode())
        again = toy_solver(tmp_path, type="Adam")
        again.restore(state)
        assert again.iter == 3
        for a, b in zip(solver.updater.history, again.updater.history, strict=True):
            assert all((x.peek() == y.peek()).all() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("iter", [1, 2], r"/iter has shape \(2,\), expected one number"),
        ("iter", np.inf, "cannot convert float infinity"),
        ("iter", 1.5, r"/iter is 1\.5, expected a whole number"),
        ("iter", np.bytes_(b"7"), "/iter holds text, expected real numbers"),
        ("iter", 2**40, "."),
        ("current_step", np.nan, "cannot convert float NaN"),
        ("learned_net", np.full(3, b"x"), "is not one string"),
        ("learned_net", np.bytes_(b"\xff\xfe"), "can't decode byte 0xff"),
        ("history/0", np.bytes_(b"7"), "/history/0 holds text"),
        ("history/0", 7j, "/history/0 holds complex numbers"),
        ("history/0", np.zeros((1,) * 32), "."),
    ],
)
def test_damaged_fields_of_an_hdf5_state(field: str, value: object, message: str, tmp_path: Path) -> None:
    solver = toy_solver(tmp_path, snapshot_format=pb.SolverParameter.HDF5)
    solver.step(1)
    state = solver.snapshot()
    with h5py.File(state, "r+") as file:
        del file[field]
        file[field] = value
    solver.step(1)
    before = weights_of(solver.net)
    with pytest.raises(WeightsError, match=message) as caught:
        solver.restore(state)
    assert "\n" not in str(caught.value)
    assert solver.iter == 2
    after = weights_of(solver.net)
    assert all((before[name] == after[name]).all() for name in before)


@pytest.mark.parametrize("name", ["conv/0", "bn/2", "ip/1"])
def test_a_changed_value_in_an_hdf5_model_is_found(tmp_path: Path, name: str) -> None:
    solver = toy_solver(tmp_path, snapshot_format=pb.SolverParameter.HDF5)
    solver.step(2)
    state = Path(solver.snapshot())
    model = Path(str(state).replace("solverstate", "caffemodel"))
    with h5py.File(model) as file:
        value = file[f"data/{name}"][()].tobytes()
    content = bytearray(model.read_bytes())
    content[content.index(value) + 1] ^= 0x40
    model.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        toy_solver(tmp_path).restore(state)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("ending", ["caffemodel", "solverstate"])
def test_no_changed_byte_of_a_snapshot_is_accepted(tmp_path: Path, ending: str, kind: int) -> None:
    solver = toy_solver(tmp_path, snapshot_format=kind)
    solver.step(2)
    state = Path(solver.snapshot())
    file = Path(str(state).replace("solverstate", ending))
    content = file.read_bytes()
    expected = weights_of(solver.net)
    steps = len(content) // 150
    for at in range(0, len(content), steps):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        file.write_bytes(damaged)
        other = toy_solver(tmp_path, random_seed=3)
        try:
            other.restore(state)
        except WeightsError:
            continue
        assert at > len(content) - 200, at  # the checksum itself is not there any more
        assert all((value == expected[name]).all() for name, value in weights_of(other.net).items())


@pytest.mark.parametrize("kind", FORMATS)
def test_a_state_knows_its_model(tmp_path: Path, kind: int) -> None:
    """Two runs in one folder, of which one was killed between the model and the state."""
    first = toy_solver(tmp_path, snapshot_format=kind)
    first.step(2)
    state = Path(first.snapshot())
    toy_solver(tmp_path).restore(state)
    other = toy_solver(tmp_path, random_seed=7)
    other.step(2)
    other.net.save(str(state).replace("solverstate", "caffemodel"))
    with pytest.raises(WeightsError, match="is not the model that this state was written with"):
        toy_solver(tmp_path).restore(state)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "/dev/zero"])
def test_a_state_whose_model_has_a_name_that_no_file_has(tmp_path: Path, name: str) -> None:
    solver = toy_solver(tmp_path)
    solver.step(1)
    path = Path(solver.snapshot())
    state = pb.SolverState.FromString(path.read_bytes())
    state.learned_net = name
    path.write_bytes(state.SerializeToString())
    with pytest.raises(WeightsError, match=r"its learned net .* is missing"):
        solver.restore(path)


def test_a_stop_during_a_test_leaves_the_test_position(tmp_path: Path) -> None:
    """The resumed run tests the batches that the whole one would have tested."""
    from dragon.solver.solver import Observer, Solver

    settings: dict[str, Any] = {"test_interval": 2, "test_iter": [3], "test_initialization": False}
    draws: list[list[int]] = []
    for stop in (False, True):
        solver = toy_solver(tmp_path, **settings)

        class Stop(Observer):
            def on_test_batch(self, solver: Solver, index: int, done: int, total: int) -> None:
                if done == 2:
                    solver.request("stop")

        if stop:
            solver.observers.append(Stop())
        solver.step(3)
        net = solver.test_nets[0]
        draws.append([layer.rng.draws for layer in net.layers])
        if stop:
            assert solver.stopped
            assert draws[1] == [0] * len(draws[1])
    assert any(draws[0]), "the test net draws nothing, so this test shows nothing"


@pytest.mark.parametrize("when", ["first net", "second net", "just after"])
def test_a_stop_during_a_test_leaves_the_positions_of_all_test_nets(tmp_path: Path, when: str) -> None:
    """Whichever net is tested when the stop comes, the resumed run tests all nets from where the pass began."""
    from dragon.solver.solver import Observer, Solver

    class Stop(Observer):
        def on_test_batch(self, solver: Solver, index: int, done: int, total: int) -> None:
            if when != "just after" and solver.iter == 4 and index == (when == "second net") and done == 2:
                solver.request("stop")

        def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
            if when == "just after" and solver.iter == 4 and index == 1:
                solver.request("stop")

    def positions(solver: Solver) -> list[object]:
        return [(layer.rng.draws, layer.state()) for net in solver.test_nets for layer in net.layers]

    settings: dict[str, Any] = {"test_interval": 2, "test_iter": [3, 3], "test_initialization": False}
    whole, stopped = toy_solver(tmp_path, **settings), toy_solver(tmp_path, **settings)
    stopped.observers.append(Stop())
    whole.step(4)
    stopped.step(6)
    assert stopped.stopped
    assert stopped.iter == 4
    assert positions(stopped) == positions(whole)
    assert any(draws for net in whole.test_nets for draws in [layer.rng.draws for layer in net.layers])


@pytest.mark.parametrize("damage", ["draws", "negative", "bytes", "model", "iteration"])
def test_a_state_that_is_refused_half_way_leaves_the_solver_as_it_was(damage: str, tmp_path: Path) -> None:
    """Layers are restored one by one; the last one, or the model, may turn out damaged."""
    solver = toy_solver(tmp_path)
    solver.step(2)
    path = Path(solver.snapshot())
    state = pb.SolverState.FromString(path.read_bytes())
    state.ClearField("learned_net_checksum")
    last = state.layer_state[-1].entry[0]
    match damage:
        case "draws":
            last.int_value = 2**63 - 1
        case "negative":
            last.int_value = -1
        case "bytes":
            last.ClearField("int_value")
            last.bytes_value = b"x"
        case "model":
            model = pb.NetParameter.FromString(Path(state.learned_net).read_bytes())
            model.layer[-2].blobs[-1].shape.dim[0] = 77
            Path(state.learned_net).write_bytes(model.SerializeToString())
        case "iteration":
            state.iter = -3
    state.random_seed = 1234
    path.write_bytes(state.SerializeToString())
    whole, again = toy_solver(), toy_solver()
    whole.step(1)
    again.step(1)
    with pytest.raises(WeightsError, match=r"damaged|expected shape|does not fit"):
        again.restore(path)
    assert (again.iter, again.seed, again.net.seed) == (1, 5, 5)
    assert again.step(1) == whole.step(1), "dropout and data go on as if nothing had been"
    for name, value in weights_of(whole.net).items():
        assert (weights_of(again.net)[name] == value).all(), name
