"""Tests of detectors: a solver's test nets give mean average precisions."""

from __future__ import annotations

import logging

import pytest

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.solver import Solver
from tests.graph.detection_nets import detection_net
from tests.helpers import toy_solver


def solver(settings: str = "") -> Solver:
    text = f"base_lr: 0 lr_policy: 'fixed' max_iter: 1 test_iter: 1 test_interval: 1 {settings}"
    param = parse_text(text, pb.SolverParameter())
    param.net_param.CopyFrom(parse_text(detection_net(), pb.NetParameter()))
    return Solver(param, engine="numpy")


@pytest.mark.parametrize(
    ("version", "first"),
    [("Integral", (1 + 2 / 3) / 2), ("MaxIntegral", (1 + 2 / 3) / 2), ("11point", (6 + 5 * 2 / 3) / 11)],
)
def test_mean_average_precision(version: str, first: float, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dragon")
    one = solver(f'eval_type: "detection" ap_version: "{version}" show_per_class_result: true')
    scores = one.test()
    assert list(scores) == ["eval", "loss"]
    assert float(scores["eval"]) == pytest.approx(first / 2)  # the second class has no box
    texts = [record.getMessage() for record in caplog.records]
    assert [text for text in texts if text.startswith("class")] == [f"class1: {first:g}", "class2: 0"]
    assert any(text.strip() == f"Test net output #0: eval = {first / 2:g}" for text in texts)


def test_a_net_that_compares_no_detections() -> None:
    with pytest.raises(
        PrototxtError, match=r'eval_type: "detection", but test net ".*" has no layer DetectionEvaluate'
    ):
        toy_solver(eval_type="detection", test_iter=[1], test_interval=1)
    with pytest.raises(PrototxtError, match=r'ap_version is one of 11point, .*"12point" \(did you mean "11point"\?\)'):
        solver('ap_version: "12point"')
    with pytest.raises(PrototxtError, match=r'eval_type is one of classification, detection, got "detect"'):
        solver('eval_type: "detect"')


def test_a_solver_that_only_tests(caplog: pytest.LogCaptureFixture) -> None:
    """As forks write them: max_iter: 0, also with a rate that falls to the last iteration."""
    caplog.set_level(logging.INFO, "dragon")
    one = toy_solver(max_iter=0, lr_policy="poly", power=0.5, test_iter=[1], test_interval=7)
    one.solve()
    assert one.iter == 0
    assert sum("Testing net" in record.getMessage() for record in caplog.records) == 1
    with pytest.raises(PrototxtError, match="lr_policy poly needs a positive max_iter, got 0"):
        one.step(1)


def test_no_batches_have_no_mean() -> None:
    one = toy_solver(test_iter=[0], test_interval=1, test_compute_loss=True)
    assert dict(one.test()) == {}
