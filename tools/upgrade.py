"""`dragon upgrade`: converts nets, solvers and weights of older formats to the current one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import click

from dragon.counting import how_many
from dragon.errors import PrototxtError, UsageError
from dragon.files.atomic import write_atomically
from dragon.files.kinds import kind_of
from dragon.files.reading import open_regular, read_bytes
from dragon.proto import dragon_pb2 as pb
from dragon.proto.dialects import set_profile
from dragon.proto.text import format_text, read_net_source, read_solver_source
from dragon.proto.upgrade import nets_inside, upgrade_net
from dragon.surgery.model import Model, write_model
from dragon.surgery.present import to_present
from dragon.tools.common.outputs import OutputFile
from dragon.tools.common.profile import profile_option

__all__ = ["command"]

_Read = tuple[pb.NetParameter, str | None] | tuple[pb.SolverParameter, str | None]


@click.command("upgrade")
@click.argument("source", type=click.Path(dir_okay=False))
@click.argument("out", type=OutputFile(stream=True))
@click.option("--kind", type=click.Choice(["net", "solver", "weights"]), help="What SOURCE is; found out by default.")
@click.option("--half", is_flag=True, help="Write weights in half precision, as NVCaffe stores them.")
@click.option("--allow-unknown", is_flag=True, help="Leave out fields that the schema does not have.")
@profile_option
def command(source: str, out: str, kind: str | None, half: bool, allow_unknown: bool, profile: str | None) -> None:
    """Bring SOURCE, a net or solver prototxt or a .caffemodel of Caffe's V0, V1 or present form, to the present form.

    OUT is - to print a prototxt. A net of an older Dragon, by --profile dragon-2016 or neopenx or by its field profile,
    gets layers of today that compute the same, and so do the weights of such a net. --profile also names the fork that
    wrote a .caffemodel, where the file does not say it by itself.

    \b
    Example: dragon upgrade old_train_val.prototxt train_val.prototxt
    """
    if kind == "weights" or (kind is None and _is_weights(source)):
        if out == "-" or Path(out).suffix == ".prototxt":
            raise UsageError(f"{source} holds weights, which are written to a .caffemodel, not to {out}")
        count = _upgrade_weights(source, out, profile, half)
        click.echo(f"{out}: weights of {how_many(count, 'layer')}")
        return
    if half:
        raise UsageError(f"--half is for weights; {source} is a prototxt")
    if Path(out).suffix == ".caffemodel":
        raise UsageError(f"{source} is a prototxt, which is not written to a .caffemodel")
    message, text = _read(source, kind, allow_unknown, profile)
    if not message.ByteSize():
        raise UsageError(f"{source}: it has no layers and no settings")
    if text is None:
        text = format_text(message)
        if "#" in read_bytes(source).decode("utf-8", "replace"):
            click.echo(f"{source}: it is written anew, without its comments", err=True)
    if out == "-":
        click.echo(text, nl=False)
        return
    write_atomically(out, text.encode("utf-8", "surrogateescape"))
    what = f"net of {how_many(len(message.layer), 'layer')}" if isinstance(message, pb.NetParameter) else "solver"
    click.echo(f"{out}: {what}")


def _is_weights(source: str) -> bool:
    """Whether SOURCE is a binary file. Raises PrototxtError or UsageError for what is neither that nor a text."""
    try:
        with open_regular(source) as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise PrototxtError(f"{source}: cannot be read: {error.strerror}") from None
    kind = kind_of(source)
    if kind is not None and "prototxt" not in kind and kind != "a text file":
        raise UsageError(f"{source} is {kind}: nets, solvers and .caffemodel files are upgraded")
    return b"\0" in head or Path(source).suffix == ".caffemodel"


def _read(source: str, kind: str | None, allow_unknown: bool, profile: str | None) -> _Read:
    """The net or solver in SOURCE, upgraded, and its text with what has changed, None where that has no such form.

    Without a kind, a solver if it can be read as one but not as a net; where neither can, what its fields look like.
    """
    readers: dict[str, Callable[[str, bool, str | None], _Read]] = {"net": _read_net, "solver": _read_solver}
    if kind is not None:
        return readers[kind](source, allow_unknown, profile)
    errors = {}
    for name, read in readers.items():
        try:
            return read(source, False, profile)
        except PrototxtError as error:
            errors[name] = error
    text = read_bytes(source)
    likely = "solver" if b"base_lr" in text or b"lr_policy" in text else "net"
    if allow_unknown:
        return readers[likely](source, True, profile)
    raise errors[likely]


def _read_net(source: str, allow_unknown: bool, profile: str | None) -> tuple[pb.NetParameter, str | None]:
    definition, text = read_net_source(source, profile, allow_unknown)
    net = to_present(Model.of(definition.message)).definition()
    return net, text.upgrade(net, allow_unknown)


def _read_solver(source: str, allow_unknown: bool, profile: str | None) -> tuple[pb.SolverParameter, str | None]:
    """As for a net. Layers of a dialect become those of today in nets inside the solver, too."""
    definition, text = read_solver_source(source, profile, allow_unknown)
    message = definition.message
    for net in itertools.chain(*nets_inside(message).values()):
        set_profile(net, message.profile)
        net.CopyFrom(to_present(Model.of(upgrade_net(net))).definition())
    if message.profile:
        for path in (message.net, message.train_net, *message.test_net):
            if path:
                click.echo(f"{path} is to be upgraded too: dragon upgrade --profile {message.profile}", err=True)
    message.ClearField("profile")
    return message, text.edit(message, allow_unknown)


def _upgrade_weights(source: str, out: str, profile: str | None, half: bool) -> int:
    from dragon.proto.binary import iter_layers, write_caffemodel
    from dragon.proto.binary_net import read_binary_net

    net = read_binary_net(source, profile)
    order = None if net.profile else profile  # a dialect's layers are converted with their blobs
    arrays = {layer.name: [blob.array for blob in layer.blobs] for layer in iter_layers(source, order)}
    names = {layer.name for layer in net.layer}
    model = to_present(Model(net, {name: blobs for name, blobs in arrays.items() if name in names and blobs}))
    if half:
        write_caffemodel(out, model.net, model.arrays, half=True)
    else:
        write_model(model, None, out)
    return len(model.arrays)
