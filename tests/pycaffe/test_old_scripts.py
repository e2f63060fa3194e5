"""Scripts of 2013 and 2014: nets that prepare images themselves, and phases and modes that are set afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dragon as caffe
from dragon.errors import DataError, EngineError, UsageError

NET = """
force_backward: true
input: "data" input_dim: 1 input_dim: 3 input_dim: 6 input_dim: 4
layers { name: "drop" type: DROPOUT bottom: "data" top: "drop" }
layers { name: "ip" type: INNER_PRODUCT bottom: "drop" top: "ip" inner_product_param {
  num_output: 2 weight_filler { type: "constant" value: 1 } } }
"""
IMAGE = np.random.default_rng(0).random((6, 4, 3), np.float32)
MEAN = np.random.default_rng(1).random((3, 6, 4))


@pytest.fixture(params=["numpy", "auto"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_ENGINE", request.param)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[str, str]]:
    (tmp_path / "net.prototxt").write_text(NET)
    model, weights = str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")
    caffe.Net(model, caffe.TEST).save(weights)
    yield model, weights
    caffe.Net.default_phase = None


def test_phases_are_set_after_a_net_was_made(files: tuple[str, str]) -> None:
    net = caffe.Net(*files)
    net.set_mode_cpu()
    net.blobs["data"].data[...] = 1
    assert (net.forward()["ip"] == 72).all()  # made without a phase: TEST
    net.set_phase_train()
    assert set(np.unique([net.forward(end="drop")["drop"] for _ in range(5)])) == {0, 2}
    net.blobs["ip"].diff[...] = 1
    dropped = net.blobs["drop"].data.copy()
    net.backward()
    np.testing.assert_array_equal(net.params["ip"][0].diff[0], dropped.ravel())
    net.set_phase_test()
    assert (net.forward()["ip"] == 72).all()


def test_the_phase_of_new_nets(files: tuple[str, str]) -> None:
    caffe.set_phase_train()
    assert caffe.Net(*files).phase == caffe.TRAIN
    assert caffe.Net(*files, caffe.TEST).phase == caffe.TEST
    caffe.set_phase_test()
    assert caffe.Net(*files).phase == caffe.TEST


def test_a_net_stays_on_the_engine_that_it_was_made_for(
    files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = caffe.Net(*files)
    monkeypatch.setattr("dragon.engines.cuda_problem", lambda: "there is none")
    with pytest.raises(EngineError, match="the CUDA engine cannot run: there is none"):
        net.set_mode_gpu()
    monkeypatch.setattr("dragon.engines.gpu_count", lambda: 1)
    with pytest.raises(UsageError, match=r"made for, here \w+: call caffe\.set_mode_gpu\(\) before making it"):
        net.set_mode_gpu()
    monkeypatch.setattr(type(net.executor), "name", "cuda")
    net.set_mode_gpu()
    with pytest.raises(UsageError, match=r"made for, here cuda: call caffe\.set_mode_cpu\(\) before making it"):
        net.set_mode_cpu()


def prepared(scale: float = 1, mean: np.ndarray | float = 0, after: float = 1) -> np.ndarray:
    """IMAGE as blue, green, red planes, scaled before and after the mean is subtracted."""
    return (np.stack([IMAGE[..., i] for i in (2, 1, 0)]) * scale - mean) * after


@pytest.mark.parametrize("kind", ["Net", "Classifier"])
def test_a_net_prepares_images(files: tuple[str, str], kind: str) -> None:
    net = getattr(caffe, kind)(*files)
    net.set_mean("data", MEAN)
    net.set_raw_scale("data", 255)
    net.set_input_scale("data", 0.5)
    net.set_channel_swap("data", (2, 1, 0))
    found = net.preprocess("data", IMAGE)
    np.testing.assert_allclose(found, prepared(255, MEAN, 0.5), rtol=1e-5)
    np.testing.assert_allclose(net.deprocess("data", found), IMAGE, atol=1e-5)
    np.testing.assert_allclose(net.mean["data"], MEAN, rtol=1e-6)
    assert net.raw_scale == {"data": 255}
    net.set_mean("data", MEAN, mode="channel")
    net.set_input_scale("data", 1)
    np.testing.assert_allclose(
        net.preprocess("data", IMAGE), prepared(255, MEAN.mean((1, 2))[:, None, None]), rtol=1e-5
    )


@pytest.mark.parametrize("order", ["mean input raw", "raw mean input", "input raw mean"])
def test_the_input_scale_is_the_last_where_a_raw_scale_is_set(
    files: tuple[str, str], tmp_path: Path, order: str
) -> None:
    """As in pycaffe of the middle of 2014, which had both scales."""
    np.save(tmp_path / "mean.npy", MEAN)
    net = caffe.Net(*files)
    net.set_channel_swap("data", (2, 1, 0))
    for name in order.split():
        if name == "mean":
            net.set_mean("data", str(tmp_path / "mean.npy"))
        else:
            getattr(net, f"set_{name}_scale")("data", 255 if name == "raw" else 0.5)
    np.testing.assert_allclose(net.preprocess("data", IMAGE), prepared(255, MEAN, 0.5), rtol=1e-5)
    assert (net.raw_scale, net.input_scale) == ({"data": 255}, {"data": 0.5})


def test_the_input_scale_follows_a_mean_that_takes_the_place_of_a_file(files: tuple[str, str], tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", MEAN)
    net = caffe.Net(*files)
    net.set_channel_swap("data", (2, 1, 0))
    net.set_mean("data", str(tmp_path / "mean.npy"))
    for scale in (255, 3):
        net.set_input_scale("data", scale)
        np.testing.assert_allclose(net.preprocess("data", IMAGE), prepared(scale, MEAN), rtol=1e-5)
    net.set_mean("data", MEAN)
    np.testing.assert_allclose(net.preprocess("data", IMAGE), prepared(1, MEAN, 3), rtol=1e-5)


def test_a_mean_of_a_file_is_subtracted_after_the_input_scale(files: tuple[str, str], tmp_path: Path) -> None:
    """As in pycaffe when it took files: it had one scale, for images from 0 to 1 and means from 0 to 255."""
    np.save(tmp_path / "mean.npy", MEAN)
    expected = prepared(255, MEAN)
    one = caffe.Net(*files)
    one.set_mean("data", str(tmp_path / "mean.npy"))
    one.set_channel_swap("data", (2, 1, 0))
    one.set_input_scale("data", 255)
    np.testing.assert_allclose(one.preprocess("data", IMAGE), expected, rtol=1e-5)
    two = caffe.Net(*files)
    two.set_input_scale("data", 255)
    two.set_channel_swap("data", (2, 1, 0))
    two.set_mean("data", tmp_path / "mean.npy")
    np.testing.assert_allclose(two.preprocess("data", IMAGE), expected, rtol=1e-5)
    three = caffe.Classifier(
        *files, gpu=False, mean_file=str(tmp_path / "mean.npy"), channel_swap=(2, 1, 0), input_scale=255
    )
    three.predict([IMAGE], oversample=False)
    np.testing.assert_allclose(three.blobs["data"].data[0], expected, rtol=1e-5)
    four = caffe.Detector(*files, mean_file=str(tmp_path / "mean.npy"), channel_swap=(2, 1, 0), input_scale=255)
    np.testing.assert_allclose(four.preprocess("data", IMAGE), expected, rtol=1e-5)


def test_images_take_the_present_size_of_the_input(files: tuple[str, str]) -> None:
    net = caffe.Net(*files)
    net.blobs["data"].reshape(1, 3, 8, 9)
    assert net.preprocess("data", IMAGE).shape == (3, 8, 9)


def test_a_classifier_for_a_gpu(files: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.engines.cuda_problem", lambda: "there is none")
    with pytest.raises(EngineError, match="there is none"):
        caffe.Classifier(*files, gpu=True)
    with pytest.raises(EngineError, match="there is none"):
        caffe.Detector(*files, gpu=True)


def test_mistakes_in_means(files: tuple[str, str], tmp_path: Path) -> None:
    net = caffe.Net(*files)
    with pytest.raises(UsageError, match='the mode of a mean is elementwise or channel, got "pixel"'):
        net.set_mean("data", MEAN, mode="pixel")
    with pytest.raises(DataError, match=r"mean .*none\.npy: No such file"):
        net.set_mean("data", str(tmp_path / "none.npy"))
    (tmp_path / "text.npy").write_text("text")
    with pytest.raises(DataError, match=r"mean .*text\.npy: expected a \.npy file of NumPy's, this is"):
        net.set_mean("data", str(tmp_path / "text.npy"))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"mean .*objects\.npy: holds no array of real numbers"):
        net.set_mean("data", str(tmp_path / "objects.npy"))
    with pytest.raises(UsageError, match="dat is not one of the net inputs"):
        net.set_raw_scale("dat", 255)
