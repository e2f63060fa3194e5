"""Settings of a solver that cannot work: the file and the line, what was expected, what was given, the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.text import parse_text, read_solver_definition
from dragon.solver.changes import change_solver
from dragon.solver.definition import warnings
from dragon.solver.solver import Solver
from tests.helpers import solver_param

NET = """net_param {
  layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: [2, 3] } shape { dim: 2 } } }
  layer { name: "f" type: "InnerProduct" bottom: "x" top: "f" inner_product_param { num_output: 2 } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "y" top: "loss" } }
"""
SETTINGS = {"base_lr": "0.1", "lr_policy": '"fixed"', "max_iter": "3"}


def written(folder: Path, wrong: str) -> Path:
    """A solver whose line 7 is `wrong`; the settings that it names are given nowhere else."""
    path = folder / "solver.prototxt"
    first = "".join(f"{name}: {value}  " for name, value in SETTINGS.items() if f"{name}:" not in wrong)
    path.write_text(f"{first}\n{NET}\n{wrong}\n")
    return path


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ('lr_policy: "fixd"', 'lr_policy is one of fixed, step, .*, got "fixd" (did you mean "fixed"?)'),
        ('type: "Adm"', 'type is one of SGD, .*, got "Adm" (did you mean "Adam"?)'),
        ('regularization_type: "L3"', 'regularization_type is one of L2, L1, got "L3"'),
        ('engine: "onednnn"', 'engine is one of .*, got "onednnn" (did you mean "onednn"?)'),
        ("display: -5", "display must not be negative, got -5"),
        ("test_interval: -1", "test_interval must not be negative, got -1"),
        ("test_iter: -2 test_interval: 1", "test_iter must not be negative, got -2"),
        ("test_iter: [1, 2] test_interval: 1 test_state { }", "1 test_state for 2 test nets"),
        ("snapshot: -1", "snapshot must not be negative, got -1"),
        ("max_iter: -3", "max_iter must not be negative, got -3"),
        ("weight_decay: -0.1", "weight_decay must not be negative, got -0.1"),
        ("weight_decay: nan", "weight_decay must be a finite number, got nan"),
        ("warmup_iter: -1", "warmup_iter must not be negative, got -1"),
        ("delta: -1", "delta must not be negative, got -1"),
        ("clip_gradients: nan", "clip_gradients must be a number, got nan"),
        ("base_lr: inf", "base_lr must be a finite number, got inf"),
        (r'snapshot_prefix: "a\000b"', "snapshot_prefix holds a NUL, which no path can"),
        ("iter_size: 0", "iter_size must be at least 1, got 0"),
        ("average_loss: 0", "average_loss must be at least 1, got 0"),
        ('stepsize: 0 lr_policy: "step" gamma: 0.1', "lr_policy step needs a positive stepsize, got 0"),
        ('stepvalue: [5, 3] lr_policy: "multistep" gamma: 0.1', "stepvalue must not fall, got 5, 3"),
        ('momentum2: 1.5 type: "Adam"', "momentum2 of the Adam solver must lie within -1 and 1, got 1.5"),
        ('rms_decay: 2 type: "RMSProp"', "rms_decay must lie in [0, 1), got 2"),
    ],
)
def test_the_line_of_a_wrong_setting(tmp_path: Path, wrong: str, message: str) -> None:
    path = written(tmp_path, wrong)
    with pytest.raises(dragon.PrototxtError) as caught:
        Solver(str(path), engine="numpy" if "engine" not in wrong else None)
    start, found, end = str(caught.value).partition(message.partition(".*")[0])
    assert (start, found) == (f"{path}:7: ", message.partition(".*")[0])
    assert end.endswith(message.partition(".*")[2])


def test_a_setting_that_is_changed_has_no_line(tmp_path: Path) -> None:
    path = written(tmp_path, "display: 5")
    definition, changes = change_solver(read_solver_definition(path), [Assignment.parse("display=-5")])
    with pytest.raises(dragon.PrototxtError, match=rf"^{path}: display must not be negative, got -5"):
        Solver(definition, changes=changes, engine="numpy")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('lr_policy: "fixed" momentum: 0.9', []),
        ('lr_policy: "step" stepsize: 5', ["lr_policy step without gamma: the rate is 0 from the first step on"]),
        ('lr_policy: "exp"', ["lr_policy exp without gamma: the rate is 0 from iteration 1 on"]),
        ('lr_policy: "inv" gamma: 0.1', ["lr_policy inv without power: the rate stays base_lr"]),
        ('lr_policy: "multistep" gamma: 0.1', ["lr_policy multistep without stepvalue: the rate stays base_lr"]),
        ('lr_policy: "poly"', ["lr_policy poly without power: the rate stays base_lr"]),
        ('lr_policy: "fixed" stepvalue: 3', ["stepvalue has no effect with lr_policy fixed"]),
        (
            'lr_policy: "step" stepsize: 5 gamma: 0.1 stepvalue: 7 power: 2',
            ["power has no effect with lr_policy step", "stepvalue has no effect with lr_policy step"],
        ),
        ('lr_policy: "fixed" warmup_start_lr: 0.1', ["warmup_start_lr has no effect without warmup_iter"]),
        ('lr_policy: "fixed" base_lr: 0', ["base_lr is 0: nothing is learned"]),
        ('lr_policy: "fixed" base_lr: -1', ["base_lr is -1: the loss is made larger, not smaller"]),
        ('lr_policy: "fixed" momentum: 1', ["momentum is 1: steps grow without end; it is below 1"]),
    ],
)
def test_what_caffe_allows_is_warned_of(text: str, expected: list[str]) -> None:
    rate = "" if "base_lr" in text else "base_lr: 0.1 "
    assert warnings(parse_text(f"{rate}{text} max_iter: 9", pb.SolverParameter())) == expected


def test_a_message_of_an_older_form_is_upgraded_as_its_file_is() -> None:
    message = solver_param(type="SGD")
    message.ClearField("type")
    message.solver_type = pb.SolverParameter.ADAM
    with Solver(message, engine="numpy", verbose=False) as solver:
        assert solver.updater.rule.name == "Adam"
    assert not message.HasField("type")  # the caller's stays as it is
    with dragon.SGDSolver(message, engine="numpy", verbose=False) as solver:  # the class says which
        assert solver.updater.rule.name == "SGD"
    message.type = "SGD"
    with pytest.raises(dragon.PrototxtError, match=r"solver gives both type \(\"SGD\"\) and solver_type"):
        Solver(message, engine="numpy")


def test_a_rate_that_gradients_cannot_follow() -> None:
    found = warnings(parse_text('base_lr: 1 lr_policy: "fixed" max_iter: 9 clip_gradients: 0', pb.SolverParameter()))
    assert [line.partition(":")[0] for line in found] == ["clip_gradients is 0"]
