"""A state of another net: both nets and the first layer that differs are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.solver.state_files import read_state, write_state
from tests.helpers import TRAINABLE, solver_param, toy_solver


@pytest.mark.parametrize("form", [pb.SolverParameter.BINARYPROTO, pb.SolverParameter.HDF5])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("num_output: 3", "num_output: 4", 'layer "ip" has (3, 36), (3,) there and (4, 36), (4,) here'),
        ("num_output: 4", "num_output: 5", 'layer "conv" has (4, 2, 3, 3), (4,) there and (5, 2, 3, 3), (5,) here'),
        ('layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }', "", 'layer "bn" has (4,), (4,), (4,), (4,)'),
    ],
)
def test_both_nets_and_the_layer_are_named(tmp_path: Path, form: int, old: str, new: str, words: str) -> None:
    with toy_solver(tmp_path, snapshot_format=form) as solver:
        solver.step(1)
        path = solver.snapshot()
    assert old in TRAINABLE
    other = solver_param(TRAINABLE.replace(old, new).replace('"toy"', '"other"'))
    theirs = 'net "toy"' if form == pb.SolverParameter.BINARYPROTO else "the net of "
    with dragon.get_solver(other, engine="numpy") as solver, pytest.raises(dragon.WeightsError) as caught:
        solver.restore(path)
    assert f"it is the state of {theirs}" in str(caught.value)
    assert 'this is net "other"' in str(caught.value)
    assert words in str(caught.value)


FORMATS = [pb.SolverParameter.BINARYPROTO, pb.SolverParameter.HDF5]
NO_MOMENTUM: dict[str, Any] = {"momentum": 0}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("old", "new", "keeps"),
    [
        ("SGD", "Adam", "averages of gradients and of squared gradients"),
        ("SGD", "AdaGrad", "sums of squared gradients"),  # as many blobs
        ("AdaGrad", "RMSProp", "averages of squared gradients"),  # none of them negative
        ("Adam", "AdaDelta", "averages of squared gradients and of squared steps"),
        ("RMSProp", "Nesterov", "a momentum"),
    ],
)
def test_the_state_of_another_rule(tmp_path: Path, form: int, old: str, new: str, keeps: str) -> None:
    with toy_solver(tmp_path, type=old, snapshot_format=form, **_settings(old)) as solver:
        solver.step(1)
        path = solver.snapshot()
    with toy_solver(type=new, **_settings(new)) as solver, pytest.raises(dragon.WeightsError) as caught:
        solver.restore(path)
    assert f"the state of a solver of type {old}, which keeps " in str(caught.value)
    assert f"this one of type {new} keeps {keeps}: go on with type" in str(caught.value)
    assert "another net" not in str(caught.value)


@pytest.mark.parametrize(("old", "new"), [("SGD", "Nesterov"), ("LARS", "SGD"), ("Adam", "AdamW"), ("LAMB", "Adam")])
def test_rules_of_one_history_go_on_with_each_other(tmp_path: Path, old: str, new: str) -> None:
    with toy_solver(tmp_path, type=old) as solver:
        solver.step(2)
        path = solver.snapshot()
        history = [blob.peek().copy() for slot in solver.updater.history for blob in slot]
    with toy_solver(type=new) as solver:
        solver.restore(path)
        assert all(
            (blob.peek() == value).all()
            for blob, value in zip([b for slot in solver.updater.history for b in slot], history, strict=True)
        )


@pytest.mark.parametrize("new", ["AdaGrad", "RMSProp"])
def test_negative_squares_of_a_state_that_names_no_rule(tmp_path: Path, new: str) -> None:
    """BVLC's states do not say which solver wrote them."""
    with toy_solver(tmp_path) as solver:
        solver.step(1)
        path = solver.snapshot()
    state = read_state(path)
    state.ClearField("solver_type")
    arrays = [np.array(blob.data, np.float32).reshape(blob.shape.dim) for blob in state.history]
    assert any((array < 0).any() for array in arrays)
    del state.history[:]
    write_state(path, state, arrays)
    with toy_solver(type=new, **NO_MOMENTUM) as solver, pytest.raises(dragon.WeightsError) as caught:
        solver.restore(path)
    assert "has negative values" in str(caught.value)
    assert "of one of another type" in str(caught.value)


def _settings(rule: str) -> dict[str, Any]:
    return NO_MOMENTUM if rule in ("AdaGrad", "RMSProp") else {}


def test_a_seed_that_the_state_overrules_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with toy_solver(tmp_path, random_seed=7) as solver:
        solver.step(1)
        path = solver.snapshot()
    for seed, warned in [(7, False), (9, True)]:
        caplog.clear()
        with toy_solver(random_seed=seed) as solver:
            solver.restore(path)
            assert solver.seed == 7
        assert [f"{path}: the run goes on with its seed, 7; 9 has no effect"] * warned == caplog.messages
