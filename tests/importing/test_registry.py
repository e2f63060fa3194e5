"""Every operator that comes in has a case."""

from __future__ import annotations

import importlib
import pkgutil

import tests.importing.operators
from dragon.importing.registry import converters

# joined by patterns, or in a file of its own
JOINED = {"ChannelNormalization", "MaxUnpool", "ScaleBias", "Scan", "ShuffleChannel", "Swish"}


def test_every_operator_has_a_case() -> None:
    package = tests.importing.operators
    modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    tested = {one.op for module in modules for one in getattr(module, "CASES", ())}
    assert set(converters()) - tested == JOINED
