"""`dragon caffe-names`: puts Caffe's programs into a folder, as launchers of Dragon's commands."""

from __future__ import annotations

import os
import shlex
import site
import sys
import sysconfig
from pathlib import Path

import click

import dragon
from dragon.errors import UsageError
from dragon.files.atomic import write_atomically
from dragon.files.folders import make_folder
from dragon.tools.common.caffe_programs import PROGRAMS
from dragon.tools.common.outputs import OutputFolder

__all__ = ["command", "launcher"]

_MARK = "written by dragon caffe-names"


@click.command("caffe-names")
@click.option(
    "--dir",
    "folder",
    type=OutputFolder(),
    required=True,
    metavar="DIR",
    help="Write the programs here; made if it is missing.",
)
def command(folder: str) -> None:
    """Write programs with the names of Caffe's, which take the same arguments, so that scripts for Caffe run Dragon.

    They are caffe (train, test, time, device_query), convert_imageset, convert_annoset, compute_image_mean,
    extract_features, upgrade_net_proto_text, upgrade_net_proto_binary and upgrade_solver_proto_text. Scripts that say
    build/tools/caffe find them with --dir build/tools, others when DIR is on the path. They run the Python and the
    Dragon of this command.

    \b
    Example: dragon caffe-names --dir build/tools
    """
    windows = os.name == "nt"
    files = {Path(folder, f"{name}.cmd" if windows else name): launcher(name, windows) for name in PROGRAMS}
    for path in files:
        if path.is_dir() or (path.exists() and _MARK.encode() not in path.read_bytes()[:200]):
            raise UsageError(f"{path} exists and was not written by this command: choose another folder")
    make_folder(folder)
    for path, text in files.items():
        write_atomically(path, text.encode())
        path.chmod(0o755)
    click.echo(f"{folder}: {', '.join(PROGRAMS)}")
    place = Path(folder).resolve()
    on_path = f'set "PATH={place};%PATH%"' if windows else f'export PATH={shlex.quote(str(place))}:"$PATH"'
    click.echo(f"put it on the path:  {on_path}")


def launcher(program: str, windows: bool) -> str:
    """The text of a program: a script of the POSIX shell, or a command file of Windows."""
    python, root = sys.executable, _root()
    module = f"-P -m dragon.tools.common.caffe_programs {program}"  # -P: the working directory is no place of modules
    if windows:
        python, root = python.replace("%", "%%"), root.replace("%", "%%")
        path = f'set "PYTHONPATH={root};%PYTHONPATH%"\n' if root else ""
        text = f'@echo off\nrem {_MARK}\nsetlocal\n{path}"{python}" {module} %*\nexit /b %ERRORLEVEL%\n'
        return text.replace("\n", "\r\n")
    path = f'PYTHONPATH={shlex.quote(root)}"${{PYTHONPATH:+:$PYTHONPATH}}"\nexport PYTHONPATH\n' if root else ""
    return f'#!/bin/sh\n# {_MARK}\n{path}exec {shlex.quote(python)} {module} "$@"\n'


def _root() -> str:
    """The folder that holds the package, where Python does not look by itself: that of a checkout; else empty."""
    root = Path(dragon.__file__).resolve().parents[1]
    known = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")]
    return "" if root in {Path(folder).resolve() for folder in known} else str(root)
