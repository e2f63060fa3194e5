"""Lowerings of layers of public forks: behind a convolution in blocked layout, with backward and without."""

from __future__ import annotations

import pytest

import dragon
from tests.engines.onednn.comparing import agree, inputs, notes

pytestmark = pytest.mark.usefixtures("device")

WIDE = (2, 16, 6, 5)
CONV = """layer { name: "c" type: "Convolution" bottom: "x0" top: "c"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 } }
layer { name: "d" type: "Convolution" bottom: "x0" top: "d"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 } }
layer { name: "g" type: "Pooling" bottom: "d" top: "g" pooling_param { pool: AVE global_pooling: true } }
"""
AFTER = """layer { name: "e" type: "Convolution" bottom: "y" top: "e"
  convolution_param { num_output: 16 kernel_size: 1 } }
"""

# name -> (type, bottoms, settings)
LAYERS = {
    "add": ("Add", "c d", ""),
    "mul": ("Mul", "c d", ""),
    "mul three": ("Mul", "c d c", ""),
    "axpy": ("Axpy", "g c d", ""),
    "permute to channels last": ("Permute", "c", "permute_param { order: 0 order: 2 order: 3 order: 1 }"),
    "permute items": ("Permute", "c", "permute_param { order: 1 }"),
    "shuffle": ("ShuffleChannel", "c", "shuffle_channel_param { group: 4 }"),
    "reorg": ("Reorg", "c", "reorg_param { stride: 2 reverse: true }"),
    "transpose": ("Transpose", "c", "transpose_param { dim: 0 dim: 2 dim: 3 dim: 1 }"),
    "mish": ("Mish", "c", ""),
    "hard sigmoid": ("HardSigmoid", "c", ""),
    "upsample": ("Upsample", "c", "upsample_param { scale: 2 }"),
    "upsample by two scales": ("Upsample", "c", "upsample_param { scale_h: 3 scale_w: 4 }"),
}
WITHOUT_BACKWARD = {
    "add repeated": ("Add", "c g", ""),
    "mul repeated": ("Mul", "c g", ""),
}


def net(kind: str, bottoms: str, settings: str, force: bool) -> str:
    wired = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    layer = f'layer {{ name: "one" type: "{kind}" {wired} top: "y" {settings} }}\n'
    return inputs(WIDE, force=force) + CONV + layer + AFTER


@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
@pytest.mark.parametrize("name", LAYERS)
def test_forward_and_backward(name: str, phase: int) -> None:
    made = agree(net(*LAYERS[name], force=True), phase=phase, passes=2)
    assert notes(made)["one"] == "onednn"


@pytest.mark.parametrize("name", [*LAYERS, *WITHOUT_BACKWARD])
def test_without_backward(name: str) -> None:
    made = agree(
        net(*(LAYERS | WITHOUT_BACKWARD)[name], force=False),
        phase=dragon.TEST,
        backward=False,
        passes=2,
        tolerance=5e-5,
    )
    assert notes(made)["one"] == "onednn"


@pytest.mark.parametrize("name", WITHOUT_BACKWARD)
def test_training_runs_what_has_no_lowering(name: str) -> None:
    agree(net(*WITHOUT_BACKWARD[name], force=True), tolerance=5e-5)
