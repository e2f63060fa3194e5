"""Every public module, class, function, method and property has a docstring that says more than its name."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.imports import files

GENERATED = ("dragon.proto.dragon_pb2",)
# the modules that need a package which Dragon does not: looked at where it is installed
OPTIONAL = ("dragon.export.torch.parts.", "dragon.torch")
WITH_TORCH = importlib.util.find_spec("torch") is not None
MODULES = [name for name in files() if name not in GENERATED and not name.endswith("__main__")]
MODULES = [name for name in MODULES if WITH_TORCH or not name.startswith(OPTIONAL)]
ARTICLES = {"a", "an", "the"}


def is_public(name: str) -> bool:
    return not name.startswith("_")


def words(text: str) -> list[str]:
    """The words of a name or a sentence in lower case, without articles: `batch_size` and "The batch size." agree."""
    found = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", text)
    return [word.lower() for word in found if word.lower() not in ARTICLES]


def members(cls: type) -> Iterator[str]:
    """Names of the public methods and properties that a class defines itself."""
    kinds = (property, functools.cached_property, classmethod, staticmethod)
    return (n for n, one in vars(cls).items() if is_public(n) and (inspect.isfunction(one) or isinstance(one, kinds)))


def definitions(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Dotted name and docstring of a module and of all public definitions in it."""
    yield module.__name__, module.__doc__ or ""
    for name, one in list(vars(module).items()):  # a look at one may import others
        if not is_public(name) or getattr(one, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(one):
            yield f"{module.__name__}.{name}", one.__doc__ or ""
        elif inspect.isclass(one):
            yield f"{module.__name__}.{name}", of_class(one)
            for member in members(one):
                yield f"{module.__name__}.{name}.{member}", of_member(one, member)


def of_class(cls: type) -> str:
    """The class's own docstring, without the signature that a dataclass gets in place of one."""
    text = cls.__doc__ or ""
    return "" if dataclasses.is_dataclass(cls) and text.startswith(f"{cls.__name__}(") else text


def of_member(cls: type, name: str) -> str:
    """The docstring of a method or property, or of the nearest one that it overrides."""
    found: Iterator[Any] = (vars(base)[name] for base in cls.__mro__ if name in vars(base))
    return next((text for one in found if (text := inspect.getdoc(one))), "")


def faults(module: ModuleType) -> list[str]:
    """The definitions of a module without a docstring, or with one that only repeats the name."""
    found = []
    for name, text in definitions(module):
        if not text.strip():
            found.append(f"{name}: no docstring")
        elif words(text) == words(name.rpartition(".")[2]):
            found.append(f'{name}: "{text}" only repeats the name')
    return found


def test_public_definitions_say_what_they_are() -> None:
    found = [line for name in MODULES for line in faults(importlib.import_module(name))]
    assert not found, "\n".join(found)


EXAMPLE = '''"""An example."""
import dataclasses

class Base:
    """What the other class extends."""

    def run(self):
        """Run it."""

class Derived(Base):
    def run(self):
        pass

    @property
    def batch_size(self):
        """The batch size."""

    @classmethod
    def made(cls):
        pass

    def _hidden(self):
        pass

@dataclasses.dataclass
class Point:
    x: int

def documented():
    """Return nothing."""

def plain():
    pass
'''


def test_what_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "example_of_docstrings.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("example_of_docstrings")
    monkeypatch.delitem(sys.modules, "example_of_docstrings")
    found = [line.removeprefix("example_of_docstrings.") for line in faults(module)]
    assert found == [
        "Derived: no docstring",
        'Derived.batch_size: "The batch size." only repeats the name',
        "Derived.made: no docstring",
        "Point: no docstring",
        "plain: no docstring",
    ]
