"""The target `--onnx` of `dragon export`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from dragon.counting import how_many
from dragon.errors import DragonError, NumericError, UsageError
from dragon.export.calibration import calibration_batches as batches_of
from dragon.export.deployed import Deployed
from dragon.export.onnx.file import write_onnx
from dragon.export.onnx.model import NEWEST_OPSET, OLDEST_OPSET, OPSET, check_types, model_of
from dragon.export.onnx.precision import to_float16, to_int8
from dragon.export.onnx.preprocessing import Preprocessing, of_transform_param
from dragon.export.onnx.verify import FAR, RUNTIMES, choosers, runtime
from dragon.export.onnx.verify import verify as verified
from dragon.files.onnx_package import onnx_module
from dragon.graph.definition import places_of
from dragon.graph.net import Net
from dragon.tools.common.images import channel_order, mean_of_flag
from dragon.tools.common.logs import log
from dragon.tools.common.numbers import Count, Real
from dragon.tools.export.target import NO_FOLD_BN, Source, Target

__all__ = ["TARGET"]

_BATCHES = 16  # of calibration data
_CHOSEN = 0.01  # share of values that may differ behind a layer that chooses between nearly equal ones

_OPTIONS = (
    NO_FOLD_BN,
    click.Option(
        ["--opset"], type=click.IntRange(OLDEST_OPSET, NEWEST_OPSET), default=OPSET, show_default=True,
        help="Version of ONNX's operators.",
    ),
    click.Option(["--dynamic-batch"], is_flag=True, help="Let the first axis of the input have any size."),
    click.Option(["--transform"], is_flag=True, help="Put the data layer's transform_param inside: mean and scale."),
    click.Option(["--mean"], metavar="FILE|B,G,R", help="Subtract this inside: .binaryproto, .npy or numbers."),
    click.Option(["--raw-scale"], type=Real(), help="Multiply inside, before the mean."),
    click.Option(["--input-scale"], type=Real(), help="Multiply inside, after the mean."),
    click.Option(["--channel-swap"], metavar="2,1,0", help="Put the input's channels in this order inside."),
    click.Option(["--fp16"], is_flag=True, help="Weights and arithmetic in float16; inputs and outputs stay float32."),
    click.Option(["--int8"], is_flag=True, help="Weights and activations in int8 (QDQ), with scales from calibration."),
    click.Option(
        ["--calibration"], metavar="FILE", help="For --int8: an LMDB, a folder or list of images, or a .npy of inputs; "
        "by default the model's own data."
    ),
    click.Option(["--calibration-batches"], type=Count(1), show_default=f"{_BATCHES}", help="How much of it."),
    click.Option(
        ["--verify"], type=click.Choice([*RUNTIMES]), is_flag=False, flag_value="onnxruntime", default=None,
        help="Run the file by this program and compare; onnxruntime if none is named.",
    ),
)  # fmt: skip


def _write(
    source: Source,
    path: str,
    *,
    no_fold_bn: bool,
    opset: int,
    dynamic_batch: bool,
    transform: bool,
    mean: str | None,
    raw_scale: float | None,
    input_scale: float | None,
    channel_swap: str | None,
    fp16: bool,
    int8: bool,
    calibration: str | None,
    calibration_batches: int | None,
    verify: str | None,
) -> None:
    onnx_module()
    if fp16 and int8:
        raise UsageError("--fp16 and --int8 exclude each other")
    if calibration and not int8:
        raise UsageError("--calibration is for --int8")
    if calibration_batches and not int8:
        raise UsageError("--calibration-batches is for --int8")
    if verify:
        runtime(verify)
    flags = _of_flags(mean, raw_scale, input_scale, channel_swap)
    if transform and not flags.does_nothing:
        raise UsageError("give --transform or --mean, --raw-scale, --input-scale and --channel-swap, not both")
    deployed = source.deployed()
    check_types(deployed.definition)
    net = deployed.net(source.weights) if no_fold_bn else deployed.folded(source.weights)
    for note in deployed.notes:
        click.echo(note)
    if source.weights is None:
        log.warning("without --weights the file holds the values that the net starts from")
    with net:
        inside = _inside(deployed, net, flags, transform)
        prepare = {name: one.write for name, one in inside.items()}
        model = model_of(net, opset, dynamic_batch=dynamic_batch, prepare=prepare)
        samples: list[dict[str, Any]] = []
        if fp16:
            model = to_float16(model)
        if int8:
            batches = _batches(deployed, net, calibration, calibration_batches or _BATCHES, inside)
            samples = list(itertools.islice(batches, 1))
            model = to_int8(model, itertools.chain(samples, batches))
        written = write_onnx(model, path)
        for name in written:
            click.echo(f"written: {name}, {how_many(Path(name).stat().st_size, 'byte')}")
        if verify:
            _compare(path, net, verify, inside, samples, exact=not (fp16 or int8))


def _of_flags(
    mean: str | None, raw_scale: float | None, input_scale: float | None, channel_swap: str | None
) -> Preprocessing:
    return Preprocessing(
        1.0 if raw_scale is None else raw_scale,
        None if mean is None else mean_of_flag(mean),
        1.0 if input_scale is None else input_scale,
        None if channel_swap is None else channel_order(channel_swap),
    )


def _inside(deployed: Deployed, net: Net, flags: Preprocessing, transform: bool) -> dict[str, Preprocessing]:
    """The preprocessing of the net's input. Raises UsageError where there is none to take, or several inputs."""
    if not transform and flags.does_nothing:
        return {}
    if transform and not deployed.data:
        raise UsageError("--transform takes the transform_param of a data layer, and the net has none")
    names = list(deployed.data)[:1] if transform else net.inputs
    if len(names) != 1:
        raise UsageError(f"preprocessing needs a net with one input, this one has {', '.join(names)}")
    shape = net.blobs[names[0]].shape
    chosen = flags
    if transform:
        try:
            chosen = of_transform_param(deployed.data[names[0]], shape[2:], deployed.definition.folder)
        except DragonError as error:
            error.at(position=places_of(deployed.definition).get(names[0]))
            raise
    return {names[0]: chosen.fitted(shape)}


def _batches(
    deployed: Deployed, net: Net, source: str | None, count: int, inside: dict[str, Preprocessing]
) -> Iterator[dict[str, Any]]:
    """Batches for calibration: what the file reads, which is an image where preprocessing is inside."""
    if len(net.inputs) != 1:
        raise UsageError(f"--int8 needs a net with one input, this one has {', '.join(net.inputs)}")
    name = net.inputs[0]
    plain = deployed
    if inside and deployed.data:  # the file transforms the data itself
        plain = Deployed(deployed.definition, {})
        for key, layer in deployed.data.items():
            untouched = type(layer)()
            untouched.CopyFrom(layer)
            size = layer.transform_param.crop_size
            untouched.ClearField("transform_param")
            if size:
                untouched.transform_param.crop_size = size
            plain.data[key] = untouched
    shape = net.blobs[name].shape
    for batch in batches_of(plain, name, shape, source, count):
        yield {name: np.ascontiguousarray(batch)}


def _compare(
    path: str, net: Net, name: str, inside: dict[str, Preprocessing], samples: list[dict[str, Any]], exact: bool
) -> None:
    """Verify a file and say how far it is off. samples: inputs of its calibration; none: noise. Raises NumericError."""
    found = verified(path, net, name, inside, samples=samples)
    worst = max(found, key=lambda key: found[key].largest)
    largest, share = found[worst].largest, found[worst].share
    data = " on a batch of the calibration" if samples else ""
    click.echo(f'verified by {name}{data}: largest relative difference {largest:.2g}, in "{worst}"')
    if not exact or largest <= FAR:
        return
    choosing = choosers(net)
    if not choosing or share > _CHOSEN:
        raise NumericError(f'{path}: {name} computes another "{worst}": relative difference {largest:.2g}')
    log.warning(
        "%.2g of the values of %s differ by more than %g: %s chooses between nearly equal ones", share, worst, FAR,
        choosing[0],
    )  # fmt: skip


TARGET = Target(
    click.Option(["--onnx"], metavar="FILE", help="Write ONNX, for ONNX Runtime, OpenVINO and others."),
    _OPTIONS,
    _write,
)
