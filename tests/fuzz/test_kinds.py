"""A quarter of a second of what `make fuzz` does for minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import supervise
from tests.fuzz.kinds import KINDS, load, survives

load()
SECONDS = 0.25
MORE = {"command": 1.5}  # its examples are slower, and so are its imports
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", KINDS)
def test_damage_of(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Supervised from here, since a process of its own would import as much again."""
    if kind == "leveldb":
        pytest.importorskip("plyvel", reason="plyvel-ci is not installed")
    if kind == "onnx_model":
        pytest.importorskip("onnx")
    monkeypatch.chdir(ROOT)
    failed = supervise(kind, MORE.get(kind, SECONDS) / 60, 1, tmp_path, least=20)
    said = capsys.readouterr().out
    assert not failed, said
    assert _tried(said) >= 20


def test_the_command(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "mean", "--minutes", "0.001", "--least", "3", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert _tried(run.stdout) >= 3


def _tried(said: str) -> int:
    return int(said.split(" examples")[0].split()[-1])


def test_a_fault_is_kept_and_can_be_read_again(tmp_path: Path) -> None:
    """With a kind that fails on purpose."""
    code = (
        "import sys\n"
        "from tests.fuzz import __main__ as program, kinds\n"
        "def fails(folder):\n"
        "    def read(content):\n"
        "        if content == b'7': raise KeyError('planted')\n"
        "    return (lambda chance: str(chance.randrange(10)).encode()), read\n"
        "kinds.KINDS['planted'] = fails\n"
        "sys.exit(program.child('planted', 0.01, 1, program.Path(sys.argv[1])))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    kept = list(tmp_path.glob("planted-*"))
    assert [path.read_bytes() for path in kept] == [b"7"]
    assert "KeyError" in run.stdout
    assert run.stdout.count("planted:") == 1, "one example of each fault is enough"


def test_an_error_of_several_lines_is_a_fault() -> None:
    class Rogue(Exception):
        pass

    def action() -> None:
        raise Rogue("not ours")

    with pytest.raises(Rogue):
        survives(action)
