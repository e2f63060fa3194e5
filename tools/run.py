"""`dragon run SCRIPT ARGS`: runs a script written for pycaffe."""

from __future__ import annotations

import logging
import re
import runpy
import sys
import traceback
from pathlib import Path

import click

from dragon.bases.user_code import user_code
from dragon.errors import DragonError, UsageError
from dragon.files.kinds import kind_of
from dragon.files.layer_files import layer_files
from dragon.files.reading import read_bytes, remember_reads
from dragon.pycaffe import alias
from dragon.pycaffe.children import importing_caffe
from dragon.solver.glog import GlogFormatter
from dragon.tools.common.logs import StreamHandler, log_handler

__all__ = ["command"]


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("script", type=click.Path(dir_okay=False))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(script: str, args: tuple[str, ...]) -> int:
    """Run the Python SCRIPT with ARGS, `import caffe` and its submodules meaning Dragon.

    \b
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
        # a script may write what it has read
        with (
            layer_files(True),
            remember_reads(False),
            user_code(True),
            log_handler(_handler(), logging.INFO),
            importing_caffe(script),
        ):
            runpy.run_path(script, run_name="__main__")
    except SyntaxError as error:
        raise UsageError(_describe_syntax_error(error)) from None
    except SystemExit as end:
        return _status(end.code)
    except DragonError:
        raise
    except Exception as error:
        _print_traceback(error, script)
        return 1
    finally:
        sys.argv, sys.path[:] = before
    return 0


def _handler() -> logging.Handler:
    """The handler that a script has by default: Caffe's log, on stderr."""
    handler = StreamHandler()
    handler.setFormatter(GlogFormatter())
    return handler


def _source(script: str) -> bytes:
    try:
        source = read_bytes(script)
    except OSError as error:
        raise UsageError(f"{script}: cannot be read: {error.strerror}") from None
    if Path(script).suffix == ".ipynb":
        raise UsageError(
            f"{script}: a notebook: open it in Jupyter, with %load_ext dragon in its first cell, or convert it "
            "(jupyter nbconvert --to script)"
        )
    if b"\0" in source:
        raise UsageError(f"{script}: not a Python script, but {kind_of(script) or 'a binary file'}")
    return source


def _status(code: object) -> int:
    """The exit status of `sys.exit(code)`; prints a code that is not a number, as Python does."""
    if code is None or isinstance(code, int):
        return code or 0
    click.echo(str(code), err=True)
    return 1


# errors of Python 3 about what only Python 2 allows
_PYTHON2_ERROR = re.compile(
    r"call to '(print|exec)'|multiple exception types|leading zeros|inconsistent use of tabs|invalid decimal literal"
)
_PYTHON2_SOURCE = re.compile(r"<>|`|^\s*(print|exec)\s+[^=(]|\bur['\"]")


def _describe_syntax_error(error: SyntaxError) -> str:
    where = f"{error.filename}:{error.lineno}"
    if _PYTHON2_ERROR.search(error.msg) or _PYTHON2_SOURCE.search(error.text or ""):
        return f"{where}: {error.msg}; the script is written for Python 2: convert it first, with 2to3 or by hand"
    return f"{where}: {error.msg}"


def _print_traceback(error: Exception, script: str) -> None:
    """The traceback as Python prints it, from the script's own lines on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    click.echo("".join(traceback.format_exception(type(error), error, trace)), err=True, nl=False)
    if hint := _hint(error):
        click.echo(f"dragon: {hint}", err=True)


# names that only Python 2 has: built in, methods of dict, modules
_PYTHON2_NAMES: dict[type[Exception], re.Pattern[str]] = {
    NameError: re.compile(
        "basestring|buffer|cmp|execfile|file|intern|long|raw_input|reduce|reload|unichr|unicode|xrange"
    ),
    AttributeError: re.compile("has_key|iter(items|keys|values)|i(map|filter|zip(_longest)?)|getcwdu|maxint"),
    ModuleNotFoundError: re.compile(
        "ConfigParser|Queue|c?StringIO|Tkinter|__builtin__|cPickle|commands|httplib|urllib2|urlparse"
    ),
}

# what errors of converted scripts come from, by their messages: Python 3, or newer versions of what they import
_BY_MESSAGE: dict[re.Pattern[str], str] = {
    re.compile(
        r"'(o?dict_(keys|values|items)|map|filter|zip)' object is not subscriptable"
        r"|object of type '(map|filter|zip)' has no len\(\)|, not '(map|filter|zip)'$"
    ): "keys(), values(), items(), map(), filter() and zip() give no lists in Python 3: write list(...) around them",
    re.compile(
        "'float' object cannot be interpreted as an integer|indices must be integers.*(not float|or None)"
    ): "a / b is a float in Python 3, even of whole numbers: write a // b",
    re.compile("only integers, slices"): "if the index is a / b: that is a float in Python 3, write a // b",
    re.compile(
        "a bytes-like object is required, not 'str'|must be str, not bytes|convert Unicode to bytes"
    ): 'text and bytes are two types in Python 3: open binary files with "rb" or "wb", and encode keys of databases',
    re.compile("missing 1 required positional argument: 'Loader'"): "PyYAML 6 wants yaml.safe_load(...) here",
    re.compile("has no attribute 'tostring'"): "NumPy has tobytes() in place of tostring()",
    re.compile("has no attribute 'asscalar'"): "NumPy has array.item() in place of asscalar(array)",
    re.compile(
        "scipy.misc.* '(im(read|resize|rotate|save|show)|toimage)'"
        "|'(im(read|resize|rotate|save|show)|toimage)' .*scipy.misc"
    ): "SciPy has left images to others: use PIL.Image, or caffe.io.load_image and caffe.io.resize",
}


def _hint(error: Exception) -> str | None:
    """What may help against an error of a script; None if nothing is known."""
    name: str = getattr(error, "name", None) or ""
    names = _PYTHON2_NAMES.get(type(error))
    if names is not None and names.fullmatch(name):
        return f"{name} is of Python 2: convert the script first, with 2to3 or by hand"
    if isinstance(error, NameError) and name == "get_ipython":
        return "get_ipython() is there in notebooks alone: leave such lines out"
    if isinstance(error, ModuleNotFoundError) and name.startswith("caffe."):
        path = name.replace(".", "/")
        return f"Dragon has no {name}; if a fork has it, put the folder that holds its {path}.py on PYTHONPATH"
    if isinstance(error, (TypeError, IndexError, AttributeError, ImportError)):
        return next((hint for pattern, hint in _BY_MESSAGE.items() if pattern.search(str(error))), None)
    return None
