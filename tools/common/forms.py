"""Commands of which one option says what form of file is read or written, and which other options there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import click
from click.core import ParameterSource

from dragon.errors import UsageError

__all__ = ["Form", "check_options", "chosen_form", "form_options"]


class Form(Protocol):
    """A form of file: the option that chooses it, and the other options that go with it."""

    @property
    def flag(self) -> click.Option:
        """The option that chooses the form, and names the file."""

    @property
    def options(self) -> tuple[click.Option, ...]:
        """The options that go with it; one that several forms take is one object."""


_Form = TypeVar("_Form", bound=Form)


def form_options(forms: Sequence[Form]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: add the options of all forms, each once."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        added: list[click.Option] = []
        for form in forms:
            added += [option for option in (form.flag, *form.options) if option not in added]
        # click keeps the options of a function that is no command yet in this list, the last one first
        before = getattr(function, "__click_params__", [])
        function.__click_params__ = [*before, *reversed(added)]  # type: ignore[attr-defined]
        return function

    return decorate


def chosen_form(forms: Sequence[_Form], given: Mapping[str, Any], verb: str, verb_past: str) -> _Form:
    """The one form whose option is given. verb: what is done with the file. Raises UsageError for none and several."""
    chosen = [form for form in forms if given[str(form.flag.name)] is not None]
    if not chosen:
        raise UsageError(f"say what to {verb}: {_either([form.flag.opts[0] for form in forms])}")
    if len(chosen) > 1:
        flags = " and ".join(form.flag.opts[0] for form in chosen)
        raise UsageError(f"one file is {verb_past} at a time, got {flags}")
    return chosen[0]


def check_options(ctx: click.Context, forms: Sequence[Form], chosen: Form) -> None:
    """Raise UsageError for an option that was given but is not one of the chosen form's."""
    for option in dict.fromkeys(option for other in forms for option in other.options):
        given = ctx.get_parameter_source(str(option.name)) not in (None, ParameterSource.DEFAULT)
        if given and option not in chosen.options:
            owners = [other.flag.opts[0] for other in forms if option in other.options]
            raise UsageError(f"{option.opts[0]} is for {_either(owners)}, not for {chosen.flag.opts[0]}")


def _either(flags: Sequence[str]) -> str:
    return " or ".join([", ".join(flags[:-1]), flags[-1]] if len(flags) > 1 else flags)
