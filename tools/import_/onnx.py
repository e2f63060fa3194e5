"""The source `--onnx` of `dragon import`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from dragon.counting import how_many
from dragon.errors import UsageError
from dragon.tools.common.numbers import Count, named_shapes
from dragon.tools.common.outputs import check_outputs
from dragon.tools.import_.source import OUT_WEIGHTS, Source

__all__ = ["SOURCE"]

_ENDINGS = (".prototxt", ".caffemodel", ".onnx")


def _read(
    path: str,
    *,
    output: str | None,
    out_model: str | None,
    out_weights: str | None,
    batch: int,
    input_shape: tuple[str, ...],
    bvlc: bool,
    no_verify: bool,
) -> None:
    from dragon.importing.convert import import_onnx
    from dragon.importing.verify import verify
    from dragon.surgery.model import write_model

    if output is not None:
        if out_model or out_weights:
            raise UsageError("--output names both files: leave out --out-model and --out-weights")
        prefix = _prefix(output, path)
        out_model, out_weights = f"{prefix}.prototxt", f"{prefix}.caffemodel"
    if not (out_model or out_weights):
        raise UsageError("nothing to write: give --output, or --out-model and --out-weights")
    check_outputs([path], {"--out-model": out_model, "--out-weights": out_weights})
    imported = import_onnx(path, batch, named_shapes(input_shape), bvlc)
    layers = imported.model.net.layer
    counts = Counter(layer.type for layer in layers)
    click.echo(
        f"{how_many(len(layers), 'layer')}: {', '.join(f'{count} {kind}' for kind, count in sorted(counts.items()))}"
    )
    if no_verify:
        click.echo("not compared with the ONNX model")
    else:
        found = verify(imported)
        worst = max(found, key=lambda one: one.relative)
        click.echo(
            f"the net and the model, run by {worst.program}, agree on random data: "
            f"{how_many(len(found), 'output')}, the largest"
            f' difference is {worst.difference:.2g} of {worst.largest:.3g}, in "{worst.output}"'
        )
    write_model(imported.model, out_model, out_weights)
    for written in (out_model, out_weights):
        if written:
            click.echo(f"written: {written}")


def _prefix(output: str, path: str) -> Path:
    """The path of both files without their endings; in a folder they are called as the ONNX file."""
    place = Path(output)
    if output.endswith("/") or place.is_dir():
        return place / Path(path).stem
    return place.with_suffix("") if place.suffix in _ENDINGS else place


SOURCE = Source(
    click.Option(["--onnx"], metavar="FILE", help="Read an ONNX model, as PyTorch and others export it."),
    (
        click.Option(
            ["--output"], metavar="PREFIX", help="Write PREFIX.prototxt and PREFIX.caffemodel, or into a folder PREFIX."
        ),
        click.Option(["--out-model"], metavar="FILE", help="Write the prototxt here."),
        OUT_WEIGHTS,
        click.Option(
            ["--batch"], type=Count(1), default=1, show_default=True, help="Batch where the model leaves it open."
        ),
        click.Option(
            ["--input-shape"], multiple=True, metavar="[NAME:]N,C,H,W", help="Shape of an input; once for each."
        ),
        click.Option(["--bvlc"], is_flag=True, help="Only layers and settings that BVLC Caffe has."),
        click.Option(["--no-verify"], is_flag=True, help="Do not run the net and the model to compare them."),
    ),
    _read,
)
