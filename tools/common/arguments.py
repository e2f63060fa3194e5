"""Converts flags as Caffe's programs take them to those of click: `-solver F`, `--sigint_effect=stop`, `-noshuffle`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

import click

__all__ = ["normalise", "plain_booleans"]

_FLAG = re.compile(r"--?([A-Za-z][\w-]*)(=.*)?", re.DOTALL)
# flags of glog, which scripts for Caffe may pass; they are ignored
_GLOG = {"logtostderr", "alsologtostderr", "colorlogtostderr"}
_GLOG_WITH_VALUE = _GLOG | {"log-dir", "minloglevel", "stderrthreshold", "v", "vmodule"}
_TRUTH = dict.fromkeys(("1", "t", "true", "y", "yes"), True) | dict.fromkeys(("0", "f", "false", "n", "no"), False)


def normalise(args: Iterable[str]) -> tuple[list[str], bool]:
    """The arguments with every flag spelt `--like-this`, and whether `--debug` was among them."""
    result: list[str] = []
    debug = False
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            return [*result, arg, *rest], debug
        match = _FLAG.fullmatch(arg)
        if match is None:
            if result == ["run"]:  # what follows belongs to the script
                return ["run", arg, *rest], debug
            result.append(arg)
            continue
        name, value = match[1].replace("_", "-"), match[2] or ""
        if name in _GLOG or (value and name in _GLOG_WITH_VALUE):
            continue
        if name in ("debug", "nodebug") and value[1:].lower() in ("", *_TRUTH):
            debug = name == "debug" and _TRUTH.get(value[1:].lower(), True)
            continue
        result.append(arg if len(name) == 1 else f"--{name}{value}")
    return result, debug


def plain_booleans(command: click.Command, context: click.Context, args: Iterable[str]) -> list[str]:
    """The normalised arguments of a command, with boolean flags in click's form, those that are set, in front.

    gflags has `--flag`, `--flag=true` and `--noflag`; the last one counts. `--fuse` is also the positive form of
    `--no-fuse`. Raises UsageError for a value that is neither true nor false, and for an empty one of another flag, as
    that of an unset variable of the shell.
    """
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    names = {name for option in options for name in option.opts}
    # click marks an option that may stand without a value by a text in its place
    may_stand_alone = {n for o in options if not o.is_flag and isinstance(o.flag_value, str) for n in o.opts}
    with_value = {name for option in options if not option.is_flag for name in option.opts}
    may_be_empty = {name for option in options if option.default == "" for name in option.opts}
    forms: dict[str, tuple[str, bool]] = {}  # spelling: flag, and the value that it sets
    for flag in sorted(name for name in names - with_value if name.startswith("--")):
        forms[flag] = flag, True
        forms[f"--no{flag[2:]}"] = flag, False
        if flag.startswith("--no-"):
            forms[f"--no{flag[5:]}"], forms[f"--{flag[5:]}"] = (flag, True), (flag, False)
    forms = {spelling: form for spelling, form in forms.items() if spelling not in with_value}
    interspersed = command.context_settings.get("allow_interspersed_args", True)
    values: dict[str, bool] = {}
    others: list[str] = []
    rest = deque(args)
    while rest:
        arg = rest.popleft()
        spelling, equals, text = arg.partition("=")
        if arg == "--" or not (arg.startswith("-") or interspersed):
            others += [arg, *rest]
            break
        if spelling in forms:
            flag, value = forms[spelling]
            if equals and text.lower() not in _TRUTH:
                raise click.UsageError(f'{spelling} is true or false, got "{text}"', ctx=context)
            values[flag] = value == _TRUTH.get(text.lower(), True)
        else:
            empty = spelling in with_value and not text and (equals or (rest and not rest[0]))
            if empty and spelling not in may_be_empty:
                raise click.UsageError(f"{spelling} has an empty value: give one, or leave the flag out", ctx=context)
            others.append(arg)
            alone = arg in may_stand_alone and bool(rest) and rest[0].startswith("-")
            if arg in with_value and rest and not alone:  # the next argument is its value
                others.append(rest.popleft())
    return [*(flag for flag, value in values.items() if value), *others]
