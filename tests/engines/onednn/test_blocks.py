"""In TEST convolutions work in blocks of channels where that was measured to be faster, with the reference's values."""

from __future__ import annotations

import pytest

import dragon
from dragon.engines.onednn.executor import OneDNNExecutor
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Call
from dragon.engines.onednn.plan.places import blocks
from tests.engines.onednn.comparing import agree, inputs
from tests.engines.onednn.plan.test_rearranging import conv, on

POINTS = conv("a", "x0", 48) + on("r", "a", "ReLU") + conv("z", "a", 32)
DEPTHWISE = conv("a", "x0", 48) + conv("d", "a", 48, 3, settings="group: 48") + conv("z", "d", 32)
WINDOWS = conv("a", "x0", 16, 3) + on("r", "a", "ReLU") + conv("z", "a", 16, 3)
SHUFFLED = POINTS + 'layer { name: "s" type: "ShuffleChannel" bottom: "z" top: "s" shuffle_channel_param { group: 4 } }'


def in_blocks(text: str, images: int, device: Device) -> set[bool]:
    """Whether tops of convolutions lie in blocks of channels."""
    text = inputs((images, 32, 20, 20), force=False) + text
    executor = agree(text, phase=dragon.TEST, backward=False, winograd=False).executor
    assert isinstance(executor, OneDNNExecutor)
    (plan,) = (plan for plan in executor.plans if plan.whole)
    calls = [call for group in plan.groups for call in group.forward.calls if isinstance(call, Call)]
    tops = [call.primitive[Arg.DST] for call in calls if call.primitive.operation == "convolution forward"]
    assert len(tops) == text.count('"Convolution"')
    return {top == blocks(top.dims, device.block) for top in tops}


@pytest.mark.parametrize("text", [POINTS, DEPTHWISE])
@pytest.mark.parametrize("images", [1, 2, 5])
def test_blocks_of_channels(images: int, text: str, device: Device) -> None:
    assert in_blocks(text, images, device) == {images == 1 or not device.has_avx512}


@pytest.mark.parametrize("images", [1, 5])
def test_several_images_in_a_net_of_windows_alone_have_none(images: int, device: Device) -> None:
    assert in_blocks(WINDOWS, images, device) == {images == 1}


def test_a_net_that_shuffles_channels_has_none(device: Device) -> None:
    assert in_blocks(SHUFFLED, 1, device) == {False}
