"""Hints for a file without the flag that it needs, and for a file behind a flag that does not exist."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.tools.conftest import Dragon


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("test n.prototxt w.caffemodel", "did you mean --model n.prototxt --weights w.caffemodel?"),
        ("test --model n.prototxt w.h5", "Missing option '--weights': did you mean --weights w.h5?"),
        ("train solver.prototxt", "did you mean --solver solver.prototxt?"),
        ("train --solver s.prototxt x.solverstate", "did you mean --snapshot x.solverstate?"),
        (
            "merge n.prototxt w.h5 m.prototxt m.h5",
            "did you mean --model n.prototxt --weights w.h5 --out-model m.prototxt --out-weights m.h5?",
        ),
        ("import n.onnx", "did you mean --onnx n.onnx?"),
        ("import n.safetensors", "did you mean --torch-weights n.safetensors?"),
        ("test --model n.prototxt w.safetensors", "did you mean --weights w.safetensors?"),
        ("time n.prototxt", "did you mean --model n.prototxt?"),
        ("time my_solver.prototxt", "did you mean --solver my_solver.prototxt?"),
        ("classify n.prototxt a.png --weights w.caffemodel", "did you mean --model n.prototxt?"),
        ("draw --model n.prototxt", ": draw takes its files without a flag: dragon draw n.prototxt"),
        ("upgrade --model old.prototxt new.prototxt", "without a flag: dragon upgrade old.prototxt"),
    ],
)
def test_hints(dragon: Dragon, line: str, hint: str) -> None:
    result = dragon(*line.split())
    assert result.code == 2
    assert hint in result.error
    assert "Did you mean" not in result.error


@pytest.mark.parametrize("line", ["train", "train --solvr x", "classify --model n.prototxt", "trian a.prototxt"])
def test_no_hint_where_nothing_is_known(dragon: Dragon, line: str) -> None:
    result = dragon(*line.split())
    assert result.code == 2
    assert "without a flag" not in result.error
    assert "did you mean --" not in result.error


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("dragon train --solver models/x", "file,models/x"),
        ("dragon merge --out-weights x", "file,x"),
        ("dragon classify --mean x", "file,x"),
        ("dragon train --output x", "dir,x"),
        ("dragon tra", "plain,train"),
        ("dragon data mn", "plain,mnist plain,mnist_scenes plain,mnist_lines"),
    ],
)
def test_what_the_shell_completes(words: str, kind: str) -> None:
    """As bash asks for it; a flag's file is completed like any other."""
    env = {**os.environ, "_DRAGON_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "from dragon.tools.main import cli; cli.main(prog_name='dragon')"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == kind.split()
