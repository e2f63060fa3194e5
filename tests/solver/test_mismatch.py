"""A state of another net: both nets and the first layer that differs are named."""

from __future__ import annotations

from pathlib import Path

import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
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


def test_another_rule_is_not_another_net(tmp_path: Path) -> None:
    with toy_solver(tmp_path) as solver:
        solver.step(1)
        path = solver.snapshot()
    with (
        toy_solver(type="Adam") as solver,
        pytest.raises(dragon.WeightsError, match="solver type Adam needs") as caught,
    ):
        solver.restore(path)
    assert "state of" not in str(caught.value)
