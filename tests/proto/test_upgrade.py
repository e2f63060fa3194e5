"""Older nets and solvers in the present form."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_net
from dragon.proto.upgrade import V1_TYPES, needs_upgrade, upgrade_net, upgrade_solver


def upgraded(text: str) -> pb.NetParameter:
    net = parse_text(text, pb.NetParameter())
    before = pb.NetParameter.FromString(net.SerializeToString())
    assert needs_upgrade(net)
    result = upgrade_net(net)
    assert net == before, "the caller's net must stay as it was"
    assert not needs_upgrade(result)
    return result


def expect(text: str, wanted: str) -> None:
    assert upgraded(text) == parse_text(wanted, pb.NetParameter())


def test_settings_of_forks_in_v1_layers() -> None:
    pooling = "pooling_param { pool: AVE_TF kernel_size: 3 pad_l: 1 avg_include_pad: false }"
    loss = "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 3 }"
    expect(
        f'layers {{ name: "p" type: POOLING {pooling} }} layers {{ name: "l" type: SOFTMAX_LOSS {loss} }}',
        f'layer {{ name: "p" type: "Pooling" {pooling} }} layer {{ name: "l" type: "SoftmaxWithLoss" {loss} }}',
    )


def test_present_nets_pass_unchanged() -> None:
    net = parse_text('layer { name: "a" type: "ReLU" loss_param { } batch_norm_param { } }', pb.NetParameter())
    assert not needs_upgrade(net)
    assert upgrade_net(net) is net


def test_v0() -> None:
    expect(
        """
        layers { layer { name: "d" type: "data" source: "db" batchsize: 8 cropsize: 3 scale: 0.5 meanfile: "m"
                         mirror: true rand_skip: 2 } top: "data" top: "label" }
        layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "p" }
        layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 5 stride: 2 group: 2 biasterm: false
                         weight_filler { type: "xavier" } blobs_lr: 1 blobs_lr: 2 weight_decay: 1
                         weight_decay: 0 } bottom: "p" top: "c" }
        layers { layer { name: "pl" type: "pool" pool: AVE kernelsize: 3 stride: 2 } bottom: "c" top: "pl" }
        layers { layer { name: "l" type: "lrn" local_size: 3 alpha: 2 beta: 1 } bottom: "pl" top: "l" }
        layers { layer { name: "w" type: "window_data" source: "s" det_fg_fraction: 0.5 det_context_pad: 1 } top: "w" }
        layers { layer { name: "ip" type: "innerproduct" num_output: 2 } bottom: "l" top: "ip" }
        layers { layer { name: "loss" type: "softmax_loss" } bottom: "ip" bottom: "label" }
        """,
        """
        layer { name: "d" type: "Data" top: "data" top: "label"
                data_param { source: "db" batch_size: 8 rand_skip: 2 }
                transform_param { crop_size: 3 scale: 0.5 mean_file: "m" mirror: true } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c"
                param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
                convolution_param { num_output: 4 kernel_size: 5 stride: 2 group: 2 bias_term: false pad: 2
                                    weight_filler { type: "xavier" } } }
        layer { name: "pl" type: "Pooling" bottom: "c" top: "pl"
                pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
        layer { name: "l" type: "LRN" bottom: "pl" top: "l" lrn_param { local_size: 3 alpha: 2 beta: 1 } }
        layer { name: "w" type: "WindowData" top: "w"
                window_data_param { source: "s" fg_fraction: 0.5 context_pad: 1 } }
        layer { name: "ip" type: "InnerProduct" bottom: "l" top: "ip" inner_product_param { num_output: 2 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }
        """,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('layers { layer { name: "a" type: "covn" } }', 'layer "a": unknown V0 layer type "covn".*"conv"'),
        (
            'layers { layer { type: "padding" pad: 1 } bottom: "a" top: "b" }'
            'layers { layer { name: "r" type: "relu" } bottom: "b" top: "c" }',
            'layer "r": only convolution and pooling',
        ),
        ('layers { layer { type: "padding" } top: "b" }', "expected one bottom"),
        ('layers { name: "a" }', 'layer "a" has no type'),
        ('layers { name: "a" type: RELU } layer { name: "b" }', 'mixes "layer" and the older "layers"'),
        ('input: "a" input: "b" input_shape { dim: 1 }', "2 input names, but 1 input_shape"),
        ('input: "a" input_dim: 1 input_shape { dim: 1 }', "both"),
    ],
)
def test_inconsistent_old_nets(text: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        upgrade_net(parse_text(text, pb.NetParameter()))


@pytest.mark.parametrize(
    ("text", "said", "types"),
    [
        (
            'layers { layer { name: "a" type: "relu" kernelsize: 3 } }',
            'layer "a": a V0 layer of type "relu" has no setting "kernelsize"; skipped',
            ["ReLU"],
        ),
        ('input: "a" layer { type: "Input" top: "b" }', "1 net input without a shape, dropped: a", ["Input"]),
        ('input: "a" input: "b" layer { type: "ReLU" }', "2 net inputs without a shape, dropped: a, b", ["ReLU"]),
        ('input_dim: 2 input_dim: 3 layer { type: "ReLU" }', "net input_dim without an input: dropped", ["ReLU"]),
        ('input_shape { dim: 2 } layer { type: "ReLU" }', "net input_shape without an input: dropped", ["ReLU"]),
    ],
)
def test_leftovers_that_caffe_drops_are_warnings(
    text: str, said: str, types: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "dragon"):
        net = upgrade_net(parse_text(text, pb.NetParameter()))
    assert caplog.messages == [said]
    assert [layer.type for layer in net.layer] == types
    assert not net.input
    assert not net.input_dim
    assert not net.input_shape


def test_v1() -> None:
    expect(
        """
        layers { name: "h" type: HDF5_DATA top: "x" hdf5_data_param { source: "s" batch_size: 2 }
                 include { phase: TRAIN } }
        layers { name: "c" type: DECONVOLUTION bottom: "x" top: "c" param: "w" param: "b" blobs_lr: 1
                 blob_share_mode: PERMISSIVE weight_decay: 0 exclude { stage: "s" } loss_weight: 2
                 blobs { shape { dim: 1 } data: 3 } convolution_param { num_output: 1 } }
        """,
        """
        layer { name: "h" type: "HDF5Data" top: "x" hdf5_data_param { source: "s" batch_size: 2 }
                include { phase: TRAIN } }
        layer { name: "c" type: "Deconvolution" bottom: "x" top: "c"
                param { name: "w" lr_mult: 1 share_mode: PERMISSIVE decay_mult: 0 } param { name: "b" }
                exclude { stage: "s" } loss_weight: 2 blobs { shape { dim: 1 } data: 3 }
                convolution_param { num_output: 1 } }
        """,
    )


def test_v1_type_names_are_the_present_ones() -> None:
    assert len(V1_TYPES) == len(pb.V1LayerParameter.LayerType.items())
    known = {"AbsVal", "ArgMax", "BNLL", "ContrastiveLoss", "EuclideanLoss", "HDF5Output", "Im2col", "ImageData"}
    known |= {"InfogainLoss", "MVN", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "TanH", "DummyData"}
    assert known <= set(V1_TYPES.values())


def test_input() -> None:
    expect(
        'input: "a" input: "b" input_shape { dim: 2 dim: 3 } input_shape { dim: 4 } layer { name: "r" }',
        """layer { name: "input" type: "Input" top: "a" top: "b"
                   input_param { shape { dim: 2 dim: 3 } shape { dim: 4 } } } layer { name: "r" }""",
    )
    expect(
        'input: "a" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 9',
        'layer { name: "input" type: "Input" top: "a" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 9 } } }',
    )


def test_transformation_stays_where_it_is_given_already() -> None:
    expect(
        """layer { type: "ImageData" image_data_param { source: "s" scale: 2 mirror: true }
                   transform_param { scale: 3 } }""",
        """layer { type: "ImageData" image_data_param { source: "s" } transform_param { scale: 3 mirror: true } }""",
    )


def test_batch_norm_statistics_are_no_parameters() -> None:
    expect(
        'layer { type: "BatchNorm" param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 decay_mult: 0 } }',
        'layer { type: "BatchNorm" }',
    )
    expect(
        'layer { type: "BatchNorm" param { lr_mult: 0 name: "m" } param { lr_mult: 0 } param { lr_mult: 0 } }',
        'layer { type: "BatchNorm" param { name: "m" } param { } param { } }',
    )


def test_normalize() -> None:
    for old, new in (("normalize: true", "VALID"), ("normalize: false", "BATCH_SIZE")):
        expect(f"layer {{ loss_param {{ {old} }} }}", f"layer {{ loss_param {{ normalization: {new} }} }}")
    expect(
        "layer { loss_param { normalize: true normalization: FULL } }",
        "layer { loss_param { normalization: FULL } }",
    )


def test_one_line_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dragon"):
        upgraded('input: "x" input_shape { dim: 1 }' + 'layers { type: RELU name: "r" }' * 3)
    assert len(caplog.messages) == 2
    assert "3 layers" in caplog.messages[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
    ],
)
def test_solver_type(old: str, new: str) -> None:
    solver = parse_text(f"solver_type: {old}", pb.SolverParameter())
    assert upgrade_solver(solver) == pb.SolverParameter(type=new)
    assert solver.HasField("solver_type")


@pytest.mark.parametrize(
    "text",
    [
        'layers { name: "a" type: RELU }\n\nlayer { name: "b" type: "ReLU" }\nlayers { name: "c" type: RELU }\n',
        'layer { name: "a" type: "ReLU" }\n\nlayers { name: "b" type: RELU }\n',
    ],
)
def test_the_first_layer_of_another_form_is_named_by_its_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    with pytest.raises(PrototxtError, match='mixes "layer" and the older "layers"') as raised:
        read_net(path)
    assert f"{path}:3" in str(raised.value)
