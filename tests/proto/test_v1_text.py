"""Text of V1 layers is written as text of the present form, with its comments, order and numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.models import generate
from dragon.proto import dragon_pb2 as pb
from dragon.proto.layer_names import name_layers
from dragon.proto.text import format_text, parse_text, read_net, read_net_source
from dragon.proto.upgrade import V1_TYPES, needs_upgrade, upgrade_net

ROOT = Path(generate.__file__).parent
OLD = """# by hand
name: "old"  # short
input: "data"
input_dim: 1 input_dim: 1 input_dim: 0x1c input_dim: 28

# the first one
layers {
  # inside
  name: "conv1"
  type: CONVOLUTION   # or 5
  bottom: "data"
  top: "conv1"
  blobs_lr: 1.
  blobs_lr: 2.  # of the bias
  weight_decay: 1
  weight_decay: 0
  convolution_param {
    kernel_size: 5  # five
    num_output: 0x8
  }
}
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }  # in place
layers { param: "w" name: "ip" type: 14 bottom: "conv1" top: "ip" inner_product_param { num_output: 2 } }
layers { type: SOFTMAX name: "p" bottom: "ip" top: "p" } layers { blobs_lr: 1
  name: "q" top: "q" bottom: "p" type: POWER }
# the end
"""
NEW = """# by hand
name: "old"  # short

layer {
  name: "input"
  type: "Input"
  top: "data"
  input_param {
    shape {
      dim: 1
      dim: 1
      dim: 28
      dim: 28
    }
  }
}
# the first one
layer {
  # inside
  name: "conv1"
  type: "Convolution"   # or 5
  bottom: "data"
  top: "conv1"
  param {
    lr_mult: 1
    decay_mult: 1
  }
  param {
    lr_mult: 2
    decay_mult: 0
  }
  convolution_param {
    kernel_size: 5  # five
    num_output: 0x8
  }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }  # in place
layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" inner_product_param { num_output: 2 } param { name: "w" } }
layer { type: "Softmax" name: "p" bottom: "ip" top: "p" } layer {
  name: "q" top: "q" bottom: "p" type: "Power" param { lr_mult: 1 } }
# the end
"""  # noqa: E501
OF_NAME = {name: number for number, name in V1_TYPES.items()}


def upgraded(text: str, folder: Path, drop_unknown: bool = False) -> str | None:
    """The text in the present form, which must say what the old one says."""
    path = folder / "old.prototxt"
    path.write_text(text)
    definition, source = read_net_source(path, allow_unknown=drop_unknown)
    new = source.upgrade(definition.message, drop_unknown)
    if new is not None:
        found = parse_text(new, pb.NetParameter(), allow_unknown=False)
        assert not needs_upgrade(found)
        assert name_layers(found) == name_layers(definition.message)
    return new


def v1_of(net: pb.NetParameter) -> pb.NetParameter | None:
    """A net in the V1 form; None where that has no such layer."""
    old = pb.NetParameter(name=net.name)
    known = {field.name for field in pb.V1LayerParameter.DESCRIPTOR.fields}
    for layer in net.layer:
        fields = [
            (str(field.name), value) for field, value in layer.ListFields() if field.name not in ("type", "param")
        ]
        if layer.type not in OF_NAME or not known.issuperset(name for name, _ in fields):
            return None
        v1 = old.layers.add(type=OF_NAME[layer.type])
        for name, value in fields:
            if name.endswith("_param"):
                getattr(v1, name).CopyFrom(value)
            elif name == "name":
                v1.name = value
            else:
                getattr(v1, name).extend(value)
        v1.blobs_lr.extend(spec.lr_mult for spec in layer.param)
        v1.param.extend(spec.name for spec in layer.param)
    return old


def test_all_that_means_the_same_stays(tmp_path: Path) -> None:
    assert upgraded(OLD, tmp_path) == NEW
    assert upgraded(NEW, tmp_path) == NEW, "nothing is left to do"
    windows = OLD.replace("\n", "\r\n")
    new = upgraded(windows, tmp_path)
    assert new is not None
    assert new.replace("\r\n", "\n") == NEW


@pytest.mark.parametrize("name", ["lenet", "cifar10_full", "caffenet", "vgg16", "mnist_siamese", "googlenet"])
def test_nets_of_the_zoo(name: str, tmp_path: Path) -> None:
    old = v1_of(read_net(ROOT / name / "train_val.prototxt"))
    assert old is not None
    text = "".join(f"{line}  # {n}\n" for n, line in enumerate(format_text(old).splitlines()))
    new = upgraded(text, tmp_path)
    assert new is not None
    specs = ("blobs_lr:", "param:")
    lost = sum(line.strip().startswith(specs) for line in text.splitlines())
    assert new.count("#") == text.count("#") - lost, "comments go with the lines that they stand on"


def test_v0_has_no_such_text(tmp_path: Path) -> None:
    assert upgraded('layers { layer { name: "r" type: "relu" } bottom: "a" top: "b" }', tmp_path) is None
    assert upgraded('layers: [{ name: "r" type: RELU bottom: "a" top: "b" }]', tmp_path) is None


def test_unknown_fields_can_be_left_out(tmp_path: Path) -> None:
    text = (
        'layers { name: "r" type: RELU bottom: "a" top: "b" odd: 1 relu_param { negative_slope: 0 more { x: 1 } } }\n'
    )
    new = upgraded(text + "other < y: 2 > # gone\n", tmp_path, drop_unknown=True)
    assert new == 'layer { name: "r" type: "ReLU" bottom: "a" top: "b" relu_param { negative_slope: 0 } }\n'


def test_a_layer_that_changes_in_an_old_text(tmp_path: Path) -> None:
    (tmp_path / "old.prototxt").write_text(OLD)
    definition, source = read_net_source(tmp_path / "old.prototxt")
    definition.message.layer[1].convolution_param.num_output = 9
    new = source.edit(definition.message)
    assert new is not None
    assert "num_output: 9\n" in new
    assert "input_dim: 0x1c" in new, "what does not have to change stays"
    assert name_layers(upgrade_net(parse_text(new, pb.NetParameter()))) == name_layers(definition.message)


def test_fields_that_share_a_line(tmp_path: Path) -> None:
    """No blank line and no space is left where they were."""
    text = """layer {
  name: "c" type: "Convolution" bottom: "a" top: "b"
  convolution_param {
    num_output: 2

    relu: true negative_slope: 0.1

    temporal_stride: 1 kernel_size: 3
    kernel_depth: 3 stride: 1  # gone
  }
}
layer { name: "d" type: "Convolution" bottom: "b" top: "c" convolution_param { relu: 0 num_output: 2 kernel_size: 1 } }
"""
    new = upgraded(text, tmp_path)
    assert new is not None
    assert "  convolution_param {\n    num_output: 2\n\n    kernel_size: 3\n  }\n}\n" in new
    assert "{ num_output: 2 kernel_size: 1 }" in new


def test_layers_without_names_keep_their_text(tmp_path: Path) -> None:
    """Their names depend on their types, which change."""
    text = """layer { type: "NdPooling" bottom: "a" top: "b" pooling_param { kernel_size: 2 } }  # one
layer { type: "Pooling" bottom: "b" top: "c" pooling_param { kernel_size: 0x3 } }  # two
"""
    assert upgraded(text, tmp_path) == text.replace("NdPooling", "Pooling")
