"""`dragon run SCRIPT ARGS`: run a script written for pycaffe."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import click

from dragon import alias
from dragon.errors import UsageError

__all__ = ["command"]


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("script", type=click.Path(dir_okay=False))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(script: str, args: tuple[str, ...]) -> int:
    """Run the Python SCRIPT with ARGS, `import caffe` and its submodules meaning Dragon.

    Example: dragon run net_surgery.py --out new.caffemodel
    """
    source = _source(script)
    alias.install()
    folder = str(Path(script).resolve().parent)
    before = sys.argv, sys.path[:]
    sys.argv = [script, *args]
    sys.path.insert(0, folder)
    try:
        compile(source, script, "exec")
        runpy.run_path(script, run_name="__main__")
    except SyntaxError as error:
        raise UsageError(_explained(error)) from None
    except SystemExit as end:
        return _status(end.code)
    finally:
        sys.argv, sys.path[:] = before
    return 0


def _source(script: str) -> bytes:
    try:
        return Path(script).read_bytes()
    except OSError as error:
        raise UsageError(f"{script}: cannot be read: {error.strerror}") from None


def _status(code: object) -> int:
    """What `sys.exit(code)` means to a shell."""
    if code is None or isinstance(code, int):
        return code or 0
    click.echo(str(code), err=True)
    return 1


def _explained(error: SyntaxError) -> str:
    where = f"{error.filename}:{error.lineno}"
    old = ("print", "exec", "multiple exception types", "leading zeros", "'<>'", "backtick")
    text = error.msg + (error.text or "")
    if any(mark in text for mark in old):
        return f"{where}: {error.msg}; the script is written for Python 2: convert it first, with 2to3 or by hand"
    return f"{where}: {error.msg}"
