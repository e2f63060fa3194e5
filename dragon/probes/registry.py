"""The registered probes, and how they are made from a name with settings: in YAML or on a command line.

weight_norm                                  {percentiles: {layer: ip2, every: 50}}
percentiles:layer=ip2,units=0,1,2,every=50   a part without "=" continues the list before it
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import re
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dragon.errors import UsageError, nearest
from dragon.probes.probe import AT_END, Probe

__all__ = ["create", "parse", "probe_class", "probe_names", "read", "register", "settings_of"]

_P = TypeVar("_P", bound=type[Probe])
_classes: dict[str, type[Probe]] = {}
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def register(name: str) -> Callable[[_P], _P]:
    """Class decorator: make a probe known by `name`."""

    def decorate(cls: _P) -> _P:
        cls.name = name
        _classes[name] = cls
        return cls

    return decorate


@cache
def _load() -> None:
    """Load all files of `measures`."""
    from dragon.probes import measures

    for module in pkgutil.iter_modules(measures.__path__):
        importlib.import_module(f"{measures.__name__}.{module.name}")


def probe_names() -> tuple[str, ...]:
    """The names of all probes, in alphabetical order."""
    _load()
    return tuple(sorted(_classes))


def probe_class(name: str) -> type[Probe]:
    """The class of a probe by name. Raises UsageError, with the nearest name, if there is none."""
    names = probe_names()
    if name not in names:
        raise UsageError(f'unknown probe "{name}"{nearest(name, names)}; `dragon probe --list` shows them all')
    return _classes[name]


def settings_of(cls: type[Probe]) -> dict[str, dataclasses.Field[Any]]:
    """The settings of a probe by name: its own first, then those that all probes have."""
    own = [f for f in dataclasses.fields(cls) if "what" in f.metadata]
    shared = {f.name for f in dataclasses.fields(Probe)}
    return {f.name: f for f in sorted(own, key=lambda f: f.name in shared)}


def create(name: str, settings: Mapping[str, Any] | None = None) -> Probe:
    """A probe with these settings: values, or texts of them. Raises UsageError for what cannot be."""
    cls = probe_class(name)
    fields, hints = settings_of(cls), get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        if key not in fields:
            raise UsageError(
                f'probe "{name}": unknown setting "{key}"{nearest(str(key), fields)}; known: {", ".join(fields)}'
            )
        at_end = key == "every" and value == "end"
        values[key] = AT_END if at_end else _converted(f'probe "{name}": {key}', value, hints[key])
        if key == "every" and values[key] == AT_END and not at_end:  # not what 0 says
            raise UsageError(f'probe "{name}": every must be at least 1, or end, got {_shown(value)}')
        _check_range(f'probe "{name}": {key}', values[key], fields[key].metadata)
    if not re.fullmatch(r"[\w.+-]*", values.get("label", "")):
        raise UsageError(f'probe "{name}": label is made of letters, digits and . + - _, got "{values["label"]}"')
    probe = cls(**values)
    probe.check()
    return probe


def parse(text: str) -> Probe:
    """A probe from NAME[:key=value,...]. Raises UsageError."""
    name, _, rest = text.partition(":")
    settings: dict[str, Any] = {}
    key = ""
    for part in rest.split(",") if rest else []:
        word, equals, value = part.partition("=")
        if equals:
            key = word.strip()
            if key in settings:
                raise UsageError(f'probe "{name}": {key} is given twice')
            settings[key] = value.strip()
        elif key:
            before = settings[key]
            settings[key] = [*(before if isinstance(before, list) else [before]), part.strip()]
        else:
            raise UsageError(f'probe "{name}": settings are written key=value,..., got "{part}"')
    return create(name.strip(), settings)


def read(entry: Any) -> Probe:
    """A probe from an entry of YAML: a text for `parse`, or a mapping of one name to its settings. UsageError."""
    if isinstance(entry, str):
        return parse(entry)
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, settings),) = entry.items()
        if settings is None or isinstance(settings, Mapping):
            return create(str(name), settings)
    raise UsageError(f"a probe is a name, or a mapping of one name to its settings, got {entry!r}")


# -- values ----------------------------------------------------------------------------------------------------
def _converted(what: str, value: Any, kind: Any) -> Any:
    """`value` as a setting of type `kind`. Raises UsageError."""
    options = get_args(kind) if get_origin(kind) is types.UnionType else (kind,)
    if value is None and type(None) in options:
        return None
    (kind,) = [option for option in options if option is not type(None)]
    if get_origin(kind) is tuple:
        listed = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if not listed:
            raise UsageError(f"{what} must not be empty")
        return tuple(_single(what, one, get_args(kind)[0]) for one in listed)
    return _single(what, value, kind)


def _single(what: str, value: Any, kind: type) -> Any:
    if kind is str and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    if kind is bool:
        value = _BOOLEANS.get(value.lower()) if isinstance(value, str) else value
        if isinstance(value, bool):
            return value
        raise UsageError(f"{what} must be true or false")
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
            if kind is int and math.isfinite(number) and abs(number) >= 2**53:
                raise UsageError(f"{what} must be below 2^53 in size, got {_shown(value)}")
            if math.isfinite(number) and (kind is float or number == int(number)):
                return kind(number)
        except ValueError:
            pass
    raise UsageError(f"{what} must be {'a whole number' if kind is int else 'a number'}, got {_shown(value)}")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _check_range(what: str, value: Any, limits: Mapping[str, Any]) -> None:
    least, most = limits["least"], limits["most"]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)) and least is not None and number < least:
            raise UsageError(f"{what} must be at least {least:g}, got {number:g}")
        if isinstance(number, (int, float)) and most is not None and number > most:
            raise UsageError(f"{what} must be at most {most:g}, got {number:g}")
