"""pycaffe's interface: nets and solvers as scripts use them, NetSpec, io, Classifier, Detector, drawing.

The names of pycaffe's own module `caffe.pycaffe` are loaded when a script asks for them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

_RULES = ("AdaDelta", "AdaGrad", "Adam", "Nesterov", "RMSProp", "SGD")
__all__ = ["NCCL", "Net", "Timer", *(f"{rule}Solver" for rule in _RULES)]  # what `from caffe.pycaffe import *` gives


def __getattr__(name: str) -> Any:
    if find_spec(f"{__name__}.{name}") is not None:  # a module, which the import system loads
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not name.startswith("_"):
        runtime = import_module("dragon.pycaffe.runtime")
        if hasattr(runtime, name):
            return getattr(runtime, name)
    raise import_module("dragon.pycaffe.missing_names").missing_name("pycaffe", name, __all__)
