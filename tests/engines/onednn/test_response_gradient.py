"""The gradient of LRN that is built from pooling, on every processor: images in groups, layouts, NaN, memory."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.onednn.kernels import lrn
from dragon.engines.onednn.kernels.lrn import LrnSpec
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.lowerings import lrn as lowering
from dragon.engines.onednn.lowerings import response_gradient
from dragon.engines.onednn.plan.builder import Builder
from tests.engines.onednn.comparing import agree, conv, fill, inputs, make_net, set_output_diffs

pytestmark = pytest.mark.usefixtures("device")

ACROSS = "local_size: 5 alpha: 0.3 k: 2"
WITHIN = "local_size: 3 alpha: 0.4 norm_region: WITHIN_CHANNEL"


@pytest.fixture(autouse=True)
def composed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the library has a kernel of its own too."""
    monkeypatch.setattr(lowering, "composes", lambda spec, library: True)


def normalised(settings: str, bottom: str) -> str:
    return f'layer {{ name: "norm" type: "LRN" bottom: "{bottom}" top: "norm" lrn_param {{ {settings} }} }}\n'


@pytest.mark.parametrize("at_once", [1, 2, 9])
@pytest.mark.parametrize("settings", [ACROSS, WITHIN])
def test_groups_of_images(monkeypatch: pytest.MonkeyPatch, settings: str, at_once: int) -> None:
    """Between convolutions, so in blocks of channels; five images, of which the last group has fewer."""
    monkeypatch.setattr(response_gradient, "CHUNK", at_once * 20 * 6 * 7)
    text = inputs((5, 16, 6, 7)) + conv("c", "x0", 20) + normalised(settings, "c") + conv("d", "norm", 8)
    agree(text, passes=2, tolerance=3e-5)


@pytest.mark.parametrize("shape", [(3, 7, 9), (3, 7, 4, 5), (2, 7, 3, 4, 5), (2, 1, 1, 1)])
@pytest.mark.parametrize("settings", [ACROSS, WITHIN, "local_size: 1 alpha: 0.5", "local_size: 9 alpha: -0.01"])
def test_shapes(settings: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 4 and "WITHIN" in settings:
        return
    agree(inputs(shape) + normalised(settings, "x0"), passes=2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("settings", [ACROSS, WITHIN])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_infinities_stay_where_the_reference_has_them(settings: str, value: float) -> None:
    text = inputs((2, 9, 6, 6)) + normalised(settings, "x0")
    nets = make_net(text, "numpy", dtype=np.float64), make_net(text, "onednn")
    fill(nets, 0)
    set_output_diffs(nets, 0)
    for net in nets:
        net.blobs["x0"].data[1, 4, 2, 3] = value
        net.blobs["norm"].diff[0, 7, 5, 5] = value
        net.run_forward()
        net.run_backward()
    right, mine = (net.blobs["x0"].diff for net in nets)
    assert 0 < np.isfinite(right).sum() < right.size
    np.testing.assert_array_equal(np.isnan(mine), np.isnan(right))
    np.testing.assert_allclose(mine, right, rtol=1e-4, atol=1e-5)


def test_memory_is_that_of_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the batch."""
    monkeypatch.setattr(response_gradient, "CHUNK", 2 * 8 * 16 * 16)

    def scratch(images: int) -> int:
        net = make_net(inputs((images, 8, 16, 16)) + normalised(ACROSS, "x0"), "onednn")
        sizes: list[int] = []
        plain = Builder.scratch

        def seen(self: Builder, desc: MemoryDesc, slot: int = 0) -> object:
            sizes.append(desc.size)
            return plain(self, desc, slot)

        with monkeypatch.context() as patched:
            patched.setattr(Builder, "scratch", seen)
            net.run_forward()
            net.run_backward()
        return max(sizes)

    assert scratch(2) == scratch(64) == 2 * 8 * 16 * 16 * 4


def test_only_where_the_library_has_a_reference_kernel(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    desc = MemoryDesc.plain((2, 8, 6, 6))
    for beta in (0.75, 0.6):
        spec = LrnSpec(5, 0.1, beta)
        down = lrn.backward(device, spec, lrn.forward(device, spec, desc), desc)
        slow = down.implementation.startswith("ref")
        assert response_gradient.composes(spec, down) == (slow and beta == 0.75)
        assert down[Arg.DIFF_SRC] == desc
