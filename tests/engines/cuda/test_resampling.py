"""Images in another size, and rows picked by numbers, by kernels of ours."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError
from tests.engines.cuda.running import by_kernels, fill, inputs, layer, make, same

pytestmark = pytest.mark.usefixtures("cuda")

RANDOM = np.random.default_rng(71)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "settings",
    ["height: 9 width: 13", "height: 3 width: 2", "height: 1 width: 1", "zoom_factor: 3", "shrink_factor: 2",
     "height: 5 width: 31 pad_beg: -1 pad_end: -2", "height: 6 width: 7"],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (1, 2, 4, 5), (300, 1, 4, 4)])
def test_interp(shape: tuple[int, ...], settings: str) -> None:
    text = inputs({"x": shape}) + layer("Interp", f"interp_param {{ {settings} }}")
    by_kernels(same(text, {"x": normal(*shape)}), "one")


def test_interp_to_the_size_of_another_blob() -> None:
    text = inputs({"x": (2, 3, 1, 4), "w": (1, 1, 5, 9)}) + layer("Interp", 'bottom: "w"')
    by_kernels(same(text, {"x": normal(2, 3, 1, 4), "w": normal(1, 1, 5, 9)}), "one")


@pytest.mark.parametrize("mode", ["CONSTANT value: 3", "EDGE", "REFLECT"])
@pytest.mark.parametrize("pads", ["pad_l: 1 pad_r: 2 pad_t: 3 pad_b: 0", "pad_b: 3 pad_r: 4", ""])
def test_pad(pads: str, mode: str) -> None:
    text = inputs({"x": (2, 3, 4, 5)}) + layer("Pad", f"pad_param {{ {pads} mode: {mode} }}")
    by_kernels(same(text, {"x": normal(2, 3, 4, 5)}), "one")


@pytest.mark.parametrize("settings", ["scale: 2", "scale_h: 2 scale_w: 3", "scale: 1"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 2, 2, 4)])
def test_upsample(shape: tuple[int, ...], settings: str) -> None:
    text = inputs({"x": shape}) + layer("Upsample", f"upsample_param {{ {settings} }}")
    by_kernels(same(text, {"x": normal(*shape)}), "one")


@pytest.mark.parametrize("window", ["kernel_size: 2 stride: 2", "kernel_size: 3 stride: 1"])
def test_upsample_undoes_a_pooling(window: str) -> None:
    """With windows that lie over each other several values belong to one place: the last one is there."""
    text = inputs({"x": (3, 5, 8, 10)})
    text += layer("Pooling", f'top: "mask" pooling_param {{ {window} }}', "x", "p", "pool")
    text += layer("Upsample", 'bottom: "mask" upsample_param { upsample_h: 8 upsample_w: 10 }', "p")
    by_kernels(same(text, {"x": normal(3, 5, 8, 10)}), "one")


@pytest.mark.parametrize("bias", ["true", "false"])
def test_embed(bias: str) -> None:
    x = RANDOM.integers(0, 9, (31, 3)).astype(np.float32)
    settings = f'embed_param {{ input_dim: 9 num_output: 13 bias_term: {bias} weight_filler {{ type: "gaussian" }} }}'
    text = inputs({"x": x.shape}) + layer("Embed", settings + " propagate_down: false")
    by_kernels(same(text, {"x": x}), "one")


@pytest.mark.parametrize("shape", [(5, 3), (7, 4, 3, 5)])
def test_batch_reindex(shape: tuple[int, ...]) -> None:
    picks = np.array([3, 0, 0, 4, 3, 3, 1], np.float32)
    text = inputs({"x": shape, "p": picks.shape})
    text += layer("BatchReindex", 'bottom: "p" propagate_down: true propagate_down: false')
    by_kernels(same(text, {"x": normal(*shape), "p": picks}), "one")


BAD = {
    "Embed": ("p", "", "embed_param { input_dim: 4 num_output: 2 }"),
    "BatchReindex": ("x", 'bottom: "p"', ""),
    "Upsample": ("x", 'bottom: "m"', "upsample_param { scale: 2 }"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_index_that_is_out_of_range(kind: str) -> None:
    """The first of two; every engine says the same."""
    first, rest, settings = BAD[kind]
    text = inputs({"x": (4, 1, 2, 2), "p": (5,), "m": (4, 1, 2, 2)}) + layer(kind, f"{rest} {settings}", first)
    mask = np.zeros((4, 1, 2, 2))
    mask[2, 0, 1] = 16, -1
    messages = []
    for engine in ("numpy", "cuda"):
        net = make(text, engine)
        fill(net, {"x": np.ones((4, 1, 2, 2)), "p": np.array([0, 4, 3, -2, 1]), "m": mask})
        with pytest.raises(DataError) as caught:
            net.run_forward()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
