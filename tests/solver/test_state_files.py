"""The files of snapshots: what BVLC Caffe writes and reads, and what a damaged one is refused for."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dragon.errors import WeightsError
from dragon.proto import dragon_pb2 as pb
from tests.helpers import STATE_FORMATS, toy_solver, weights_of


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
    for field in ("solver_type", "random_seed", "layer_state", "losses", "version"):
        state.ClearField(field)
    path.write_bytes(state.SerializeToString())
    again = toy_solver(tmp_path)
    again.restore(path)
    assert again.iter == 3
    assert (again.updater.history[0][0].peek() == solver.updater.history[0][0].peek()).all()


def test_a_state_that_is_cut_between_two_fields(tmp_path: Path) -> None:
    """It can be parsed, has no checksum any more, and would begin with the first batch again."""
    solver = toy_solver(tmp_path)
    solver.step(3)
    path = Path(solver.snapshot())
    whole = path.read_bytes()
    state = pb.SolverState.FromString(whole)
    for cut in ("learned_net_checksum", "version", "losses", "layer_state", "random_seed"):
        state.ClearField(cut)
        if cut == "learned_net_checksum":
            continue  # nothing is lost
        beginning = state.SerializeToString()
        assert whole.startswith(beginning)
        path.write_bytes(beginning)
        with pytest.raises(WeightsError, match=r"toy_iter_3\.solverstate: the file is damaged: it is cut off"):
            toy_solver(tmp_path).restore(path)


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


@pytest.mark.parametrize("kind", STATE_FORMATS)
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


@pytest.mark.parametrize("kind", STATE_FORMATS)
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
