"""TEST plans that compute layers at fewer pixels: all blobs still are the reference's, also those that were skipped."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.engines.onednn.lowerings import subsampled
from dragon.engines.onednn.plan.builder import NotLoweredError
from tests.engines.onednn.comparing import agree, close, compare, fill, inputs, make_net, notes

pytestmark = pytest.mark.usefixtures("device")

FEWER = "onednn, with"  # how the note of a joined group begins


def conv(name: str, bottom: str, outputs: int, kernel: int = 1, stride: int = 1, settings: str = "") -> str:
    window = f"kernel_size: {kernel} stride: {stride} pad: {kernel // 2}"
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param '
        f'{{ num_output: {outputs} {window} {settings} weight_filler {{ type: "xavier" }} }} }}\n'
    )


def on(name: str, blob: str, kind: str, settings: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{blob}" top: "{blob}" {settings} }}\n'


def norm(blob: str) -> str:
    scale = "scale_param { bias_term: true }"
    return on(f"n_{blob}", blob, "BatchNorm") + on(f"s_{blob}", blob, "Scale", scale)


def relu(blob: str) -> str:
    return on(f"r_{blob}", blob, "ReLU")


def total(name: str, *bottoms: str) -> str:
    blobs = " ".join(f'bottom: "{blob}"' for blob in bottoms)
    return f'layer {{ name: "{name}" type: "Eltwise" {blobs} top: "{name}" }}\n'


def pooling(bottom: str, settings: str) -> str:
    return f'layer {{ name: "p" type: "Pooling" bottom: "{bottom}" top: "p" pooling_param {{ {settings} }} }}\n'


SHAPE = (2, 16, 9, 7)
HEAD = inputs(SHAPE, force=False)
STAGE = (
    conv("a", "x0", 16) + norm("a") + relu("a") + conv("b", "a", 16, 3) + norm("b") + relu("b")
    + conv("c", "b", 16) + norm("c") + total("sum", "x0", "c") + relu("sum")
)  # fmt: skip
NEXT = (
    conv("short", "sum", 32, stride=2) + norm("short") + conv("d", "sum", 16, stride=2) + norm("d") + relu("d")
    + conv("e", "d", 32) + norm("e") + total("sum2", "short", "e") + relu("sum2")
)  # fmt: skip
AVERAGE = "pool: AVE kernel_size: 2 stride: 2"


def in_test(text: str, **options: object) -> dict[str, str]:
    """The notes of the layers, once both engines agree on all blobs of two passes."""
    net = agree(text, phase=dragon.TEST, backward=False, passes=2, **options)  # type: ignore[arg-type]
    return notes(net)


def test_strides_move_up_to_the_first_convolution_that_has_them_as_its_own() -> None:
    found = in_test(HEAD + STAGE + NEXT)
    assert "every n-th pixel" in found["b"], found
    assert {found[name] for name in ("c", "sum", "short", "d")} == {"in b"}, found
    assert "pixel" not in found["a"], found


@pytest.mark.parametrize("shape", [(1, 16, 8, 8), (3, 5, 1, 4), (2, 16, 5)])
def test_strides_move_up_at_every_size(shape: tuple[int, ...]) -> None:
    found = in_test(inputs(shape, force=False) + STAGE.replace("num_output: 16", f"num_output: {shape[1]}") + NEXT)
    assert "every n-th pixel" in found["b"], found


def test_strides_of_several_layers_multiply() -> None:
    text = inputs((1, 8, 17, 19), force=False) + conv("a", "x0", 8, 3) + conv("b", "a", 8, stride=2) + relu("b")
    found = in_test(text + conv("c", "b", 8, stride=3))
    assert "every n-th pixel" in found["a"], found
    assert found["c"] == "in a", found


def test_a_stride_may_lie_along_one_axis() -> None:
    uneven = conv("c", "a", 8).replace("stride: 1", "stride_h: 1 stride_w: 2")
    found = in_test(HEAD + conv("a", "x0", 8, 3) + relu("a") + uneven)
    assert "every n-th pixel" in found["a"], found


OTHER_READERS = {
    "a convolution of every pixel": conv("d", "sum", 16, stride=2) + conv("f", "sum", 16),
    "another stride": conv("d", "sum", 16, stride=2) + conv("f", "sum", 16, stride=3),
    "a larger window": conv("d", "sum", 16, 3, 2),
    "a pooling": conv("d", "sum", 16, stride=2) + pooling("sum", "kernel_size: 2 stride: 2"),
    "a sum": conv("d", "sum", 16, stride=2) + total("e", "sum", "x0"),
    "padding": conv("d", "sum", 16, stride=2).replace("pad: 0", "pad: 1"),
    "nobody": "",
}


@pytest.mark.parametrize("readers", OTHER_READERS)
def test_strides_stay_where_every_pixel_is_read(readers: str) -> None:
    found = in_test(HEAD + STAGE + OTHER_READERS[readers])
    assert not any("pixel" in note for note in found.values()), found


def test_layers_in_between_keep_strides_where_they_are() -> None:
    """What is computed together has to lie together."""
    text = HEAD + STAGE + conv("d", "sum", 16, stride=2) + conv("f", "x0", 8) + conv("g", "sum", 16, stride=2)
    assert not any("pixel" in note for note in in_test(text).values())


def test_training_computes_every_pixel() -> None:
    net = agree(HEAD + STAGE + NEXT, passes=2, backward=False)
    assert not any("pixel" in note for note in notes(net).values())
    assert not any("pixel" in note for note in in_test(HEAD + STAGE + NEXT, fuse=False).values())


def test_what_cannot_be_computed_at_fewer_pixels_stays_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotLoweredError("refused")

    monkeypatch.setattr(subsampled, "_pixels", refuse)
    found = in_test(HEAD + STAGE + NEXT)
    assert (found["sum"], found["d"][: len(FEWER)]) == ("in c", FEWER), found


def test_a_skipped_blob_is_that_of_the_run_after_weights_have_changed() -> None:
    nets = [make_net(HEAD + STAGE + NEXT, engine, dragon.TEST) for engine in ("numpy", "onednn")]
    fill(tuple(nets), 1)
    for net in nets:
        net.run_forward()
    expected = nets[0].blobs["sum"].data.copy()
    fill((nets[1],), 2)
    close(nets[1].blobs["sum"].peek(), expected, 2e-5, "sum")
    close(nets[1].blobs["d"].peek(), nets[0].blobs["d"].peek(), 2e-5, "d")


def test_a_part_of_the_net_runs_from_a_blob_that_was_skipped() -> None:
    nets = [make_net(HEAD + STAGE + NEXT, engine, dragon.TEST) for engine in ("numpy", "onednn")]
    fill(tuple(nets), 1)
    for net in nets:
        net.run_forward()
        net.blobs["sum"].data[...] *= 2
        net.run_forward(net.layer_index("short"))
    compare(nets[0], nets[1], 2e-5, diffs=False)


# -- pooling --------------------------------------------------------------------------------------------------------
POOLED = {
    "alone": conv("c", "x0", 8),
    "without bias": conv("c", "x0", 8, settings="bias_term: false"),
    "with a normalisation": conv("c", "x0", 32) + norm("c"),
    "in groups": conv("c", "x0", 8, settings="group: 2"),
}


@pytest.mark.parametrize("window", [AVERAGE, "pool: AVE kernel_size: 3 stride: 2", "pool: AVE global_pooling: true"])
@pytest.mark.parametrize("layers", POOLED)
def test_an_average_is_taken_before_a_pointwise_convolution(layers: str, window: str) -> None:
    found = in_test(HEAD + POOLED[layers] + pooling("c", window))
    assert "pooled first" in found["c"], found
    assert found["p"] == "in c", found


def test_an_average_of_the_image_alone_may_be_padded() -> None:
    window = f"{AVERAGE} pad: 1 avg_include_pad: false"
    assert "pooled first" in in_test(HEAD + conv("c", "x0", 8) + pooling("c", window))["c"]


KEPT = {
    "a ReLU in between": conv("c", "x0", 8) + relu("c") + pooling("c", AVERAGE),
    "a maximum": conv("c", "x0", 8) + pooling("c", "kernel_size: 2 stride: 2"),
    "counted padding": conv("c", "x0", 8) + pooling("c", f"{AVERAGE} pad: 1"),
    "a larger window": conv("c", "x0", 8, 3) + pooling("c", AVERAGE),
    "a stride": conv("c", "x0", 8, stride=2) + pooling("c", AVERAGE),
    "as many pixels": conv("c", "x0", 8) + pooling("c", "pool: AVE kernel_size: 3 stride: 1"),
    "another reader": conv("c", "x0", 8) + pooling("c", AVERAGE) + conv("d", "c", 8),
}


@pytest.mark.parametrize("layers", KEPT)
def test_a_pooling_stays_behind(layers: str) -> None:
    found = in_test(HEAD + KEPT[layers])
    assert not any("pooled first" in note for note in found.values()), found


def test_a_pooling_stays_behind_in_training() -> None:
    net = agree(inputs(SHAPE) + POOLED["alone"] + pooling("c", AVERAGE))
    assert "pooled first" not in notes(net)["c"]


def test_both_count_as_one_run_with_other_inputs() -> None:
    """Nothing of an earlier run is left in what is skipped."""
    text = HEAD + STAGE + NEXT + conv("c9", "sum2", 8) + pooling("c9", AVERAGE)
    nets = make_net(text, "numpy", dragon.TEST, np.float64), make_net(text, "onednn", dragon.TEST)
    for seed in range(3):
        fill(nets, seed)
        for net in nets:
            net.run_forward()
        if seed != 1:
            compare(*nets, 2e-5, diffs=False)


@pytest.mark.parametrize("before", ["", conv("z", "x0", 16, 3)], ids=["alone", "behind another"])
def test_a_strided_convolution_over_other_axes(before: str) -> None:
    """Its images are (N x C, rows), so its stride is none of the pixels that the layers before it compute."""
    chain = before + conv("a", "z" if before else "x0", 16, 1 if before else 3)
    agree(HEAD + chain + conv("b", "a", 4, stride=2, settings="axis: 2"), phase=dragon.TEST, backward=False)


@pytest.mark.parametrize("reader", [conv("c", "b", 16, stride=2), pooling("b", AVERAGE) + conv("c", "p", 16)])
def test_a_skipped_blob_whose_source_is_overwritten_through_a_view(reader: str) -> None:
    text = conv("b", "x0", 16) + reader + 'layer { name: "v" type: "Split" bottom: "x0" top: "v0" top: "v1" }\n'
    agree(HEAD + text + relu("v0"), phase=dragon.TEST, backward=False)
