"""`dragon summarize`: shows the layers of a net with shapes, parameters, multiply-adds and memory."""

from __future__ import annotations

import click

from dragon.graph.facts import added_splits, batch_size, parameter_count, summary
from dragon.graph.net import Net
from dragon.graph.node import multiply_adds
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb
from dragon.tools.common.engine_options import EngineChoice
from dragon.tools.common.net_options import NetChoice, net_options
from dragon.tools.common.tables import table

__all__ = ["command"]

_MIB = 2**20


@click.command("summarize")
@net_options()
@click.option("--phase", type=click.Choice(["TRAIN", "TEST"], case_sensitive=False), default="TEST", show_default=True)
def command(which: NetChoice, phase: str) -> None:
    """Show the layers of a net: shapes, learned numbers, multiply-adds of a forward pass, memory of the tops.

    \b
    Example: dragon summarize --model models/lenet/deploy.prototxt
    """
    _, options = EngineChoice().resolve()
    net = which.open(pb.Phase.Value(phase.upper()), "numpy", options, None)
    try:
        _report(net)
    finally:
        net.close()


def _report(net: Net) -> None:
    rows: list[list[object]] = []
    total_macs, activations = 0, 0
    seen: set[int] = set()
    added = set(added_splits(net))
    for node in net.nodes:
        layer, macs = node.layer, multiply_adds(node)
        own = [blob for blob in node.tops if id(blob) not in seen]  # in place: counted once
        seen |= {id(blob) for blob in own}
        memory = sum(_bytes(blob) for blob in own)
        total_macs += macs
        activations += memory
        learned = sum(blob.count for k, blob in enumerate(layer.blobs) if k not in layer.buffers)
        statistics = sum(blob.count for k, blob in enumerate(layer.blobs) if k in layer.buffers)
        count = f"{learned:,}" + (f" + {statistics:,}" if statistics else "")
        shapes = ", ".join("x".join(map(str, blob.shape)) or "1" for blob in node.tops)
        rows.append(
            [
                node.name,
                layer.type + " (added)" * (node.index in added),
                shapes,
                count,
                f"{macs:,}",
                f"{memory / _MIB:.2f}",
            ]
        )
    head = ["layer", "type", "tops", "parameters", "multiply-adds", "MiB"]
    weights = sum(_bytes(param.blob) for param in net.learnable)
    statistics = sum(_bytes(blob) for blob, _ in net.owned) - weights
    click.echo(f"{summary(net)}, phase {pb.Phase.Name(net.phase)}")
    click.echo("")
    click.echo(table(head, rows, left=(0, 1, 2)))
    click.echo("\nparameters: learned + running statistics; MiB: data of the tops, the gradients take as much again")
    if added:
        click.echo("added: a Split that the net puts in where several layers read a blob; it copies nothing forward")
    n = batch_size(net)
    extra = f"; running statistics another {_size(statistics)}" if statistics else ""
    click.echo(f"parameters       {parameter_count(net):,} learned, {_size(weights)}{extra}")
    click.echo(f"multiply-adds    {total_macs:,} forward, {total_macs // n:,} for one of {n}")
    click.echo(f"memory of tops   {_size(activations)}")


def _size(number: int) -> str:
    return f"{number / _MIB:.2f} MiB" if number >= 0.1 * _MIB else f"{number / 2**10:.2f} KiB"


def _bytes(blob: Blob) -> int:
    return blob.count * blob.dtype.itemsize
