"""A file of layers or lowerings that cannot be imported is named: one line, exit status 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dragon.errors import LayerFileError
from tests.imports import ROOT

BROKEN = "class ChannelGain:\n    def gain(self) -> Array: ...\n"
REASON = "cannot be loaded: NameError: name 'Array' is not defined"
# Adds a folder with the broken file to a package, then runs the rest.
ADD = "import importlib, sys; importlib.import_module(sys.argv[1]).__path__.append(sys.argv[2])\n"


def run(code: str, package: str, folder: Path, text: str = BROKEN) -> subprocess.CompletedProcess[str]:
    (folder / "channel_gain.py").write_text(text)
    command = [sys.executable, "-c", ADD + code, package, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def test_a_command_names_the_file_of_a_layer(tmp_path: Path) -> None:
    done = run("from dragon.tools.main import main; main(['layers'])", "dragon.layers", tmp_path)
    assert (done.returncode, done.stderr) == (2, f"dragon: error: layers/channel_gain.py {REASON}\n")


def test_a_mistake_of_syntax_is_named_in_the_same_way(tmp_path: Path) -> None:
    done = run("from dragon.tools.main import main; main(['layers'])", "dragon.layers", tmp_path, "def (:\n")
    assert done.returncode == 2
    assert done.stderr.startswith("dragon: error: layers/channel_gain.py cannot be loaded: SyntaxError: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("package", "module"),
    [
        ("dragon.engines.onednn.lowerings", "dragon.engines.onednn.lowerings"),
        ("dragon.engines.cuda.lowerings", "dragon.engines.cuda.lowerings.lowering"),
    ],
)
def test_the_file_of_a_lowering_is_named(package: str, module: str, tmp_path: Path) -> None:
    code = (
        f"from {module} import lowered\n"
        "try: lowered()\n"
        "except Exception as error: print(type(error).__name__, error, repr(error.__cause__), sep='|')\n"
    )
    done = run(code, package, tmp_path)
    file = f"{package.removeprefix('dragon.').replace('.', '/')}/channel_gain.py"
    cause = "NameError(\"name 'Array' is not defined\")"
    assert done.stdout == f"{LayerFileError.__name__}|{file} {REASON}|{cause}\n", done.stderr
