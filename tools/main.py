"""`dragon`: finds and runs a command, and turns exceptions into one line and an exit status.

0: done. 1: an internal error. 2: wrong input or options. 130: interrupted. 141: nobody reads the output any more, as in
`dragon layers | head -1`; shells have this number for other programs that end so.
"""

from __future__ import annotations

import io
import keyword
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any, TextIO

import click
import numpy as np

from dragon.bases.user_code import user_code, user_error
from dragon.errors import DragonError, one_line
from dragon.files.layer_files import layer_files
from dragon.files.paths import reason
from dragon.files.reading import remember_reads
from dragon.memory.shortage import shortage
from dragon.tools.common.arguments import normalise
from dragon.tools.common.hints import usage_hint
from dragon.tools.common.lazy_group import LazyGroup
from dragon.tools.common.logs import plain_logging
from dragon.tools.common.python_layers import describe_layer_error
from dragon.tools.common.streams import open_missing_streams

__all__ = ["cli", "main"]

# The commands with the text of `dragon --help`, which therefore need not load them.
COMMANDS = {
    "train": "Train a net as a solver prototxt says.",
    "test": "Score a net: the mean of each output over some batches.",
    "time": "Time every layer of a net, forward and backward.",
    "summarize": "Show a net's layers with shapes, parameters, multiply-adds and memory.",
    "probe": "Measure a net: norms, gradients, landscape, curvature, statistics, attacks.",
    "compare": "Compare variants of a net, for example plain, split and merged batch normalisation.",
    "data": "Fetch CIFAR-10 or MNIST, or draw a synthetic set, as LMDBs.",
    "zoo": "Use the nets that come with Dragon, and weights for them.",
    "layers": "List the layer types, or one type's settings with their defaults.",
    "device": "Show the engines, which is used by default, and the processors.",
    "demo": "Fetch data, compare three forms of CIFAR-10 quick, write a report.",
    "run": "Run a Python script written for pycaffe.",
    "classify": "Classify image files.",
    "detect": "Score windows of image files.",
    "convert-imageset": "Write image files and labels to an LMDB or LevelDB.",
    "convert-annoset": "Write images with boxes to an LMDB, for SSD.",
    "show-data": "Draw records of a database into one picture, with labels and boxes.",
    "compute-image-mean": "Compute the mean image of an LMDB.",
    "extract-features": "Save what a net computes: HDF5, NumPy or LMDB.",
    "export": "Write a net for another program: ONNX, PyTorch, BVLC Caffe.",
    "import": "Read a net or weights of another program: ONNX, PyTorch.",
    "upgrade": "Bring nets, solvers and weights of older forms to the present one.",
    "draw": "Draw a net as HTML, SVG, PNG or PDF.",
    "parse-log": "Write the figures of a training run as CSV.",
    "plot": "Plot losses and accuracies of training runs.",
    "bn": "Insert, remove, convert, check and show batch normalisation.",
    "lint": "Look for mistakes around batch normalisation.",
    "merge": "Turn BatchNorm + Scale into BN, net and weights.",
    "split": "Turn BN into BatchNorm + Scale, net and weights.",
    "fold": "Fold batch normalisation into convolutions, for deployment.",
    "calibrate": "Measure the ranges of activations, for inference in int8.",
    "recalibrate": "Give batch normalisation exact statistics of the training set.",
    "completion": "Print the completion script of a shell.",
    "caffe-names": "Write programs named caffe, convert_imageset, ... into a folder.",
    "help": "Show the help of a command.",
}
_CLOSED = 128 + 13  # SIGPIPE
# Names of Caffe's programs and other names, with the commands and flags that they stand for.
ALIASES = {
    "models": ("zoo", "list"),
    "device-query": ("device",),
    "draw-net": ("draw",),
    "summary": ("summarize",),
    "upgrade-net-proto-text": ("upgrade", "--kind", "net"),
    "upgrade-net-proto-binary": ("upgrade", "--kind", "weights"),
    "upgrade-solver-proto-text": ("upgrade", "--kind", "solver"),
}

# what click raises from 8.2 on; before, it shows the help and exits
_NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())


class Commands(LazyGroup):
    """The group of all commands."""

    texts = COMMANDS

    def module(self, name: str) -> str:
        module = name.replace("-", "_")
        return f"dragon.tools.{module}_" if keyword.iskeyword(module) else f"dragon.tools.{module}"

    def own_name(self, name: str) -> tuple[str, ...]:
        """The command and flags that a name stands for, which may be that of one of Caffe's programs."""
        name, *_ = super().own_name(name)
        return ALIASES.get(name, (name,))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (EOFError, BrokenPipeError) as error:
            if user_error(error) is None:
                raise
            # click would take them for Ctrl-D and for a reader of the output that has gone
            raise RuntimeError(str(error)) from error


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    """Of a checkout that is not installed, too, which click's own option takes for an error."""
    if value and not ctx.resilient_parsing:
        from dragon.version import __version__

        click.echo(f"dragon {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.option("--debug", is_flag=True, help="Show a traceback when something fails; may stand anywhere.")
def cli(debug: bool) -> None:
    """Caffe's nets from prototxt: train, test, time and compare them.

    Flags may be written as Caffe writes them: -solver F, --solver=F, --sigint_effect stop.
    """


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point: runs the command line and ends the process with its exit status."""
    open_missing_streams()
    args, debug = normalise(sys.argv[1:] if argv is None else argv)
    status = run(args, debug)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _drop(stream)
    sys.exit(status)


def run(args: Sequence[str], debug: bool = False) -> int:
    """Run a command line, already normalised, and return its exit status."""
    try:
        # overflow is reported, with layer and blob, when it reaches a loss; NumPy's warnings would only repeat it
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        _escape_unencodable(sys.stdout)
        if any("\0" in arg for arg in args):
            raise click.UsageError("an argument holds a NUL")
        with plain_logging(debug), quiet, remember_reads(), layer_files(False), user_code(False):
            status = cli.main(list(args), prog_name="dragon", standalone_mode=False)
        sys.stdout.flush()
    except _NO_ARGUMENTS as error:
        click.echo(error.format_message())
        return 0
    except (KeyboardInterrupt, click.Abort):
        _complain("dragon: interrupted")
        return 130
    except SystemExit:
        if "PacifyFlush" not in type(sys.stdout).__name__:  # what click puts there where nobody reads, before it exits
            raise
        _drop(sys.stdout, sys.stderr)
        return _CLOSED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and user_error(error) is None:
            _drop(sys.stdout, sys.stderr)
            return _CLOSED
        if debug:
            traceback.print_exc()
        described = describe_layer_error(error)
        if described is not None:
            _complain(described[0], end="")
        status, message = (2, described[1]) if described is not None else _status_and_message(error, args)
        _complain(f"dragon: error: {one_line(message)}")
        return status
    return status if isinstance(status, int) else 0


def _complain(text: str, end: str = "\n") -> None:
    """Write to stderr, if somebody reads it; the exit status says what happened in any case."""
    try:
        click.echo(text + end, err=True, nl=False)
    except OSError:
        _drop(sys.stderr)


def _drop(*streams: TextIO) -> None:
    """Let streams lead nowhere: Python would report another error when it flushes at exit what nobody reads."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _escape_unencodable(stream: TextIO) -> None:
    """Let a stream escape file names that are not text, and characters that its encoding lacks."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")


# what click calls the types of numbers
_PLAINER = (
    ("a valid integer range", "a whole number"),
    ("a valid integer", "a whole number"),
    ("a valid float range", "a number"),
    ("a valid float", "a number"),
)


def _status_and_message(error: Exception, args: Sequence[str]) -> tuple[int, str]:
    """The exit status and the line for an exception."""
    if isinstance(error, click.ClickException):
        hint = usage_hint(error, args)
        message = " ".join(error.format_message().split())
        for theirs, ours in _PLAINER:
            message = message.replace(theirs, ours)
        return 2, re.split(r"\.? Did you mean", message)[0].removesuffix(".") + hint if hint else message
    if isinstance(error, DragonError):
        return 2, str(error)
    if isinstance(error, OSError) and error.filename is None and _comes_from_printing(error):
        return 2, f"standard output cannot be written: {error.strerror}"
    if isinstance(error, OSError) and error.filename is not None:
        return 2, f"{error.filename}: {reason(error)}"
    if isinstance(error, OSError) and error.strerror:
        return 1, error.strerror
    if isinstance(error, UnicodeEncodeError) and not all(map(_is_utf8, args)):
        return 2, f'"{error.object}" is not UTF-8'
    if isinstance(error, MemoryError):
        return 2, shortage(error)
    return 1, f"{type(error).__name__}: {error}; this is a fault in Dragon, run again with --debug to see where"


def _comes_from_printing(error: OSError) -> bool:
    """Whether click or `run` raised it as they wrote to standard output, whose errors name no file."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals["__name__"] in ("click.utils", __name__)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    main()
