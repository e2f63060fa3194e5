"""The checks of the GPU benchmarks keep to their time and say what came of them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks import gpu_checks
from benchmarks.gpu_checks import engine_tests, run_for, sanitizer, smoke


def test_a_program_is_ended_with_what_it_started() -> None:
    code = "import subprocess, sys; print('begun', flush=True); subprocess.run(['sleep', '60'])"
    begin = time.monotonic()
    status, lines = run_for(2, [sys.executable, "-c", code])
    assert status is None
    assert lines[0] == "begun"
    assert time.monotonic() - begin < 20


def test_output_and_status_of_a_program() -> None:
    assert run_for(30, [sys.executable, "-c", "print(1); print(2); raise SystemExit(3)"]) == (3, ["1", "2"])


@pytest.mark.parametrize(("body", "passed", "said"), [("pass", True, "1 passed"), ("assert 0", False, "1 failed")])
def test_tests_are_run_and_failures_named(body: str, passed: bool, said: str, tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(f"def test_it():\n    {body}\n")
    lines: list[str] = []
    assert engine_tests(120, lines.append, str(tmp_path)) is passed
    assert lines[-1].startswith(f"tests: {said}")
    assert any(line.startswith("FAILED") and "test_it" in line for line in lines) is not passed


def test_tests_that_do_not_end_are_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("import time\ndef test_it():\n    time.sleep(60)\n")
    lines: list[str] = []
    assert engine_tests(1, lines.append, str(tmp_path)) is None
    assert lines[-1].startswith("tests: ended after 1 s")


@pytest.mark.parametrize(
    ("status", "passed"), [(0, True), (1, False), (2, None), (None, None)], ids=["right", "wrong", "no GPU", "too long"]
)
def test_verdict_of_the_smoke_test(status: int | None, passed: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_checks, "run_for", lambda *_: (status, ["right: a, fp32", "WRONG: a, bf16"]))
    lines: list[str] = []
    assert smoke(1, lines.append) is passed
    assert "WRONG: a, bf16" in lines
    assert lines[-1] == f"smoke test: 1 right, status {status}"


def test_without_the_sanitizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    lines: list[str] = []
    assert sanitizer(1, lines.append) is None
    assert lines == ["compute-sanitizer is missing: memory accesses were not checked"]
