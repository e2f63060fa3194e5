"""Processes that a script under `dragon run` starts with multiprocessing, other than by a fork.

Such a process begins anew: it imports the script again, so `import caffe` has to mean Dragon there too. It gets the
name of this module in place of the script's path, which is in the environment, and this module runs the script.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["importing_caffe"]

_CHILD = "__mp_main__"  # the name under which multiprocessing runs the main module in a child
_SCRIPT = "DRAGON_RUN_SCRIPT"


class _Main(ModuleType):
    """The script, whatever module `__main__` is: objects of its classes that children send are looked up here."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules["__main__"], name)


@contextmanager
def importing_caffe(script: str) -> Iterator[None]:
    """Let processes that are started in the block import `script` with Dragon as caffe."""
    from multiprocessing import spawn

    standard, main, before = spawn.get_preparation_data, sys.modules.get(_CHILD), os.environ.get(_SCRIPT)
    os.environ[_SCRIPT] = str(Path(script).resolve())  # the child begins in the working directory of its parent
    spawn.get_preparation_data = _by_this_module(standard)  # type: ignore[assignment]
    sys.modules[_CHILD] = _Main(_CHILD)  # multiprocessing has put what is `__main__` at its import there
    try:
        yield
    finally:
        spawn.get_preparation_data = standard
        if main is None:
            del sys.modules[_CHILD]
        else:
            sys.modules[_CHILD] = main
        if before is None:
            del os.environ[_SCRIPT]
        else:
            os.environ[_SCRIPT] = before


def _by_this_module(standard: Callable[[str], dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """What multiprocessing tells a child about its parent, this module standing for a script."""

    def prepared(name: str) -> dict[str, Any]:
        data = standard(name)
        if data.pop("init_main_from_path", None) is not None:
            data["init_main_from_name"] = "dragon.pycaffe.children"
        return data

    return prepared


if __name__ == _CHILD:
    from multiprocessing import spawn

    from dragon.pycaffe import alias

    alias.install()
    # for children of its own
    spawn.get_preparation_data = _by_this_module(spawn.get_preparation_data)  # type: ignore[assignment]
    globals().update(runpy.run_path(os.environ[_SCRIPT], run_name=_CHILD))
