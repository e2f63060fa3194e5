"""The text of a net after surgery is the text before it, but for the layers that the surgery touches."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.models import generate
from dragon.proto import dragon_pb2 as pb
from dragon.proto.lexer import Tokens
from dragon.proto.text import parse_text
from dragon.proto.text_tree import read_tree
from dragon.surgery.fold import fold
from dragon.surgery.model import Model, read_model, write_model
from dragon.surgery.operations import apply
from tests.surgery.helpers import trained

ROOT = Path(generate.__file__).parent
NETS = {
    name: ROOT / name / "train_val.prototxt" for name in ("cifar10_quick", "cifar10_full", "lenet", "vgg_a_cifar10")
}
NORMALISED = {
    "cifar10_quick_bn_split": "merge",
    "vgg_a_cifar10_bn": "merge"
    if "BatchNorm" in (ROOT / "vgg_a_cifar10_bn/train_val.prototxt").read_text()
    else "split",
    "cifar10_quick_bn_merged": "split",
    "resnet20_cifar10": "merge"
    if "BatchNorm" in (ROOT / "resnet20_cifar10/train_val.prototxt").read_text()
    else "split",
}
COMMENTED = """# A net of mine
name: "n"  # short
layer {  # the data
  name: "data"
  type: "DummyData"
  top: "data"
  dummy_data_param { shape { dim: 5 dim: 4 dim: 6 dim: 6 } data_filler { type: "gaussian" std: 1e0 } }
}

# ---- stage 1
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "data"
  top: "conv1"
  convolution_param {
    num_output: 6  # six
    kernel_size: 3
    weight_filler { type: "xavier" }
  }
}
layer {
  name: "bn1"
  type: "BatchNorm"
  bottom: "conv1"
  top: "conv1"
  batch_norm_param {
    # as the paper has it
    eps: 1e-3
  }
}
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }

# ---- the end
layer {
  name: "ip"
  type: "InnerProduct"
  bottom: "conv1"
  top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" std: .01 } }
}
"""


def layers(text: str) -> dict[str, list[str]]:
    """The text of each layer, by name."""
    found: dict[str, list[str]] = {}
    for entry in read_tree(Tokens(text, "n")).entries:
        if entry.name == "layer":
            net = parse_text(text[entry.start : entry.end], pb.NetParameter())
            found.setdefault(net.layer[0].name, []).append(text[entry.start : entry.end])
    return found


def check(old: str, new: str, model: Model, before: pb.NetParameter) -> None:
    """All layers that are the same have the same text, in the same order; so have all comments."""
    same = [layer for layer in before.layer if layer in model.net.layer]
    assert same
    texts, others = layers(old), layers(new)
    for layer in same:
        assert texts[layer.name] == others[layer.name], layer.name
    assert [x for x in old.splitlines() if x.startswith("#")] == [x for x in new.splitlines() if x.startswith("#")]


@pytest.mark.parametrize("arguments", [{}, {"form": "split", "place": "after_activation"}, {"type": "LayerNorm"}])
@pytest.mark.parametrize("name", NETS)
def test_insert_and_remove(name: str, arguments: dict[str, str]) -> None:
    old = read_model(NETS[name])
    new = apply(old, "insert", {**arguments, "keep_init": True})
    text, kept = new.text()
    assert kept
    assert old.source is not None
    check(old.source.text, text, new, old.net)


@pytest.mark.parametrize("name", NORMALISED)
def test_merge_split_and_remove(name: str) -> None:
    old = read_model(ROOT / name / "train_val.prototxt")
    assert old.source is not None
    for operation in (NORMALISED[name], "remove"):
        new = apply(old, operation, {})
        text, kept = new.text()
        assert kept
        check(old.source.text, text, new, old.net)


def changed(operation: str, tmp_path: Path) -> str:
    path = tmp_path / "n.prototxt"
    path.write_text(COMMENTED)
    model = read_model(path)
    model.arrays = trained(model.net).arrays
    new = fold(model)[0] if operation == "fold" else apply(model, operation, {})
    write_model(new, tmp_path / "new.prototxt", None)
    return (tmp_path / "new.prototxt").read_text()


def test_fold_leaves_the_rest(tmp_path: Path) -> None:
    begin, end = COMMENTED.index('layer {\n  name: "bn1"'), COMMENTED.index('layer { name: "relu1"')
    assert changed("fold", tmp_path) == COMMENTED[:begin] + COMMENTED[end:]


def test_merge_touches_the_normalisation_alone(tmp_path: Path) -> None:
    expected = COMMENTED.replace('"BatchNorm"', '"BN"').replace(
        "    eps: 1e-3\n", "    eps: 1e-3\n    moving_average_fraction: 0.999\n    average: CAFFE\n"
    )
    scale = next(line for line in COMMENTED.splitlines() if "scale1" in line)
    new = changed("merge", tmp_path)
    assert sorted(new.splitlines()) == sorted(expected.replace(scale + "\n", "").splitlines())
    assert [line for line in new.splitlines() if "#" in line] == [x for x in COMMENTED.splitlines() if "#" in x]


def test_insert_then_remove_gives_the_text_back(tmp_path: Path) -> None:
    text = (
        COMMENTED[: COMMENTED.index('layer {\n  name: "bn1"')] + COMMENTED[COMMENTED.index('layer { name: "relu1"') :]
    )
    path = tmp_path / "n.prototxt"
    path.write_text(text)
    for place in ("before_activation", "after_activation"):
        for form in ("merged", "split"):
            there = tmp_path / "there.prototxt"
            write_model(
                apply(read_model(path), "insert", {"keep_init": True, "form": form, "place": place}), there, None
            )
            assert "bn_conv1" in there.read_text()
            write_model(apply(read_model(there), "remove", {}), tmp_path / "back.prototxt", None)
            assert (tmp_path / "back.prototxt").read_text() == text


def test_text_of_v1_becomes_that_of_today(tmp_path: Path) -> None:
    path = tmp_path / "n.prototxt"
    path.write_text(
        'layers { name: "data" type: DUMMY_DATA top: "data" dummy_data_param { num: 2 '
        "channels: 3 height: 4 width: 4 } }"
        'layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" convolution_param { num_output: 2 '
        "kernel_size: 0x1 } } # kept\n"
        'layers { name: "ip" type: INNER_PRODUCT bottom: "conv" top: "ip" inner_product_param { num_output: 2 } }'
    )
    new = apply(read_model(path), "insert", {})
    text, kept = new.text()
    assert kept
    assert "kernel_size: 0x1" in text
    assert "# kept\n" in text
    assert parse_text(text, pb.NetParameter()) == new.net


def test_text_of_v0_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "n.prototxt"
    path.write_text(
        'input: "data" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 4\n'
        'layers { layer { name: "conv" type: "conv" num_output: 2 kernelsize: 1 } bottom: "data" top: "conv" } # lost\n'
        'layers { layer { name: "ip" type: "innerproduct" num_output: 2 } bottom: "conv" top: "ip" }'
    )
    new = apply(read_model(path), "insert", {})
    text, kept = new.text()
    assert not kept
    assert parse_text(text, pb.NetParameter()) == new.net
