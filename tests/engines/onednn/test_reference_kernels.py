"""Layers for which the library may choose its reference kernel, value by value, run by others."""

from __future__ import annotations

import pytest

import dragon
from dragon.engines.onednn.library.primitive import Call
from tests.engines.onednn.comparing import agree, conv, inputs

pytestmark = pytest.mark.usefixtures("device")

NETS = {
    "1 x 1 convolution with padding": (
        (1, 16, 5, 5),
        'type: "Convolution" convolution_param { num_output: 24 kernel_size: 1 pad: 1 }',
    ),
    "softmax over channels": ((2, 3, 5, 4), 'type: "Softmax"'),
    "softmax over rows": ((2, 3, 5, 4), 'type: "Softmax" softmax_param { axis: 2 }'),
    "response": ((2, 16, 5, 4), 'type: "LRN"'),
    "response within a channel": ((2, 16, 5, 4), 'type: "LRN" lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }'),
}


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
@pytest.mark.parametrize("name", NETS)
def test_no_reference_kernel(monkeypatch: pytest.MonkeyPatch, name: str, phase: int) -> None:
    used: list[tuple[str, str]] = []
    run = Call.__call__

    def noted(call: Call) -> None:
        used.append((call.primitive.operation, call.primitive.implementation))
        run(call)

    shape, settings = NETS[name]
    monkeypatch.setattr(Call, "__call__", noted)
    before = conv("c", "x0", shape[1])
    text = inputs(shape) + before + f'layer {{ name: "a" {settings} bottom: "c" top: "a" }}\n'
    agree(text, phase=phase, backward=phase == dragon.TRAIN, passes=2)
    assert used
    assert not [each for each in used if each[1].startswith("ref")]


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_loss_along_each_axis(axis: int) -> None:
    """The loss takes the layout in which the axis of the classes is the innermost one."""
    shape = (2, 3, 4, 3)
    labels = " ".join(f"dim: {extent}" for i, extent in enumerate(shape) if i != axis)
    text = inputs(shape) + (
        f'layer {{ name: "l" type: "DummyData" top: "l" dummy_data_param {{ shape {{ {labels} }} '
        "data_filler { value: 1 } } }\n"
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x0" bottom: "l" top: "loss" top: "prob" '
        f"softmax_param {{ axis: {axis} }} }}\n"
    )
    agree(text, passes=2)
