"""Graphs that are kept while a net changes: they answer as graphs that are built anew, and are seldom built."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from dragon.errors import UsageError
from dragon.models import zoo
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_net
from dragon.surgery.insert import insert
from dragon.surgery.model import Model
from dragon.surgery.normalisations import PhaseGraphs
from dragon.surgery.remove import remove
from dragon.surgery.rewiring import Rewiring

RULES = ["", "", "", "", "include { phase: TRAIN }", "include { phase: TEST }", 'include { stage: "a" }']
KINDS = ["Convolution", "ReLU", "ReLU", "BN", "BatchNorm", "Scale", "Eltwise", "Pooling"]


def drawn(rng: Random) -> pb.NetParameter:
    """A net of some layers, in place or not, which read one of the newest values; some are in one phase or stage."""
    text, values = 'layer { name: "data" type: "Input" top: "x" }', ["x"]
    for number in range(rng.randint(4, 14)):
        kind = rng.choice(KINDS)
        bottoms = rng.choices(values[-3:], k=2 if kind == "Eltwise" else 1)
        top = f"t{number}" if kind in ("Convolution", "Eltwise") or rng.random() < 0.5 else bottoms[0]
        values += [top] if top not in values else []
        names = " ".join(f'bottom: "{name}"' for name in bottoms)
        more = "convolution_param { num_output: 2 kernel_size: 1 }" if kind == "Convolution" else ""
        text += f'layer {{ name: "l{number}" type: "{kind}" {names} top: "{top}" {more} {rng.choice(RULES)} }}\n'
    return parse_text(text, pb.NetParameter())


def outcome(net: pb.NetParameter, kind: str, place: str) -> tuple[Any, list[str]]:
    """The net with normalisations of a type, or without its own where that is none, and the notes."""
    lines: list[str] = []
    layers = [one for one in ("Convolution", "Eltwise", "ReLU") if any(layer.type == one for layer in net.layer)]
    try:
        if kind:
            new = insert(Model(net), layers or "x", type=kind, place=place, last=True, note=lines.append)
        else:
            new = remove(Model(net), note=lines.append)
    except UsageError as error:
        return str(error), lines
    return new.net, lines


@pytest.mark.parametrize("kind", ["", "BN", "BatchNorm"])
@pytest.mark.parametrize("seed", range(3))
def test_kept_graphs_answer_as_new_ones(seed: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(seed)
    nets = [(drawn(rng), rng.choice(["before_activation", "after_activation"])) for _ in range(12)]
    kept = [outcome(net, kind, place) for net, place in nets]

    def always_new(self: Rewiring, ask: Callable[[PhaseGraphs], tuple[Any, bool]]) -> Any:
        self.restart()
        return ask(self.graphs)[0]

    monkeypatch.setattr(Rewiring, "_fresh", always_new)
    assert kept == [outcome(net, kind, place) for net, place in nets]


def test_few_graphs_are_built_for_many_normalisations(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[PhaseGraphs] = []
    init = PhaseGraphs.__init__

    def counted(self: PhaseGraphs, *args: Any) -> None:
        built.append(self)
        init(self, *args)

    monkeypatch.setattr(PhaseGraphs, "__init__", counted)
    net = read_net(zoo.file_of("resnet56_cifar10", "train_val.prototxt"))
    assert sum(layer.type == "BatchNorm" for layer in net.layer) > 50
    remove(Model(net))
    assert len(built) <= 2
