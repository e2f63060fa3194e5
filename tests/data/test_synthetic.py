from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.data import dataset_label, read_mean, read_split, write_synthetic
from dragon.data.synthetic import CLASSES, draw_split
from dragon.errors import DataError


def test_writes_a_labelled_set(tmp_path: Path) -> None:
    dataset = write_synthetic(tmp_path, train=60, test=20, seed=4)
    train = read_split(dataset.train)
    assert train.images.shape == (60, 3, 32, 32)
    assert dataset_label(dataset.train) == dataset_label(dataset.test) == "synthetic"
    assert "not CIFAR-10" in (tmp_path / "README.txt").read_text()
    assert read_mean(dataset.mean).shape == (3, 32, 32)
    assert write_synthetic(tmp_path, train=60, test=20, seed=4).written == ()
    with pytest.raises(DataError, match="holds another dataset"):
        write_synthetic(tmp_path, train=60, test=20, seed=5)


def test_classes_are_balanced_and_mixed() -> None:
    labels = draw_split(200, 1, 0).labels
    np.testing.assert_array_equal(np.bincount(labels), [20] * len(CLASSES))
    assert len(set(labels[:20].tolist())) > 5


def test_a_seed_fixes_the_images_and_parts_differ() -> None:
    one = draw_split(30, 1, 0)
    assert one.digest() == draw_split(30, 1, 0).digest()
    assert one.digest() != draw_split(30, 2, 0).digest()
    assert one.digest() != draw_split(30, 1, 1).digest()


def test_a_set_needs_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one image in each part"):
        write_synthetic(tmp_path, train=0)


def linear_accuracy(features: NDArray[np.float64], labels: NDArray[np.uint8], train: int) -> float:
    """Test accuracy of ridge regression onto one-hot labels, with the better of two penalties."""
    features = features - features[:train].mean(0)
    targets = np.eye(len(CLASSES))[labels[:train]] - 1 / len(CLASSES)
    known, asked = features[:train], features[train:]
    gram = known @ known.T
    scores = []
    for penalty in (1e-2, 1.0):
        weights = np.linalg.solve(gram + penalty * np.trace(gram) / train * np.eye(train), targets)
        scores.append(float(((asked @ known.T @ weights).argmax(1) == labels[train:]).mean()))
    return max(scores)


def test_pixels_alone_say_little_but_shifted_edges_say_much() -> None:
    split = draw_split(1600, 1, 0)
    images = split.images.astype(np.float64)
    assert linear_accuracy(images.reshape(1600, -1), split.labels, 1200) < 0.3
    # The power spectrum of the gray image forgets place and colour, as convolution with pooling would.
    gray = images.mean(1) - images.mean((1, 2, 3))[:, None, None]
    spectrum = np.log1p(np.abs(np.fft.rfft2(gray))).reshape(1600, -1)
    assert linear_accuracy(spectrum, split.labels, 1200) > 0.6
