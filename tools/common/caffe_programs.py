"""Caffe's programs: the command lines of `caffe`, `convert_imageset`, ... as those of `dragon`.

`python -m dragon.tools.common.caffe_programs PROGRAM ARGS` runs one; `dragon caffe-names` writes launchers for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from dragon.errors import nearest
from dragon.tools.common.arguments import normalise

__all__ = ["PROGRAMS", "dragon_arguments", "main"]

# the programs, with the command that each stands for; `caffe` takes its command from its arguments
PROGRAMS = {
    "caffe": None,
    "convert_imageset": "convert-imageset",
    "convert_annoset": "convert-annoset",
    "compute_image_mean": "compute-image-mean",
    "extract_features": "extract-features",
    "upgrade_net_proto_text": "upgrade-net-proto-text",
    "upgrade_net_proto_binary": "upgrade-net-proto-binary",
    "upgrade_solver_proto_text": "upgrade-solver-proto-text",
}
# the flags of `caffe`, all of which it accepts with each of its commands, and those that a command uses
_FLAGS = (
    "gpu", "solver", "model", "phase", "level", "stage", "snapshot", "weights", "iterations", "sigint-effect",
    "sighup-effect",
)  # fmt: skip
_TEXTS = ("gpu", "solver", "model", "phase", "stage", "snapshot", "weights")  # an empty one is as none
_USED = {
    "train": ("gpu", "solver", "level", "stage", "snapshot", "weights", "sigint-effect", "sighup-effect"),
    "test": ("gpu", "model", "level", "stage", "weights", "iterations"),
    "time": ("gpu", "model", "phase", "level", "stage", "iterations"),
    "device-query": ("gpu",),
}
_HELP = {"help": "--help", "helpshort": "--help", "version": "--version", "h": "--help"}


def dragon_arguments(program: str, args: Sequence[str]) -> list[str]:
    """The arguments of `dragon` for those of one of Caffe's programs. Raises click.UsageError."""
    command = PROGRAMS[program]
    if command is not None:
        return [command, *args]
    command, flags = "", []
    rest = iter(normalise(args)[0])
    for arg in rest:
        name, equals, _ = arg.lstrip("-").partition("=")
        if not arg.startswith("-"):
            if command:
                raise click.UsageError(f'caffe takes one command, got "{command}" and "{arg}"')
            command = arg.replace("_", "-")
        elif name in _HELP:
            return [command, _HELP[name]] if command in _USED else [_HELP[name]]
        elif equals or name not in _FLAGS:
            flags.append([arg])
        else:
            flags.append([arg, *[value for value in [next(rest, None)] if value is not None]])
    if command not in _USED:
        known = [name.replace("-", "_") for name in _USED]
        what = f'got "{command}"{nearest(command.replace("-", "_"), known)}' if command else "got none"
        raise click.UsageError(f"caffe takes one of the commands {', '.join(known)}; {what}")
    words: list[str] = []
    for flag in flags:
        name, equals, value = flag[0].lstrip("-").partition("=")
        if name in _TEXTS and (value if equals else flag[-1]) == "":
            continue
        if name not in _FLAGS or name in _USED[command]:
            words += flag
        else:
            click.echo(f"caffe: --{name.replace('-', '_')} has no effect on {command}", err=True)
    return [command, *words]


def main(argv: Sequence[str]) -> None:
    """Run a program, the first of the arguments, and end the process with its exit status."""
    from dragon.tools.main import main as dragon_main

    program, *args = argv
    try:
        words = dragon_arguments(program, args)
    except click.UsageError as error:
        click.echo(f"{program}: error: {error.format_message()}", err=True)
        sys.exit(2)
    dragon_main([*words, "--no-run"] if words[0] == "train" else words)  # files go where Caffe puts them


if __name__ == "__main__":
    main(sys.argv[1:])
