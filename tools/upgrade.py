"""`dragon upgrade`: converts nets, solvers and weights of older formats to the current one."""

from __future__ import annotations

from pathlib import Path

import click

from dragon.errors import PrototxtError, UsageError
from dragon.files.atomic import write_atomically
from dragon.files.kinds import kind_of
from dragon.files.reading import open_regular
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, read_net, read_solver

__all__ = ["command"]


@click.command("upgrade")
@click.argument("source", type=click.Path(dir_okay=False))
@click.argument("out", type=click.Path(dir_okay=False))
@click.option("--kind", type=click.Choice(["net", "solver", "weights"]), help="What SOURCE is; found out by default.")
@click.option("--profile", help="The fork that wrote the weights, where it cannot be told from the file.")
def command(source: str, out: str, kind: str | None, profile: str | None) -> None:
    """Bring SOURCE, a net or solver prototxt or a .caffemodel of Caffe's V0, V1 or present form, to the present form.

    OUT is - to print a prototxt.

    \b
    Example: dragon upgrade old_train_val.prototxt train_val.prototxt
    """
    kind = kind or _kind(source)
    if kind == "weights":
        if out == "-" or Path(out).suffix == ".prototxt":
            raise UsageError(f"{source} holds weights, which are written to a .caffemodel, not to {out}")
        count = _upgrade_weights(source, out, profile)
        click.echo(f"{out}: weights of {count} layers")
        return
    if Path(out).suffix == ".caffemodel":
        raise UsageError(f"{source} is a prototxt, which is not written to a .caffemodel")
    message = read_net(source) if kind == "net" else read_solver(source)
    if out == "-":
        click.echo(format_text(message), nl=False)
        return
    write_atomically(out, format_text(message).encode())
    what = f"net of {len(message.layer)} layers" if isinstance(message, pb.NetParameter) else "solver"
    click.echo(f"{out}: {what}")


def _kind(source: str) -> str:
    try:
        with open_regular(source) as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise PrototxtError(f"{source}: cannot be read: {error.strerror}") from None
    kind = kind_of(source)
    if kind is not None and "prototxt" not in kind and kind != "a text file":
        raise UsageError(f"{source} is {kind}: nets, solvers and .caffemodel files are upgraded")
    if b"\0" in head or Path(source).suffix == ".caffemodel":
        return "weights"
    try:
        read_net(source)
    except PrototxtError as as_net:
        try:
            read_solver(source)
        except PrototxtError:
            if b"base_lr" in head or b"lr_policy" in head:
                return "solver"
            raise as_net from None
        return "solver"
    return "net"


def _upgrade_weights(source: str, out: str, profile: str | None) -> int:
    from dragon.proto.binary import iter_layers, write_caffemodel
    from dragon.proto.binary_net import read_binary_net

    arrays = {layer.name: [blob.array for blob in layer.blobs] for layer in iter_layers(source, profile)}
    net = read_binary_net(source, profile)
    names = {layer.name for layer in net.layer}
    kept = {name: blobs for name, blobs in arrays.items() if name in names and blobs}
    write_caffemodel(out, net, kept)
    return len(kept)
