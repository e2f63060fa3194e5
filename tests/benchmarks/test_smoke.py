"""The smoke test of a GPU on the emulated one, and that it finds what is wrong."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from benchmarks.smoke import BLOCK, PRECISIONS, Run, check, definition, errors, main, train
from tests.engines.cuda.conftest import cuda, emulated  # noqa: F401
from tests.engines.cuda.emulation import standin


@pytest.mark.usefixtures("emulated")
def test_each_precision_agrees_with_numpy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--batch", "6", "--net", BLOCK]) == 0
    assert main(["--batch", "2", "--net", "cifar10_quick_bn_split", "--precision", "bf16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": loss off")[0] for line in lines] == [
        *(f"right: {BLOCK}, {precision}" for precision in PRECISIONS), "right: cifar10_quick_bn_split, bf16",
    ]  # fmt: skip


@pytest.mark.usefixtures("emulated")
def test_wrong_gradients_are_found() -> None:
    expected = train(definition(BLOCK, 2), "numpy", dtype=np.float64)
    expected.changes["fc[0]"] *= 2
    right, line = check(BLOCK, expected, "fp16", 2)
    assert not right
    assert line.startswith(f"WRONG: {BLOCK}, fp16: gradients differ; loss off by ")
    assert "fc[0] by " in line


@pytest.mark.usefixtures("emulated")
def test_an_iteration_that_is_no_graph_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Any, mode: int | None = None) -> None:
        raise standin.CUDARuntimeError("cudaErrorStreamCaptureUnsupported: planted")

    monkeypatch.setattr(standin.Stream, "begin_capture", refuse)
    assert main(["--batch", "6", "--net", BLOCK, "--precision", "fp32"]) == 1
    shown = capsys.readouterr().out
    assert f"WRONG: {BLOCK}, fp32: whole iteration: in parts: " in shown
    assert "planted; loss off by " in shown


@pytest.mark.usefixtures("emulated")
def test_a_net_that_does_not_run_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Run([1.0], {}, [])
    monkeypatch.setattr(standin.Memory, "limit", 1)
    right, line = check(BLOCK, expected, "fp32", 2)
    assert not right
    assert line.startswith(f"WRONG: {BLOCK}, fp32: does not run: ")
    assert "\n" not in line


def test_nan_is_the_largest_error() -> None:
    expected = Run([2.0, 4.0], {"a": np.ones(3), "b": np.ones(2), "c": np.zeros(2)}, [])
    ours = Run([2.0, 3.0], {"a": np.array([1, 1, np.nan]), "b": np.full(2, 9.0), "c": np.zeros(2)}, [])
    loss, change, worst = errors(ours, expected)
    assert loss == 0.5
    assert np.isnan(change)
    assert worst == "a"


def test_without_a_gpu_one_line_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("nothing ran: CuPy is not installed")
