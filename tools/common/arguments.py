"""Caffe's way of writing flags, turned into click's: `-solver F`, `--sigint_effect=stop`, glog's own flags."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["normalise"]

_FLAG = re.compile(r"--?([A-Za-z][\w-]*)(=.*)?", re.DOTALL)
# Flags of the logging library that scripts written for Caffe pass along; they say nothing here.
_GLOG = {"logtostderr", "alsologtostderr", "colorlogtostderr"}
_GLOG_WITH_VALUE = _GLOG | {"log-dir", "minloglevel", "stderrthreshold", "v", "vmodule"}


def normalise(args: Iterable[str]) -> tuple[list[str], bool]:
    """The arguments with every flag spelt `--like-this`, and whether `--debug` was among them, wherever it stood."""
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
        if name == "debug" and not value:
            debug = True
            continue
        result.append(arg if len(name) == 1 else f"--{name}{value}")
    return result, debug
