"""Merging, splitting, folding and lint see a layer under every name of its type."""

from __future__ import annotations

import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text
from dragon.surgery.fold import fold
from dragon.surgery.lint import lint
from dragon.surgery.merge import merge, split
from dragon.surgery.model import Model
from dragon.surgery.normalisations import find_normalisations
from tests.surgery.helpers import CONV, FORMS, definition, largest, trained

MERGED = [form for form in FORMS if form.startswith("merged")]
DEPTHWISE = """layer { name: "conv1" type: "TYPE" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
"""


def renamed(net: pb.NetParameter, old: str, new: str) -> pb.NetParameter:
    for layer in net.layer:
        if layer.type == old:
            layer.type = new
    return net


def sync(form: str) -> pb.NetParameter:
    """A net with a SyncBN."""
    net = renamed(definition(form), "BN", "SyncBN")
    assert "SyncBN" in [layer.type for layer in net.layer]
    return net


@pytest.mark.parametrize("form", MERGED)
def test_sync_bn_is_folded(form: str) -> None:
    old = trained(sync(form))
    new, done, left = fold(old)
    assert (done, left) == ([("bn1", "conv1")], [])
    assert largest(old, new, (TEST,)) < 1e-5


@pytest.mark.parametrize("form", MERGED)
def test_sync_bn_is_split_and_merged_again(form: str) -> None:
    old = trained(sync(form))
    apart, names = split(old)
    assert names == ["bn1"]
    assert [layer.type for layer in apart.net.layer][2:4] == ["BatchNorm", "Scale"]
    assert largest(old, apart, (TRAIN, TEST)) < 1e-5
    again, names = merge(apart)
    assert names == ["bn1"]
    assert largest(old, again, (TRAIN, TEST)) < 1e-5


@pytest.mark.parametrize("kind", ["DepthwiseConvolution", "ConvolutionDepthwise"])
def test_into_a_depthwise_convolution(kind: str) -> None:
    old = trained(definition("split", DEPTHWISE.replace("TYPE", kind)))
    new, done, _ = fold(old)
    assert done == [("bn1", "conv1")]
    assert largest(old, new, (TEST,)) < 1e-5


def remarks(text: str) -> list[tuple[str, str]]:
    net = parse_text(text, pb.NetParameter())
    found = lint(Definition(net, "n.prototxt", tuple(range(1, 1 + len(net.layer)))))
    return [(f.layer, f.rule) for f in found]


def test_lint_sees_aliases() -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" top: "label" }
    layer { name: "conv" type: "TYPE" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 1 } }
    layer { name: "bn" type: "SyncBN" bottom: "conv" top: "conv" batch_norm_param { eps: 0.5 use_global_stats: true } }
    layer { name: "loss" type: "SoftmaxLoss" bottom: "conv" bottom: "label" top: "loss" }
    """
    for kind in ("Convolution", "Deconvolution", "DepthwiseConvolution", "ConvolutionDepthwise"):
        assert remarks(text.replace("TYPE", kind)) == [
            ("conv", "bias-before-bn"), ("bn", "global-stats"), ("bn", "eps"),
        ]  # fmt: skip


def test_segnets_bn_has_no_statistics_to_work_on() -> None:
    text = 'layer { name: "bn" type: "SyncBN" bottom: "x" top: "y" bn_param { bn_mode: LEARN } }'
    assert find_normalisations(parse_text(text, pb.NetParameter())) == []


def test_weights_in_a_layer_without_them() -> None:
    text = CONV.replace('"Convolution"', '"Pooling"').replace("convolution_param", "#")
    net = definition("split", text.split("#")[0] + "pooling_param { kernel_size: 2 } }\n")
    _, done, left = fold(Model(net, trained(net).arrays))
    assert (done, left[0][1]) == ([], 'it follows "conv1" (Pooling), which has no weights to fold into')
