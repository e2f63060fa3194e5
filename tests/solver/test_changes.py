from __future__ import annotations

import pytest

from dragon import get_solver
from dragon.errors import UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.definition import Definition
from dragon.solver.changes import change_solver
from dragon.solver.solver import Solver
from tests.helpers import solver_param


def changed(*texts: str) -> Solver:
    param = solver_param(test_iter=[1], test_interval=5)
    definition, changes = change_solver(Definition(param), map(Assignment.parse, texts))
    return get_solver(definition, engine="numpy", changes=changes)


def test_fields_of_the_solver() -> None:
    param = changed(
        "base_lr=.25", "solver.momentum=0", "stepvalue=3,5", "train_state.stage=a,b", "solver_type=ADAM"
    ).param
    assert (param.base_lr, param.momentum, list(param.stepvalue), param.type) == (0.25, 0, [3, 5], "Adam")
    assert list(param.train_state.stage) == ["a", "b"]


def test_layers_of_train_and_test_nets() -> None:
    solver = changed("conv.num_output=3", "net.ip.num_output=2", "accuracy.top_k=2")
    for net in (solver.net, *solver.test_nets):
        assert net.params["conv"][0].shape[0] == 3
        assert net.params["ip"][0].shape[0] == 2
    assert solver.test_nets[0].layers[-2].param.accuracy_param.top_k == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base_lrr=1", 'SolverParameter has no field "base_lrr" (did you mean "base_lr"?)'),
        ("base_lr=fast", '"base_lr" is a number, got "fast"'),
        ("train_stte.level=1", '"train_stte" (did you mean "train_state"?)'),
        ("test_iter[-1]=4", "expected the number of an entry behind it, as in test_iter[0], or a field of it, as"),
        ("covn.num_output=1", '"covn" (did you mean "conv"?)'),
        ("solver_mode=GPUS", '(did you mean "GPU"?)'),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        changed(text)
    assert f"--set {text}: " in str(raised.value)
    assert message in str(raised.value)


def test_the_given_definition_stays_as_it_is() -> None:
    param = solver_param()
    before = pb.SolverParameter()
    before.CopyFrom(param)
    change_solver(Definition(param), [Assignment.parse("base_lr=7")])
    assert param == before
