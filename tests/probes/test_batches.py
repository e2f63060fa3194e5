from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.data import write_synthetic
from dragon.errors import ShapeError, UsageError
from dragon.graph.net import Net
from dragon.probes import Run
from dragon.probes.batches import Batches
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.probes.helpers import IMAGES

REST = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture
def net(tmp_path: Path) -> Net:
    write_synthetic(tmp_path, train=40, test=10)
    text = IMAGES.replace("SOURCE", str(tmp_path / "synthetic_train_lmdb")) + REST
    return Net(parse_text(text, pb.NetParameter()), phase=TRAIN, engine="numpy", seed=3)


def test_a_batch_is_the_same_whenever_it_is_asked_for(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.probes.batches._CACHE_BYTES", 1)  # so that each one is read again
    one, other = Batches(net, 1), Batches(net, 1)
    forward = {k: one.batch(k).arrays for k in (0, 1, 2, 7)}
    for k in (7, 0, 2, 1, 0):
        for name, array in other.batch(k).arrays.items():
            np.testing.assert_array_equal(array, forward[k][name])
    assert not np.array_equal(forward[0]["data"], forward[1]["data"])
    assert not np.array_equal(Batches(net, 2).batch(0).arrays["data"], forward[0]["data"])


def test_an_epoch_has_each_image_once(net: Net) -> None:
    labels = np.concatenate([Batches(net, 1).batch(k).arrays["label"] for k in range(5)])
    again = np.concatenate([Batches(net, 2).batch(k).arrays["label"] for k in range(5)])
    assert not np.array_equal(labels, again)
    assert sorted(labels) == sorted(again)


@pytest.mark.parametrize("size", [1, 3, 8, 20])
def test_other_sizes_take_the_same_images(net: Net, size: int) -> None:
    batches = Batches(net, 1)
    images = np.concatenate([batches.batch(k).arrays["data"] for k in range(5)])
    for k in range(40 // size):
        np.testing.assert_array_equal(batches.batch(k, size).arrays["data"], images[k * size : (k + 1) * size])


def test_data_of_the_net_is_not_read(net: Net) -> None:
    before = net.layers[0].state()
    Batches(net, 1).batch(3)
    assert net.layers[0].state() == before


def test_what_a_program_gives_cannot_be_chosen() -> None:
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
    ip = 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }'
    run = Run(Net(parse_text(text + ip, pb.NetParameter()), phase=TRAIN))
    with pytest.raises(
        UsageError, match='probes need data layers, and net "" is without: layer "x" takes what a program'
    ):
        run.batch(0)
    with pytest.raises(UsageError, match="needs a net of phase TEST, and there is none"):
        run.batch(0, phase=TEST)


def test_a_size_of_its_own_needs_one_first_axis() -> None:
    text = """layer { name: "d" type: "DummyData" top: "x" top: "y"
        dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 3 dim: 3 } } }
        layer { name: "z" type: "InnerProduct" bottom: "x" top: "z" inner_product_param { num_output: 2 } }"""
    run = Run(Net(parse_text(text, pb.NetParameter()), phase=TRAIN))
    assert run.batch(0).arrays["y"].shape == (3, 3)
    with pytest.raises(UsageError, match="needs data layers whose tops have one common first axis"):
        run.batch(0, 5)


def test_a_size_that_memory_cannot_hold(net: Net) -> None:
    with pytest.raises(
        ShapeError, match=r'1,000,000,000,000 images of "data": shape .* takes .* GiB, this machine has'
    ):
        Batches(net, 1).batch(0, 10**12)


def test_no_more_images_than_there_are_begin_again(net: Net) -> None:
    """In an order of their own, as in training."""
    batches = Batches(net, 1)
    labels = [np.concatenate([batches.batch(k).arrays["label"] for k in range(5 * e, 5 * e + 5)]) for e in (0, 1)]
    assert sorted(labels[0]) == sorted(labels[1])
    assert not np.array_equal(labels[0], labels[1])
