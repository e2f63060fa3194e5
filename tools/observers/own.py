"""The flag --observer: observers of the user's, by module and class, or by the name of an entry point."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from dragon.errors import UsageError, nearest, text_of
from dragon.solver.observer import Guarded, Observer

__all__ = ["GROUP", "make_observer", "observer_option"]

GROUP = "dragon.observers"  # of entry points
_WORDS = {"true": True, "false": False, "none": None}


def observer_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: add the flag, and hand what is given to the command as `own_observers`, a list."""

    def made(context: click.Context, param: click.Parameter, texts: Sequence[str]) -> list[Observer]:
        if texts:
            context.with_resource(_modules_of_the_working_directory())
        return [make_observer(text) for text in texts]

    return click.option(
        "--observer",
        "own_observers",
        callback=made,
        multiple=True,
        metavar="MODULE:CLASS[:KEY=VALUE,...]",
        help="Tell this Observer of yours what happens; may be given several times. See docs/observers.md.",
    )(function)


def make_observer(text: str) -> Observer:
    """The observer that `module:Class:key=value,...` or `entry_point:key=value,...` names, in a Guarded.

    Raises UsageError for one that cannot be imported or made.
    """
    first, *rest = text.split(":")
    if rest and "=" not in rest[0]:
        name = f"{first}:{rest[0]}"
        make = _from_module(first, rest[0])
        rest = rest[1:]
    else:
        name = first
        make = _from_entry_point(first)
    settings = _settings(":".join(rest), name)
    _check_settings(make, settings, name)
    try:
        observer = make(**settings)
    except Exception as error:
        raise UsageError(f"observer {name} cannot be made: {_described(error)}") from None
    if not isinstance(observer, Observer):
        raise UsageError(f"{name} makes no dragon.Observer, but {type(observer).__name__}")
    return Guarded(observer, name)


def _from_module(module: str, attribute: str) -> Any:
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        raise UsageError(f"observer {module}:{attribute}: {module} cannot be imported: {_described(error)}") from None
    found = getattr(loaded, attribute, None)
    if not callable(found):
        names = [name for name, value in vars(loaded).items() if inspect.isclass(value) and issubclass(value, Observer)]
        raise UsageError(f'observer {module}:{attribute}: the module has no "{attribute}"{nearest(attribute, names)}')
    return found


def _from_entry_point(name: str) -> Any:
    from importlib.metadata import entry_points  # which takes 15 ms of every start

    known = {point.name: point for point in entry_points(group=GROUP)}
    if name not in known:
        installed = f"; installed are {', '.join(sorted(known))}" if known else ""
        raise UsageError(
            f'no observer "{name}"{nearest(name, known)}: give MODULE:CLASS, or the name of an entry point of the '
            f"group {GROUP}{installed}"
        )
    try:
        return known[name].load()
    except Exception as error:
        raise UsageError(f"observer {name} cannot be imported: {_described(error)}") from None


def _settings(text: str, name: str) -> dict[str, Any]:
    """Settings by name; a part without "=" belongs to the value before it."""
    found: dict[str, str] = {}
    last = ""
    for part in text.split(",") if text else ():
        key, equals, value = part.partition("=")
        if equals and key.strip().isidentifier():
            last = key.strip()
            found[last] = value
        elif last:
            found[last] += f",{part}"
        else:
            raise UsageError(f'observer {name}: settings are KEY=VALUE,..., got "{text}"')
    return {key: _value(value) for key, value in found.items()}


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_settings(make: Any, settings: dict[str, Any], name: str) -> None:
    """Raise UsageError for settings that are not parameters of `make`, and for those that are missing."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # a type without one
        return
    parameters = signature.parameters.values()
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for key in settings:
            if key not in known:
                takes = f"it takes {', '.join(known)}" if known else "it takes none"
                raise UsageError(f'observer {name} has no setting "{key}"{nearest(key, known)}; {takes}')
    missing = [p.name for p in parameters if p.name in known and p.default is p.empty and p.name not in settings]
    if missing:
        raise UsageError(f"observer {name} needs {', '.join(missing)}: --observer {name}:{missing[0]}=VALUE")


def _described(error: Exception) -> str:
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def _modules_of_the_working_directory() -> Iterator[None]:
    """Let modules be imported from the working directory as well, after all other places; a context manager."""
    here = os.getcwd()
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
