"""Hints for wrong command lines: a file without the flag that it needs, or with a flag that does not exist."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import click

__all__ = ["usage_hint"]

_FLAGS = {".prototxt": ("--solver", "--model"), ".caffemodel": ("--weights",), ".h5": ("--weights",)}
_FLAGS |= {".solverstate": ("--snapshot",), ".pt": _FLAGS[".prototxt"], ".hdf5": _FLAGS[".h5"]}
_FLAGS |= {".onnx": ("--onnx",), ".pth": ("--torch-weights",), ".safetensors": ("--weights", "--torch-weights")}


def usage_hint(error: click.ClickException, args: Sequence[str]) -> str:
    """A hint to append to the message of a usage error; "" if there is none."""
    context = getattr(error, "ctx", None)
    if context is None or context.command is None or isinstance(context.command, click.Group):
        return ""
    if isinstance(error, click.NoSuchOption):
        return _flag_to_omit(context.command, error.option_name, args)
    return _missing_flags(context.command, args)


def _flag_to_omit(command: click.Command, flag: str, args: Sequence[str]) -> str:
    """The hint for a flag that does not exist, followed by a file."""
    value = next((b for a, b in pairwise(args) if a == flag), "")
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    if not value or not (Path(value).suffix in _FLAGS or os.path.exists(value)) or not arguments:
        return ""
    return f": {command.name} takes its files without a flag: dragon {command.name} {value}"


def _missing_flags(command: click.Command, args: Sequence[str]) -> str:
    """The hint for files without the flags that the command takes them by."""
    known = {name: p for p in command.params if isinstance(p, click.Option) for name in p.opts}
    takes_files = any(isinstance(p, click.Argument) and p.nargs == -1 for p in command.params)
    words: list[str] = []
    taken = {arg.partition("=")[0] for arg in args}
    before = ""
    for arg in args[1:]:
        option = known.get(before.partition("=")[0])
        is_value = option is not None and not option.is_flag and "=" not in before
        suffix = Path(arg).suffix
        if not arg.startswith("-") and not is_value and suffix in _FLAGS:
            flags = [name for name in _FLAGS[suffix] if name in known and (known[name].multiple or name not in taken)]
            flags = flags or [f"--out{name[1:]}" for name in _FLAGS[suffix] if f"--out{name[1:]}" in known]
            flag = next((name for name in flags if name[2:] in Path(arg).name), flags[-1] if flags else None)
            if flag is not None and not (takes_files and flag in args):
                words.append(f"{flag} {arg}")
                taken.add(flag)
        before = arg
    return f": did you mean {' '.join(words)}?" if words else ""
