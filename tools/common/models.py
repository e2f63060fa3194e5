"""Flags that take the path of a file or the name of a net of the zoo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from dragon.models import zoo

__all__ = ["DEPLOY", "SOLVER", "TRAIN_VAL", "WEIGHTS", "ModelFile", "WeightsOption", "model_and_weights"]


_F = TypeVar("_F", bound=Callable[..., Any])
if TYPE_CHECKING:
    _Text = click.ParamType[str]
else:
    _Text = click.ParamType  # which takes no type argument before click 8.4


class ModelFile(_Text):
    """The path of a prototxt file; the name of a net of the zoo stands for its file of this kind."""

    name = "file"

    def __init__(self, file: str) -> None:
        self.file = file

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path. Raises UsageError for a name that is neither a file nor a net."""
        return zoo.resolve(value, self.file)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Files, and the nets whose names begin so."""
        nets = [CompletionItem(name) for name in zoo.names() if incomplete and name.startswith(incomplete)]
        return [*nets, CompletionItem(incomplete, type="file")]


class _WeightsFile(ModelFile):
    """Paths of weights; the name of a net of the zoo stands for its weights."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path. Raises UsageError for a net without weights on this machine, with where they can be had."""
        path = zoo.resolve(value, self.file)
        name = zoo.name_of(path)
        return str(zoo.require_weights(name)) if name else path


DEPLOY, TRAIN_VAL, SOLVER = ModelFile(zoo.DEPLOY), ModelFile(zoo.TRAIN_VAL), ModelFile(zoo.SOLVER)
WEIGHTS = _WeightsFile(zoo.DEPLOY)


class WeightsOption(click.Option):
    """--weights, which may be left out if --model names a net of the zoo: then they are those of the zoo.

    others: flags in whose presence it may be left out too, and stays None.
    """

    others: tuple[str, ...] = ()

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **({"type": WEIGHTS} | settings))
        self._needed = self.required

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """As click's, with the weights of the net in place of a value that is missing."""
        missing = self.name not in opts and not any(name in opts for name in self.others)
        model = opts.get("model")
        path = zoo.resolve(model, zoo.DEPLOY) if missing and isinstance(model, str) else None
        name = None if path is None else zoo.name_of(path)
        if name is not None:
            found = zoo.require_weights(name) if self._needed else zoo.find_weights(name)
            if found is not None:
                opts = {**opts, str(self.name): str(found)}
        self.required = self._needed and not any(other in opts for other in self.others)
        return super().handle_parse_result(ctx, opts, args)


def model_and_weights(model: ModelFile, what: str) -> Callable[[_F], _F]:
    """Decorator: add `--model`, and `--weights`, which a net of the zoo brings. what: the help on the model."""

    def decorate(function: _F) -> _F:
        text = "The trained net; the zoo's by default."
        weights = click.option("--weights", cls=WeightsOption, required=True, metavar="FILE", help=text)
        return click.option("--model", type=model, required=True, metavar="FILE|NAME", help=what)(weights(function))

    return decorate
