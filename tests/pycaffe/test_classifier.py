"""Classifier and Detector: what reaches the net is what the same images give by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import dragon as caffe
from dragon.errors import DataError, UsageError
from dragon.pycaffe.detector import read_windows

MEAN_COLOURS = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 3 dim: 3 dim: 8 dim: 8 } } }
layer { name: "colours" type: "Pooling" bottom: "data" top: "colours" pooling_param { pool: AVE global_pooling: true } }
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DRAGON_ENGINE", "numpy")
    path = tmp_path / "deploy.prototxt"
    path.write_text(MEAN_COLOURS)
    return str(path)


def picture(height: int = 12, width: int = 16) -> np.ndarray:
    return np.random.default_rng(2).random((height, width, 3), np.float32)


def test_oversampling_averages_ten_crops(model: str) -> None:
    net = caffe.Classifier(model, image_dims=(12, 16), raw_scale=255, channel_swap=(2, 1, 0), mean=np.array([1, 2, 3]))
    image = picture()
    crops = caffe.io.oversample([image], (8, 8)).mean((1, 2))
    expected = crops.mean(0)[::-1] * 255 - [1, 2, 3]
    scores = net.predict([image, image])
    assert scores.reshape(2, -1).shape == (2, 3)
    np.testing.assert_allclose(scores.reshape(2, -1), [expected, expected], rtol=1e-4)


def test_without_oversampling_the_centre_counts(model: str) -> None:
    net = caffe.Classifier(model, image_dims=(12, 16))
    image = picture()
    np.testing.assert_allclose(
        net.predict([image], oversample=False).reshape(-1), image[2:10, 4:12].mean((0, 1)), rtol=1e-5
    )


@pytest.mark.parametrize("oversample", [True, False])
def test_images_smaller_than_the_input_have_no_crop(model: str, oversample: bool) -> None:
    net = caffe.Classifier(model, image_dims=(6, 16))
    with pytest.raises(UsageError, match="crops of 8 x 8 do not fit into an image of 6 x 16"):
        net.predict([picture()], oversample=oversample)


@pytest.mark.parametrize("oversample", [True, False])
def test_no_images_have_no_scores(model: str, oversample: bool) -> None:
    scores = caffe.Classifier(model).predict([], oversample=oversample)
    assert scores.shape[:2] == (0, 3)


def test_more_images_than_the_batch_holds(model: str) -> None:
    images = [picture() * k for k in range(5)]
    scores = caffe.Classifier(model).predict(images, oversample=False).reshape(5, 3)
    np.testing.assert_allclose(scores, np.arange(5)[:, None] * scores[1], rtol=1e-5)


def test_a_training_net_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.prototxt"
    path.write_text('layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 dim: 1 } } }')
    with pytest.raises(UsageError, match="no deploy net"):
        caffe.Classifier(path)


def test_windows_with_context_show_more_of_the_image_and_the_mean_outside(tmp_path: Path, model: str) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:30, 10:30] = 200
    PIL.Image.fromarray(pixels).save(tmp_path / "square.png")
    name = str(tmp_path / "square.png")
    plain = caffe.Detector(model).detect_windows([(name, [(10, 10, 30, 30), (0, 0, 10, 10)])])
    np.testing.assert_allclose(plain[0]["prediction"], 200 / 255, rtol=1e-4)
    np.testing.assert_allclose(plain[1]["prediction"], 0, atol=1e-6)
    assert plain[1]["window"] == (0, 0, 10, 10)
    assert plain[0]["filename"] == name

    context = caffe.Detector(model, context_pad=2).detect_windows([(name, [(10, 10, 30, 30)])])
    # 4 of the input's 8 pixels show the window: a quarter of its area
    np.testing.assert_allclose(context[0]["prediction"], 200 / 255 / 4, rtol=0.02)

    net = caffe.Detector(model, context_pad=2, mean=np.array([0.25, 0.5, 0.75]))
    at_the_corner = net.crop(caffe.io.load_image(name), (0, 0, 4, 4))
    np.testing.assert_allclose(at_the_corner[0, 0], [0.25, 0.5, 0.75], rtol=1e-6)
    assert not at_the_corner[-1, -1].any(), "inside the image, where it is black"
    # half of each side lies outside; the mean there becomes zero in the net
    blank = net.transformer.preprocess("data", np.broadcast_to(net.crop_mean, (8, 8, 3)))
    np.testing.assert_allclose(blank, 0, atol=1e-6)


def test_windows_that_hold_nothing_and_files_that_are_wrong(tmp_path: Path, model: str) -> None:
    PIL.Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png: window .* holds nothing"):
        caffe.Detector(model).detect_windows([(str(tmp_path / "a.png"), [(20, 20, 30, 30)])])
    with pytest.raises(UsageError, match="context_pad 4 leaves nothing"):
        caffe.Detector(model, context_pad=4)
    windows = tmp_path / "w.csv"
    windows.write_text("filename,ymin,xmin,ymax,xmax\na.png,1,2,3,4\na.png,5,6,7,8\nb.png,0,0,1,1\n")
    assert read_windows(windows) == [("a.png", [[1, 2, 3, 4], [5, 6, 7, 8]]), ("b.png", [[0, 0, 1, 1]])]
    for value in ("x", "nan", "-inf"):
        windows.write_text(f"filename,ymin,xmin,ymax,xmax\na.png,1,2,3,{value}\n")
        with pytest.raises(DataError, match=r"w.csv:2: .* four numbers"):
            read_windows(windows)
    windows.write_text("filename,ymin,xmin,ymax,xmax\n" + 200_000 * "a" + ",1,2,3,4\n")
    with pytest.raises(DataError, match=r"w.csv: no CSV file: field larger than"):
        read_windows(windows)
    windows.write_text("filename,ymin,xmin,ymax,xmax\na.png,1,2,3,4\n", encoding="utf-8-sig")  # as Excel does
    assert read_windows(windows) == [("a.png", [[1, 2, 3, 4]])]
    windows.write_text("filename,ymin\n")
    with pytest.raises(DataError, match="no column xmin, ymax, xmax"):
        read_windows(windows)
