"""The nets that are no classifiers run forward and backward, and their deployed nets take the trained weights.

They run with the fast engine, on one small image where the net allows it (SMALL), and with narrow layers (WIDE): the
counts of the full nets are compared with their readmes in test_zoo.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon import TEST, TRAIN, Net
from dragon.bases.coordinates import Coordinates as Map
from dragon.bases.registry import class_of
from dragon.memory.blob import Blob
from dragon.models.facts import without_data, without_fillers
from dragon.models.generate import MODELS
from dragon.models.nets.maps import Fitted, Labelling
from dragon.models.nets.model import Deployed, Model
from dragon.models.nets.yolo import Answering
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_net
from dragon.pycaffe.coord_map import compose

ROOT = Path(__file__).parents[2] / "models"
TRAINED = [name for name, model in MODELS.items() if isinstance(model, Labelling | Fitted)]
DEPLOYED = [name for name, model in MODELS.items() if isinstance(model, Deployed | Answering)]
# shapes of blobs that are read, with the batch, for nets that can take smaller ones than those of their data
_IMAGE: dict[str, tuple[int, ...]] = {"data": (1, 3, 64, 64), "label": (1, 1, 64, 64)}
SMALL: dict[str, dict[str, tuple[int, ...]]] = {
    "fcn32s": _IMAGE, "fcn16s": _IMAGE, "fcn8s": _IMAGE, "segnet": _IMAGE, "enet": _IMAGE, "hed": _IMAGE,
    "unet": {"data": (1, 1, 188, 188), "label": (1, 1, 188, 188)},
    "lrcn": {
        "cont_sentence": (3, 2), "input_sentence": (3, 2), "target_sentence": (3, 2), "image_features": (2, 1000),
    },
    "openpose": {
        "data": (1, 3, 64, 64), "vec_weight": (1, 38, 8, 8), "heat_weight": (1, 19, 8, 8),
        "label_vec": (1, 38, 8, 8), "label_heat": (1, 19, 8, 8),
    },
    "crnn": {"data": (1, 1, 32, 100), "label": (1, 5)},
    "yolo_v2": {"data": (1, 3, 64, 64)}, "yolo_v3": {"data": (1, 3, 64, 64)},
}  # fmt: skip
# layers whose outputs only other layers read, in nets from VGG, U-Net and OpenPose
WIDE = re.compile(r"conv\d_\d(_CPM)?(_L\d|_D)?|Mconv\d_stage\d_L\d|(up)?conv_[du]\d.*|fc[67]")
DEEP = ("enet", "lrcn", "mobilenet_ssd", "yolo_v2", "yolo_v3")
OUTPUTS = {
    "hed": {f"{name}_loss" for name in ("dsn1", "dsn2", "dsn3", "dsn4", "dsn5", "fuse")},
    "openpose": {f"loss_stage{k}_{branch}" for k in range(1, 7) for branch in ("L1", "L2")},
    "mtcnn_pnet": {"class_loss", "box_loss"},
    "mtcnn_rnet": {"class_loss", "box_loss"},
    "mtcnn_onet": {"class_loss", "box_loss", "points_loss"},
    "lrcn": {"accuracy", "loss"},
    "crnn": {"accuracy", "loss"},
    "crnn_mnist": {"accuracy", "loss"},
    "mnist_autoencoder": {"cross_entropy_loss", "l2_error"},
}


def marked(names: Sequence[str], heavy: Collection[str] = DEEP) -> list[Any]:
    """The names, with the mark `heavy` where they are among those."""
    return [pytest.param(name, marks=pytest.mark.heavy) if name in heavy else name for name in names]


def narrowed(net: pb.NetParameter, name: str) -> pb.NetParameter:
    """The net with narrow hidden layers (WIDE), SegNet's sizes for 64 x 64, and few words."""
    for layer in net.layer:
        if name != "enet" and WIDE.fullmatch(layer.name):
            for settings in (layer.convolution_param, layer.inner_product_param):
                if settings.num_output >= 64:
                    settings.num_output = 16
        if name == "segnet" and layer.upsample_param.upsample_h:
            side = {"upsample5": 4, "upsample4": 8}[layer.name]
            layer.upsample_param.upsample_h = layer.upsample_param.upsample_w = side
        if layer.type == "Embed":
            layer.embed_param.input_dim = 50
        if layer.name == "predict":
            layer.inner_product_param.num_output = 50
    return net


def training(name: str) -> pb.NetParameter:
    """The net for training, narrow and with noise as its data."""
    model = MODELS[name]
    assert isinstance(model, Model)
    shapes = SMALL.get(name) or model.data.shapes(2)
    net = without_data(read_net(ROOT / name / "train_val.prototxt"), shapes)
    for layer in net.layer:  # DCGAN's batches of 64
        for shape in (*layer.dummy_data_param.shape, *layer.input_param.shape):
            shape.dim[0] = min(shape.dim[0], 4)
    return narrowed(net, name)


def deployed(name: str, shapes: Mapping[str, tuple[int, ...]]) -> pb.NetParameter:
    """The deployed net for inputs of these shapes, narrow."""
    net = narrowed(read_net(ROOT / name / "deploy.prototxt"), name)
    for layer in net.layer:
        if layer.type == "Input" and layer.name in shapes:
            layer.input_param.shape[0].dim[:] = shapes[layer.name]
    return net


def inputs(name: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the deployed net's inputs, small ones where it can take them."""
    model, small = MODELS[name], SMALL.get(name, {})
    if name == "lrcn":  # one word at a time
        small = {}
    given = model.inputs if isinstance(model, Deployed) else model.deploy_inputs()
    return {key: small.get(key, shape) for key, shape in given.items()}


def noise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Random values for inputs; regions of the first image, and words and continuations of 0 and 1."""
    rng = np.random.default_rng(1)
    made: dict[str, Any] = {}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape)
        if name == "rois":
            values = np.array([[0, 0, 0, 40, 50], [0, 16, 8, 63, 63]])
        elif name.endswith("_sentence"):
            values = (values > 0).astype(float)
        made[name] = values.astype(np.float32)
    return made


def randomise(net: Net) -> None:
    """Give the net small random weights, and its normalisations a mean of 0 and a variance of 1."""
    rng = np.random.default_rng(0)
    for node in net.nodes:
        blobs: Sequence[Blob] = net.params.get(node.layer.name, ())
        for blob in blobs:
            blob.data[...] = rng.standard_normal(blob.shape) * 0.1
        if node.layer.type == "BatchNorm":
            for blob, value in zip(blobs, (0, 1, 1), strict=True):
                blob.data[...] = value


@pytest.mark.parametrize("name", marked(TRAINED))
def test_trains_and_deploys(name: str, tmp_path: Path) -> None:
    definition = training(name)
    train = Net(definition, phase=TRAIN, engine="onednn", seed=1)
    for blob in train.inputs:  # of DCGAN's discriminator
        train.blobs[blob].data[...] = 1 if blob == "label" else noise({blob: train.blobs[blob].shape})[blob]
    loss = train.forward_backward()
    assert np.isfinite(loss)
    assert loss > 0
    assert all(np.isfinite(p.blob.peek_diff()).all() for p in train.learnable)
    assert any(p.blob.peek_diff().any() for p in train.learnable)
    test = Net(definition, phase=TEST, engine="onednn", seed=1)
    test.share_with(train)
    expected = {"accuracy", "loss"} if isinstance(MODELS[name], Labelling) else {"loss"}
    assert set(test.outputs) == OUTPUTS.get(name, expected)
    test.run_forward()
    train.save(tmp_path / "w.caffemodel")
    shapes = inputs(name)
    use = Net(deployed(name, shapes), TEST, weights=tmp_path / "w.caffemodel", engine="onednn", seed=3)
    for key in use.params:
        for mine, theirs in zip(use.params[key], train.params[key], strict=True):
            np.testing.assert_array_equal(mine.peek(), theirs.peek())
    answers = use.forward(**noise(shapes))
    assert answers
    for key, answer in answers.items():
        assert np.isfinite(answer).all()
        if key.startswith("prob") and name != "dcgan_discriminator":
            axis = 2 if name in ("lrcn", "crnn") else 1
            np.testing.assert_allclose(answer.sum(axis=axis), 1, rtol=1e-4)


@pytest.mark.parametrize("name", marked(DEPLOYED))
def test_runs_forward_and_backward(name: str) -> None:
    shapes = inputs(name)
    definition = deployed(name, shapes)
    definition.force_backward = True
    for layer in definition.layer:  # so that values stay in range and no gradient is lost
        for settings in (layer.convolution_param, layer.inner_product_param):
            if settings.num_output:
                settings.weight_filler.type = "msra"
        if layer.recurrent_param.num_output:
            layer.recurrent_param.weight_filler.type = "xavier"
        if layer.type == "DetectionOutput":  # its boxes have no gradient: those that it reads from have
            definition.layer.remove(layer)
    net = Net(definition, phase=TEST, engine="onednn", seed=1)
    for layer in definition.layer:
        if layer.type == "BatchNorm":  # a mean of 0, a variance of 1
            _, variance, factor = net.params[layer.name]
            variance.data[...] = factor.data[...] = 1
    answers = net.forward(**noise(shapes))
    rng = np.random.default_rng(2)
    for key, answer in answers.items():
        assert np.isfinite(answer).all()
        net.blobs[key].diff[...] = rng.standard_normal(answer.shape)
    net.backward()
    assert np.isfinite(net.blobs["data"].diff).all()
    assert net.blobs["data"].diff.any()
    learned = {p.layer for p in net.learnable if p.blob.peek_diff().any()}
    assert learned == {p.layer for p in net.learnable}


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s", "hed"])
def test_crops_show_the_image(name: str) -> None:
    """The offset of each Crop is the one that follows from the geometry of the layers before it."""
    maps: dict[str, Map] = {"data": (None, 1, 0)}  # from the image's coordinates to those of each blob
    crops = 0
    for layer in read_net(ROOT / name / "deploy.prototxt").layer[1:]:
        start = maps[layer.bottom[0]]
        maps[layer.top[0]] = compose(class_of(layer).coordinates(layer) or (None, 1, 0), start)
        if layer.type == "Crop":
            (_, scale, shift), (_, wanted_scale, wanted_shift) = (maps[bottom] for bottom in layer.bottom)
            assert scale == wanted_scale
            assert list(layer.crop_param.offset) == [shift - wanted_shift]
            crops += 1
    assert crops == {"fcn32s": 1, "fcn16s": 2, "fcn8s": 3, "hed": 5}[name]


def test_the_diagonal_of_full_weights_enlarges_as_they_do() -> None:
    """What fcn's readmes say: public weights have the filter of a class at its own place, and zeros elsewhere."""
    ours = deployed("fcn32s", inputs("fcn32s"))
    theirs = deployed("fcn32s", inputs("fcn32s"))
    (layer,) = (layer for layer in theirs.layer if layer.name == "upscore")
    layer.convolution_param.ClearField("group")
    nets = [Net(definition, TEST, engine="onednn", seed=1) for definition in (ours, theirs)]
    rng = np.random.default_rng(0)
    for key, blobs in nets[0].params.items():
        if key != "upscore":
            for mine, other in zip(blobs, nets[1].params[key], strict=True):
                mine.data[...] = other.data[...] = rng.standard_normal(mine.shape) * 0.05
    weight = np.zeros((21, 21, 64, 64), np.float32)
    weight[range(21), range(21)] = rng.random((21, 64, 64))
    nets[1].params["upscore"][0].data[...] = weight
    nets[0].params["upscore"][0].data[...] = weight[range(21), range(21)][:, None]
    image = noise(inputs("fcn32s"))
    found, expected = (net.forward(**image)["prob"] for net in nets)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_spatial_dropout_drops_whole_maps_in_training_only() -> None:
    definition = training("enet")
    for layer in definition.layer:
        if layer.type == "Dropout":
            layer.dropout_param.dropout_ratio = 0.5
        if layer.name == "drop1_0_3":
            break
    names = [layer.name for layer in definition.layer]
    del definition.layer[names.index("drop1_0_3") + 1 :]
    train = Net(definition, TRAIN, engine="numpy", seed=1)
    train.run_forward()
    found = train.blobs["bn1_0_2"].peek()
    dropped = (found == 0).all(axis=(2, 3))
    assert 0 < dropped.sum() < dropped.size
    assert (found != 0).any(axis=(2, 3))[~dropped].all()
    assert set(np.unique(train.blobs["drop1_0_3_mask"].peek())) == {0, 2}
    test = Net(definition, TEST, engine="numpy", seed=1)
    assert "drop1_0_3_mask" not in test.blobs


@pytest.mark.parametrize(
    ("name", "boxes", "classes"),
    [("ssd300_vgg", 8732, 21), ("ssd512_vgg", 24564, 21), ("mobilenet_ssd", 1917, 21), ("ssd_shapes", 3024, 6)],
)
def test_count_of_boxes(name: str, boxes: int, classes: int) -> None:
    """Of the paper and of the public net; PriorBox, offsets and scores must agree for DetectionOutput to run."""
    net = Net(without_fillers(read_net(ROOT / name / "deploy.prototxt")), TEST, engine="numpy", seed=1)
    assert net.blobs["mbox_priorbox"].shape == (1, 2, 4 * boxes)
    assert net.blobs["mbox_loc"].shape == (1, 4 * boxes)
    assert net.blobs["mbox_conf_flatten"].shape == (1, classes * boxes)


def test_crnn_reads_columns_in_both_directions() -> None:
    """A change at the right end of the image reaches the first column by the backward LSTM alone."""
    net = Net(deployed("crnn", {}), TEST, engine="numpy", seed=1)
    randomise(net)
    image = noise({"data": (1, 1, 32, 100)})["data"]
    net.forward(data=image)
    before = {key: net.blobs[key].peek().copy() for key in ("lstm1_forward", "lstm1_backward")}
    image[..., -4:] += 1
    net.forward(data=image)
    changed = {key: np.abs(net.blobs[key].peek()[0] - value[0]).max() for key, value in before.items()}
    assert changed["lstm1_forward"] == 0
    assert changed["lstm1_backward"] > 0


def test_lrcn_goes_on_with_a_sentence_until_cont_is_0() -> None:
    net = Net(deployed("lrcn", {}), TEST, engine="numpy", seed=1)
    randomise(net)
    features = noise({"image_features": (1, 1000)})["image_features"]

    def next_word(word: int, cont: int) -> NDArray[np.float32]:
        inputs: dict[str, Any] = {"input_sentence": [[word]], "cont_sentence": [[cont]], "image_features": features}
        for name, value in inputs.items():
            net.blobs[name].data[...] = value
        prob: NDArray[np.float32] = net.forward()["prob"].copy()
        return prob

    first = next_word(0, 0)
    assert not np.allclose(next_word(0, 1), first)  # the state has changed
    np.testing.assert_allclose(next_word(0, 0), first, rtol=1e-5)
