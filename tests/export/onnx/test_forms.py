"""Every layer type in ONNX Runtime, or with the reason why it has no form."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import find_class, layer_types
from dragon.errors import UsageError
from dragon.export.onnx.forms import formed, reasons
from dragon.export.onnx.model import model_of
from tests.export.onnx.helpers import agree, filled
from tests.layers.catalogue import CASES

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

MAIN_NAMES = {cls.type for name in layer_types() if (cls := find_class(name)) is not None}

REFUSED = {
    "DetectionOutput 1": r"eta .* below 1",
    **{f"CTCGreedyDecoder {i}": "compares what it reads with labels" for i in (2, 3, 4)},
}  # cases of layers that have a form otherwise


def test_every_layer_type_has_a_form_or_a_reason() -> None:
    """A new layer type has to be looked at: dragon/export/onnx/forms says how to write it, or why it cannot be."""
    known = {*formed(), *reasons()}
    assert MAIN_NAMES - known == set()
    assert not {*formed()} & {*reasons()}
    assert known - MAIN_NAMES == {"SegNetBN"}  # a class without a registered name


def _main_name(kind: str) -> str:
    cls = find_class(kind)
    assert cls is not None
    return cls.type


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if _main_name(case.kind) in formed()])
def test_form(name: str) -> None:
    case = CASES[name]
    if case.kind == "Silence":
        return
    inputs = {key: np.asarray(value) for key, value in case.values().items()}
    with filled(case.text(), inputs) as net:
        if name in REFUSED:
            with pytest.raises(UsageError, match=REFUSED[name]):
                model_of(net)
        else:
            agree(net, inputs)


def test_every_form_has_a_case() -> None:
    assert set(formed()) - {_main_name(case.kind) for case in CASES.values()} == {"SegNetBN"}
