"""Layers behind convolutions of one image in blocks of channels: the reference's values, by fast kernels."""

from __future__ import annotations

import pytest

import dragon
from dragon.engines.onednn.executor import OneDNNExecutor
from dragon.engines.onednn.library.primitive import Call
from tests.engines.onednn.comparing import agree, inputs
from tests.engines.onednn.plan.test_rearranging import conv, on, pooling

pytestmark = pytest.mark.usefixtures("device")

FIRST = conv("a", "x0", 48) + on("g", "a", "Sigmoid")
BEHIND = {
    "Bias": on("s", "a", "Bias") + conv("z", "a", 16),
    "Scale": on("s", "a", "Scale", "scale_param { bias_term: true }") + conv("z", "a", 16),
    "Slice": 'layer { name: "s" type: "Slice" bottom: "a" top: "s1" top: "s2" slice_param { slice_point: 16 } }\n'
    + conv("z", "s2", 16),
    "average with a window beyond the edge": pooling("a", "pool: AVE kernel_size: 3 stride: 2 pad: 1")
    + conv("z", "p", 16),
}  # fmt: skip


@pytest.mark.parametrize("name", BEHIND)
def test_no_layer_falls_back_to_the_librarys_reference(name: str) -> None:
    text = inputs((1, 32, 28, 28), force=False) + FIRST + BEHIND[name]
    executor = agree(text, phase=dragon.TEST, backward=False, passes=2).executor
    assert isinstance(executor, OneDNNExecutor)
    (plan,) = (plan for plan in executor.plans if plan.whole)
    calls = [call for group in plan.groups for call in group.forward.calls if isinstance(call, Call)]
    names = [call.primitive.implementation for call in calls]
    assert len(names) > 2
    assert not [implementation for implementation in names if "ref" in implementation]
