"""Dragon on systems without POSIX: commands run in processes that lack what Windows lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dragon.data import write_synthetic
from dragon.files import reading
from tests.imports import ROOT
from tests.tools.conftest import NET, SOLVER

# Python imports this file at the start of every process that has its folder on PYTHONPATH
WITHOUT_POSIX = """
import errno, os, random, signal, subprocess, sys, tempfile, threading  # parts of Python that would use POSIX
import click, numpy, rich.console  # and libraries, which know the real Windows
import fcntl
real = os.fsync, fcntl.fcntl
def fsync(number):  # as Windows: only of files that are open for writing
    if real[1](number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    real[0](number)
real_open = os.open
def open_(path, *rest, **more):
    if os.path.isdir(path):  # as Windows
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return real_open(path, *rest, **more)
os.fsync, os.open = fsync, open_
import shutil  # which has found by then that folders can be opened
shutil._use_fd_functions = False
for module in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[module] = None
for name in ("O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "O_NOFOLLOW", "fork", "forkpty", "pread", "preadv", "pwrite",
             "sysconf", "sched_getaffinity", "register_at_fork", "getloadavg", "getuid", "geteuid", "getgid", "killpg",
             "getpgid", "setsid", "uname", "statvfs", "nice", "mkfifo", "chown", "lchown", "fchmod", "posix_spawn"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGALRM", "SIGUSR1", "SIGPIPE", "alarm", "setitimer", "pthread_sigmask", "SIG_BLOCK",
             "SIG_SETMASK", "SIG_UNBLOCK", "siginterrupt", "sigwait"):
    if hasattr(signal, name):
        delattr(signal, name)
"""


@pytest.fixture
def windows(tmp_path: Path) -> dict[str, str]:
    """The environment of processes without POSIX."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WITHOUT_POSIX)
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def run(folder: Path, env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dragon", *args]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_commands_without_posix(tmp_path: Path, windows: dict[str, str]) -> None:
    write_synthetic(tmp_path / "drawn", train=60, test=24)
    work = tmp_path / "work"
    work.mkdir()
    shutil.copytree(tmp_path / "drawn", work / "data")
    (work / "net.prototxt").write_text(NET)
    (work / "solver.prototxt").write_text(SOLVER)
    weights = ("--weights", "out/x_iter_10.caffemodel")
    for args in (
        ("data", "synthetic", "--dir", "more", "--train", "50", "--test", "20"),
        ("train", "--solver", "solver.prototxt", "--iterations", "10"),
        ("train", "--solver", "solver.prototxt", "--iterations", "12", "--snapshot", "out/x_iter_10.solverstate"),
        ("test", "--model", "net.prototxt", *weights, "--iterations", "2"),
        ("time", "--model", "net.prototxt", "--iterations", "2"),
        ("fold", "--model", "net.prototxt", *weights, "--out-model", "f.prototxt", "--out-weights", "f.caffemodel"),
        ("device",),
    ):
        done = run(work, windows, *args)
        assert done.returncode == 0, f"{args}: {done.stderr}"
        assert "Traceback" not in done.stderr
    assert (work / "out/curves.png").is_file()
    missing = run(work, windows, "train", "--solver", "data")
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr


@pytest.mark.slow
def test_an_experiment_without_posix(tmp_path: Path, windows: dict[str, str]) -> None:
    """Its workers are processes of their own, which lack POSIX as well."""
    write_synthetic(tmp_path / "data", train=60, test=24)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    (tmp_path / "e.yaml").write_text(
        "name: t\nsolver: solver.prototxt\niterations: 4\nseeds: [1]\n"
        "variants:\n  - name: a\n  - name: b\n    set: {base_lr: 0.02}\n"
    )
    done = run(tmp_path, windows, "compare", "e.yaml", "--output", "o", "--jobs", "1")
    assert done.returncode == 0, done.stderr


def test_reading_by_position_without_pread(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(100)))
    number = reading.open_number(tmp_path / "f")
    try:
        for start, size in ((10, 5), (0, 3), (98, 10), (200, 4)):
            assert reading._seek_and_read(number, size, start) == bytes(range(100))[start : start + size]
    finally:
        os.close(number)


@pytest.mark.parametrize("system", ["win32", "darwin", "linux"])
def test_without_the_library_of_the_fast_engine(tmp_path: Path, system: str) -> None:
    """Where its wheel does not exist (macOS, Windows, aarch64) nets run on NumPy, and asking for it is one line."""
    code = (
        "import importlib.metadata, ctypes.util, numpy, sys, urllib.request  # those know the real system\n"
        f"sys.platform = {system!r}\n"
        "def gone(name): raise importlib.metadata.PackageNotFoundError(name)\n"
        "importlib.metadata.files, ctypes.util.find_library = gone, lambda name: None\n"
        "real = ctypes.CDLL\n"
        "def cdll(name=None, *rest, **more):\n"
        "    if name and 'dnnl' in str(name): raise OSError(f'{name}: cannot open shared object file')\n"
        "    return real(name, *rest, **more)\n"
        "ctypes.CDLL = cdll\n"
        "import dragon\n"
        "print(dragon.Net('n.prototxt', dragon.TEST).executor.name)\n"
        "try: dragon.Net('n.prototxt', dragon.TEST, engine='onednn')\n"
        "except dragon.EngineError as error: print(str(error).count('\\n'), error)\n"
    )
    (tmp_path / "n.prototxt").write_text(
        'input: "x" input_shape { dim: 1 dim: 2 } layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    name, problem = done.stdout.splitlines()
    assert name == "numpy"
    assert problem.startswith("0 ")
    assert "oneDNN" in problem
