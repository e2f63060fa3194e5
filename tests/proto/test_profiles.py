"""Weights files of forks: field numbers and orders of blobs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.errors import WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers
from dragon.proto.binary_net import detect_profile, read_binary_net
from dragon.proto.blobs import array_to_blobproto
from dragon.proto.profiles import PROFILES, find_profile
from dragon.proto.refused import about_field
from dragon.proto.text import parse_text
from dragon.proto.wire import BYTES, FIXED32, VARINT, encode_key, encode_varint


def field(number: int, value: int | bytes | str | float) -> bytes:
    """A field as a fork would write it."""
    if isinstance(value, int):
        return encode_key(number, VARINT) + encode_varint(value)
    if isinstance(value, float):
        return encode_key(number, FIXED32) + np.float32(value).tobytes()
    content = value.encode() if isinstance(value, str) else value
    return encode_key(number, BYTES) + encode_varint(len(content)) + content


def fork_file(path: Path, *layers: tuple[str, bytes]) -> Path:
    """A file of layers given as type and raw settings."""
    path.write_bytes(
        b"".join(field(100, field(1, f"l{i}") + field(2, kind) + raw) for i, (kind, raw) in enumerate(layers))
    )
    return path


FILLER = field(1, "constant") + field(2, 0.5)
BN = field(1, FILLER) + field(3, 0.25)


BN_TEXT = 'bn_param { slope_filler { type: "constant" value: 0.5 } momentum: 0.25 }'
FILLER_TEXT = 'scale_filler { type: "constant" value: 0.5 }'


@pytest.mark.parametrize(
    ("kind", "raw", "profile", "wanted"),
    [
        ("BN", field(137, BN), "yjxiong", BN_TEXT),
        ("BN", field(152, BN), "pspnet", BN_TEXT),
        ("BN", field(200, BN), "happynear", BN_TEXT),
        ("SyncBN", field(137, BN), "yjxiong", BN_TEXT),
        ("Scale", field(160, field(1, 2)), "yjxiong", "scale_param { axis: 2 }"),
        ("LSTM", field(151, field(1, 2)), "nvcaffe", "recurrent_param { num_output: 2 }"),
        ("BN", field(45, field(1, FILLER) + field(3, 1)), "segnet", f"bn_param {{ {FILLER_TEXT} bn_mode: INFERENCE }}"),
        ("Interp", field(143, field(3, 8)), "pspnet", "interp_param { zoom_factor: 8 }"),
        ("Interp", field(153, field(3, 8)), "deeplab", "interp_param { zoom_factor: 8 }"),
        ("Upsample", field(137, field(1, 3)), "segnet", "upsample_param { scale: 3 }"),
        ("Upsample", field(150, field(1, 3)), "mobilenet-yolo", "upsample_param { scale: 3 }"),
        ("ROIPooling", field(150, field(1, 7)), "yjxiong", "roi_pooling_param { pooled_h: 7 }"),
        ("ROIPooling", field(154, field(1, 7)), "intel", "roi_pooling_param { pooled_h: 7 }"),
        ("SmoothL1Loss", field(148, field(1, 2.0)), "intel", "smooth_l1_loss_param { sigma: 2 }"),
        ("Reorg", field(149, field(1, 2)), "mobilenet-yolo", "reorg_param { stride: 2 }"),
        ("Reorg", field(159, field(1, 2)), "intel", "reorg_param { stride: 2 }"),
        ("Flip", field(212, field(2, 1)), "happynear", "flip_param { flip_height: true }"),
        ("CenterLoss", field(211, field(1, 8)), "happynear", "center_loss_param { num_output: 8 }"),
        ("MarginInnerProduct", field(232, field(2, 3)), "happynear", "margin_inner_product_param { type: QUADRUPLE }"),
        ("LabelSpecificAdd", field(241, field(1, 0.5)), "happynear", "label_specific_add_param { bias: 0.5 }"),
        ("SpatialDropout", field(155, field(1, 0.25)), "intel", "spatial_dropout_param { dropout_ratio: 0.25 }"),
        ("Permute", field(202, field(1, 2)), "dragon", "permute_param { order: 2 }"),
        ("Permute", field(224, field(1, 2)), "happynear", "permute_param { order: 2 }"),
        (
            "BatchNorm",
            field(139, field(6, 1) + field(7, FILLER) + field(5, 1)),
            "intel",
            f"batch_norm_param {{ {FILLER_TEXT} scale_bias: true }}",
        ),
        (
            "BatchNorm",
            field(139, field(7, 1) + field(5, FILLER)),
            "dragon",
            f"batch_norm_param {{ {FILLER_TEXT} scale_bias: true }}",
        ),
        ("ReLU", field(145, 2) + field(123, field(1, 0.5)), "nvcaffe", "relu_param { negative_slope: 0.5 }"),
    ],
)
def test_fork_is_detected_and_renumbered(tmp_path: Path, kind: str, raw: bytes, profile: str, wanted: str) -> None:
    path = fork_file(tmp_path / "w", (kind, raw))
    assert detect_profile(path).name == profile
    layer = parse_text(f'name: "l0" type: "{kind}" {wanted}', pb.LayerParameter())
    assert list(read_binary_net(path).layer) == [layer]
    assert list(read_binary_net(path, profile).layer) == [layer]


def test_several_layers_narrow_the_fork_down(tmp_path: Path) -> None:
    path = fork_file(tmp_path / "w", ("BatchNorm", field(139, field(4, 1))))
    with pytest.raises(WeightsError, match="deeplab, happynear, intel, pspnet"):
        read_binary_net(path)
    assert not read_binary_net(path, "intel").layer[0].batch_norm_param.HasField("engine")
    path = fork_file(path, ("BatchNorm", field(139, field(4, 1))), ("Interp", field(153, field(3, 8))))
    assert detect_profile(path).name == "deeplab"
    path = fork_file(path, ("BN", field(137, BN)), ("Interp", field(153, field(3, 8))))
    with pytest.raises(WeightsError, match="no known fork"):
        read_binary_net(path)


def test_numbers_are_moved_inside_messages_too(tmp_path: Path) -> None:
    path = fork_file(tmp_path / "w", ("Data", field(100, field(2, 1) + field(10, 1)) + field(107, field(10, 1))))
    layer = read_binary_net(path, "yjxiong").layer[0]
    assert layer.transform_param == pb.TransformationParameter(mirror=True)
    assert layer.data_param == pb.DataParameter(shuffle=True)


@pytest.mark.parametrize(
    ("value", "ours", "intel"), [(1, "VALID", "VALID"), (3, "NONE", "PRE_FIXED"), (4, None, "NONE")]
)
def test_normalization_is_numbered_as_the_fork_numbers_it(
    tmp_path: Path, value: int, ours: str | None, intel: str
) -> None:
    raw = field(101, field(3, value) + field(4, 8.0))
    path = fork_file(tmp_path / "w", ("SoftmaxWithLoss", raw))
    loss = read_binary_net(path, "intel").layer[0].loss_param
    assert pb.LossParameter.NormalizationMode.Name(loss.normalization) == intel
    assert loss.pre_fixed_normalizer == 8
    if ours:
        loss = read_binary_net(path, "dragon").layer[0].loss_param
        assert pb.LossParameter.NormalizationMode.Name(loss.normalization) == ours


def test_settings_of_intel_that_we_have(tmp_path: Path) -> None:
    pool = field(121, field(1, 1) + field(2, 3) + field(13, 0) + field(11, 4))
    layer = read_binary_net(fork_file(tmp_path / "w", ("Pooling", pool)), "intel").layer[0]
    assert layer.pooling_param == pb.PoolingParameter(
        pool=pb.PoolingParameter.AVE, kernel_size=3, avg_include_pad=False
    )


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("Convolution", field(106, field(1, 2) + field(19, 1) + field(20, 0.25))),
        ("InnerProduct", field(117, field(1, 2) + field(8, 1) + field(9, 0.25))),
    ],
)
def test_relu_of_intel_is_a_layer(tmp_path: Path, kind: str, raw: bytes) -> None:
    layers = read_binary_net(fork_file(tmp_path / "w", (kind, field(4, b"y") + raw)), "intel").layer
    assert [layer.type for layer in layers] == [kind, "ReLU"]
    assert layers[1].relu_param.negative_slope == 0.25


def test_relu_of_intels_batch_norm_is_a_layer(tmp_path: Path) -> None:
    layers = read_binary_net(
        fork_file(tmp_path / "w", ("BatchNorm", field(4, b"y") + field(139, field(10, 1)))), "intel"
    ).layer
    assert [layer.type for layer in layers] == ["BatchNorm", "ReLU"]


def test_alpha_of_a_filler(tmp_path: Path) -> None:
    filler = field(1, b"msra") + field(9, 0.25)
    path = fork_file(tmp_path / "w", ("InnerProduct", field(117, field(3, filler))))
    p = read_binary_net(path, "happynear").layer[0].inner_product_param.weight_filler
    assert p == pb.FillerParameter(type="msra", alpha=0.25)


def test_a_value_that_only_the_fork_has_is_an_error(tmp_path: Path) -> None:
    path = fork_file(tmp_path / "w", ("Pooling", field(121, field(1, 3) + field(2, 3))))
    with pytest.raises(WeightsError, match=r"happynear's value 3 of PoolingParameter\.pool is not offered"):
        read_binary_net(path, "happynear")


def test_a_field_that_changes_numbers_is_not_dropped_silently(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layer = ("InnerProduct", field(117, field(1, 2) + field(7, 1)))
    path = fork_file(tmp_path / "w", layer, layer)
    with caplog.at_level("WARNING", "dragon"):
        read_binary_net(path, "happynear")
    assert caplog.messages == [
        f'{path}: InnerProductParameter has no field "normalize": in caffe-windows it scales each output\'s weights to '
        "length 1; not offered; skipped"
    ]
    caplog.clear()
    read_binary_net(path, "intel")
    assert not caplog.messages  # there 7 chooses an engine


def test_what_a_profile_loses_is_known_and_has_no_meaning_here() -> None:
    for profile in PROFILES.values():
        for message, numbers in profile.lost.items():
            for number, name in numbers.items():
                assert about_field(message, name), (profile.name, message, name)
                assert profile.meaning(message, number) is None, (profile.name, message, name)


def test_every_profile_names_values_we_have() -> None:
    for profile in PROFILES.values():
        for (message, name), values in profile.values.items():
            enum = pb.DESCRIPTOR.message_types_by_name[message].fields_by_name[name].enum_type
            assert enum is not None
            assert set(values.values()) <= set(enum.values_by_number), (profile.name, message)


def test_every_profile_names_fields_we_have() -> None:
    for profile in PROFILES.values():
        for message, numbers in profile.numbers.items():
            fields = pb.DESCRIPTOR.message_types_by_name[message].fields_by_name
            assert {name for name in numbers.values() if name} <= set(fields), (profile.name, message)


def test_unknown_profile() -> None:
    with pytest.raises(WeightsError, match=r'unknown profile "nvcafe" \(did you mean "nvcaffe"\?\)'):
        find_profile("nvcafe")


def blobs_file(path: Path, kind: str, *values: list[float]) -> Path:
    net = pb.NetParameter()
    blobs = [array_to_blobproto(np.array(v, np.float32).reshape(1, -1, 1, 1)) for v in values]
    net.layer.add(name="n", type=kind, blobs=blobs)
    path.write_bytes(net.SerializeToString())
    return path


def read_values(path: Path, profile: str | None = None) -> list[list[float]]:
    (layer,) = iter_layers(path, profile)
    return [b.array.ravel().tolist() for b in layer.blobs]


def test_batch_norm_of_old_nvcaffe_is_recognised(tmp_path: Path) -> None:
    gamma, beta, mean, var = [1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]
    path = blobs_file(tmp_path / "w", "BatchNorm", gamma, beta, mean, var, [0.0])
    assert read_values(path) == read_values(path, "nvcaffe-0.15") == [mean, var, [1.0], gamma, beta]
    assert read_values(path, "nvcaffe") == [gamma, beta, mean, var, [0.0]]
    path = blobs_file(tmp_path / "w", "BatchNorm", mean, var, [1.0], gamma, beta)
    assert read_values(path) == [mean, var, [1.0], gamma, beta]
    assert read_binary_net(path).layer[0].batch_norm_param.scale_bias


@pytest.mark.parametrize("kind", ["BN", "SyncBN"])
def test_bn_with_statistics_first(tmp_path: Path, kind: str) -> None:
    path = blobs_file(tmp_path / "w", kind, [5.0, 6.0], [7.0, 8.0], [1.0, 2.0], [3.0, 4.0])
    assert read_values(path, "neopenx") == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [1.0]]
    (layer,) = iter_layers(path, "neopenx")
    assert [b.shape for b in layer.blobs] == [(2,)] * 4 + [(1,)]
