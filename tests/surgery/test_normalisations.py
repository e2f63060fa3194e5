"""Batch normalisations of definitions that no net could be made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text
from dragon.surgery.fold import fold
from dragon.surgery.lint import lint
from dragon.surgery.merge import merge, split
from dragon.surgery.model import Model
from dragon.surgery.remove import remove
from dragon.surgery.show import show
from tests.surgery.helpers import CONV, HEAD


@pytest.mark.parametrize("ends", ['top: "b"', 'bottom: "conv1"', 'bottom: "conv1" top: "b" top: "c"'])
@pytest.mark.parametrize("kind", ["BN", "BatchNorm"])
@pytest.mark.parametrize("operation", [split, merge, remove, show, fold])
def test_one_bottom_and_one_top(operation: Callable[[Model], Any], kind: str, ends: str) -> None:
    net = parse_text(f'{HEAD}{CONV}layer {{ name: "bn1" type: "{kind}" {ends} }}', pb.NetParameter())
    model = Model(net, {"conv1": [np.ones(1)]} if operation in (show, fold) else {})
    with pytest.raises(PrototxtError, match=r'layer "bn1" \(.*\): a normalisation has one bottom and one top, got'):
        operation(model)
    assert not lint(Definition(net))
