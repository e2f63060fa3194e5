"""What is fused depends on what a layer is, not on the name that the prototxt gives it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import dragon
from dragon.bases import registry
from dragon.bases.registry import find_class, layer_types
from dragon.engines.onednn.lowerings import find
from dragon.layers.bn import BN
from dragon.memory.blob import Blob
from tests.engines.onednn.comparing import agree, inputs, notes

pytestmark = pytest.mark.usefixtures("device")

CONV = """layer { name: "c" type: "TYPE" bottom: "x0" top: "c"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 bias_term: false } }
"""
NORM = 'layer { name: "n" type: "BatchNorm" bottom: "c" top: "c" }\n'
NEURON = 'layer { name: "r" type: "TYPE" bottom: "c" top: "c" }\n'
SHAPE = (2, 32, 6, 6)


ARRAY_CODE = ("CTCGreedyDecoder", "CTCLoss")  # types with aliases that have no lowering


def _aliases() -> list[str]:
    classes = {name: find_class(name) for name in layer_types()}
    return [name for name, cls in classes.items() if cls and name in cls.aliases and cls.type not in ARRAY_CODE]


@pytest.mark.parametrize("alias", _aliases())
def test_a_lowering_serves_every_name_of_a_type(alias: str) -> None:
    cls = find_class(alias)
    assert cls is not None
    assert find(alias) is find(cls.type) is not None


@pytest.mark.parametrize("kind", ["ReLU", "ReLU6", "Sigmoid", "TanH", "ELU"])
def test_neurons_whose_backward_needs_the_result_join_a_convolution(kind: str) -> None:
    net = agree(inputs(SHAPE) + CONV.replace("TYPE", "Convolution") + NEURON.replace("TYPE", kind), passes=2)
    assert notes(net)["r"] == "in c", notes(net)


@pytest.mark.parametrize("kind", ["Convolution", "DepthwiseConvolution", "ConvolutionDepthwise"])
def test_batch_normalisation_folds_into_every_convolution(kind: str) -> None:
    net = agree(inputs(SHAPE, force=False) + CONV.replace("TYPE", kind) + NORM, phase=dragon.TEST, backward=False)
    assert notes(net)["n"] == "in c", notes(net)


@pytest.mark.parametrize("view", ["Flatten", "Squeeze"])
def test_a_view_of_its_top_does_not_keep_a_relu_out(view: str) -> None:
    text = inputs(SHAPE) + CONV.replace("TYPE", "Convolution") + NORM + NEURON.replace("TYPE", "ReLU")
    net = agree(text + f'layer {{ name: "v" type: "{view}" bottom: "c" top: "v" }}\n', passes=2)
    assert notes(net)["r"] == "in n", notes(net)


class Doubled(BN):
    """A normalisation with a forward of its own."""

    type = "Doubled"

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().forward(bottom, top)
        top[0].data[...] *= 2


@pytest.mark.parametrize("kind", ["BatchRenorm", "Doubled"])
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST])
def test_a_normalisation_of_another_kind_is_not_fused(kind: str, phase: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither with the ReLU behind it nor into the convolution before it."""
    monkeypatch.setitem(registry._REGISTRY, "Doubled", Doubled)
    text = inputs(SHAPE, force=False) + CONV.replace("TYPE", "Convolution")
    text += NORM.replace("BatchNorm", kind) + NEURON.replace("TYPE", "ReLU")
    net = agree(text, phase=phase, backward=False)
    assert "in " not in notes(net)["n"], notes(net)
    assert notes(net)["r"] != "in n", notes(net)


SCALE = 'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }\n'
BEHIND = {"nothing": "", "ReLU": NEURON.replace("TYPE", "ReLU"), "Scale, ReLU": SCALE + NEURON.replace("TYPE", "ReLU")}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("affine", ["false", "true"])
@pytest.mark.parametrize("setting", ["ghost_batch: 3", "gradient_through_statistics: false"])
def test_other_ways_to_normalise_in_training(setting: str, affine: str, behind: str) -> None:
    """Ghost batches run the reference; statistics as constants are a primitive, without the ReLU behind it."""
    settings = f"batch_norm_param {{ {setting} scale_bias: {affine} }}"
    norm = NORM.replace('top: "c" }', f'top: "c" {settings} }}')
    text = CONV.replace("TYPE", "Convolution") + norm + BEHIND[behind]
    found = notes(agree(inputs((5, *SHAPE[1:])) + text, passes=2))
    lowered = "onednn, with s" if found.get("s") == "in n" else "onednn"
    assert found["n"] == ("reference" if "ghost" in setting else lowered), found
    assert found.get("r") != "in n", found
    test = agree(inputs((5, *SHAPE[1:]), force=False) + text, phase=dragon.TEST, backward=False)
    assert notes(test)["n"] == "in c", notes(test)
