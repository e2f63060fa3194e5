"""Snapshots: a resumed run computes the same bits; damaged and foreign files are refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import dragon
from dragon.data import encode_datum, write_lmdb
from dragon.errors import WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.solver.rate import Plateau
from tests.helpers import STATE_FORMATS, solver_param, toy_solver, weights_of


@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize("rule", ["SGD", "Adam"])
@pytest.mark.parametrize("kind", STATE_FORMATS)
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


@pytest.mark.parametrize("kind", STATE_FORMATS)
def test_a_resumed_run_steps_down_where_the_whole_one_does(kind: int, tmp_path: Path) -> None:
    """With the policy plateau, whose lowest loss and last step a state holds; in the middle of a window."""
    settings: dict[str, Any] = {"lr_policy": "plateau", "plateau_winsize": [2, 3, 4], "gamma": 0.5, "base_lr": 0.5}
    settings |= {"snapshot_format": kind, "average_loss": 2, "snapshot": 10}
    whole = toy_solver(tmp_path, **settings)
    whole.step(10)
    steps = whole.current_step
    assert 0 < steps < 3
    whole.step(8)
    assert whole.current_step > steps
    resumed = toy_solver(tmp_path, **settings)
    resumed.restore(tmp_path / f"toy_iter_10.solverstate{'.h5' if kind == pb.SolverParameter.HDF5 else ''}")
    assert resumed.current_step == steps
    resumed.step(8)
    assert resumed.plateau == whole.plateau
    assert resumed.learning_rate() == whole.learning_rate()
    for name, value in weights_of(whole.net).items():
        assert (value == weights_of(resumed.net)[name]).all(), name


def test_a_state_of_ssd_keeps_its_plateau(tmp_path: Path) -> None:
    """Its own fields: minimum_loss, iter_last_event and current_step."""
    settings: dict[str, Any] = {"lr_policy": "plateau", "plateau_winsize": [3, 4], "gamma": 0.5, "snapshot": 4}
    toy_solver(tmp_path, **settings).step(4)
    path = tmp_path / "toy_iter_4.solverstate"
    state = pb.SolverState.FromString(path.read_bytes())
    own = ("solver_type", "random_seed", "losses", "layer_state", "learned_net_checksum", "version")
    for field in (*own, "exact_minimum_loss"):
        state.ClearField(field)
    state.minimum_loss, state.iter_last_event, state.current_step = 0.25, 3, 1
    path.write_bytes(state.SerializeToString())
    solver = toy_solver(tmp_path, **settings)
    solver.restore(path)
    assert solver.plateau == Plateau(0.25, 3, 1)
    assert solver.learning_rate() == solver.param.base_lr * 0.5


def test_an_hdf5_state_of_ssd_keeps_its_plateau(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "lr_policy": "plateau", "plateau_winsize": [3, 4], "gamma": 0.5, "snapshot": 4,
        "snapshot_format": pb.SolverParameter.HDF5,
    }  # fmt: skip
    toy_solver(tmp_path, **settings).step(4)
    path = tmp_path / "toy_iter_4.solverstate.h5"
    with h5py.File(path, "a") as file:
        assert file["minimum_loss"].shape == file["iter_last_event"].shape == (1,)
        del file["dragon"]
        for name in list(file.attrs):  # the checksum
            del file.attrs[name]
        file["minimum_loss"][...], file["iter_last_event"][...], file["current_step"][...] = 0.25, 3, 1
    solver = toy_solver(tmp_path, **settings)
    solver.restore(path)
    assert solver.plateau == Plateau(0.25, 3, 1)


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
