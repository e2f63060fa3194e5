"""`dragon bn insert`: puts normalisations behind layers of a net."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from dragon.bases.layer import TEST
from dragon.errors import UsageError
from dragon.surgery.forms import FORMS, normalisation_type
from dragon.surgery.identity import measure
from dragon.surgery.insert import insert
from dragon.surgery.places import PLACES
from dragon.tools.common.surgery import SurgeryChoice, surgery_options

__all__ = ["command"]

_SHORT = {place.removesuffix("_activation"): place for place in PLACES}


@click.command("insert")
@surgery_options(needs_weights=False, changes=False)
@click.option(
    "--after",
    default="convolution",
    show_default=True,
    metavar="LAYERS",
    help="Behind which layers: types (convolution, inner_product, deconvolution), names, or patterns such as 'conv*', "
    "with commas between them.",
)
@click.option(
    "--form", type=click.Choice(list(FORMS)), help="merged is BN, split BatchNorm + Scale; merged by default."
)
@click.option("--type", "kind", metavar="TYPE", help="Another type of normalisation: GroupNorm, LayerNorm, ...")
@click.option("--place", type=click.Choice(list(_SHORT)), default="before", show_default=True,
              help="Before or after the activation that follows.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE",
              help="A setting of the new layers, such as batch_norm_param.eps=1e-3; may be given again.")  # fmt: skip
@click.option("--keep-init", is_flag=True, help="Leave the fillers of convolutions; else they become msra.")
@click.option("--keep-bias", is_flag=True, help="Leave biases that the normalisation takes away.")
@click.option("--last", is_flag=True, help="Also behind a layer that no layer with weights follows.")
def command(
    files: SurgeryChoice,
    after: str,
    form: str | None,
    kind: str | None,
    place: str,
    settings: tuple[str, ...],
    keep_init: bool,
    keep_bias: bool,
    last: bool,
) -> dict[str, Any]:
    """Put a normalisation behind each of the chosen layers.

    The layer that makes the output, such as the scores of a classifier, is left out unless it is named. Biases that
    the normalisation takes away are dropped. With --weights the weights follow: batch normalisation starts as the
    identity, with the statistics of the data, and both nets are run to prove it. Without, the new net is run once.

    \b
    Example:
    dragon bn insert --model models/cifar10_quick/train_val.prototxt --form split \\
      --out-model split.prototxt
    """
    old = files.read()
    fields = _fields(settings)
    new = insert(
        old,
        after,
        type=kind,
        form=form,
        place=_SHORT[place],
        keep_init=keep_init,
        keep_bias=keep_bias,
        last=last,
        fields=fields,
        statistics=partial(measure, shape=files.shape),
        note=click.echo,
    )
    why = "" if normalisation_type(kind, form, fields).can_be_identity else "a layer of this type is no identity"
    return files.finish(old, new, (TEST,), runs=True, trains=True, differs=why)


def _fields(settings: tuple[str, ...]) -> dict[str, Any]:
    """The settings as nested mappings. Raises UsageError for one without a name or a value."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        *outer, last = name.split(".")
        if not equals or not all([*outer, last]):
            raise UsageError(f'--set takes FIELD=VALUE, such as batch_norm_param.eps=1e-3, got "{setting}"')
        inner = found
        for part in outer:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(f'--set {name}: "{part}" has a value already')
        inner[last] = _value(value)
    return found


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
