"""What shows only in a net: memory shared with in-place layers, tops whose size depends on values, closing."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from dragon.graph.net import Net

HEAD = (
    'force_backward: true layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 2 } } }\n'
)
ENGINES = ["numpy", "auto"]
X = np.random.default_rng(1).standard_normal((4, 3, 2)).astype(np.float32)


def net(folder: Path, text: str, engine: str) -> Net:
    path = folder / "net.prototxt"
    path.write_text(text)
    return Net(path, phase=0, engine=engine, seed=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_in_place_behind_shared_memory(tmp_path: Path, engine: str) -> None:
    """Both branches start from x, one of them flattens and cuts in place: the other must not see it."""
    n = net(
        tmp_path,
        HEAD
        + """
        layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 1 } }
        layer { name: "f" type: "Flatten" bottom: "p" top: "f" }
        layer { name: "r" type: "ReLU" bottom: "f" top: "f" }
        layer { name: "back" type: "Reshape" bottom: "f" top: "g" reshape_param { shape { dim: 4 dim: 3 dim: 2 } } }
        layer { name: "q" type: "Power" bottom: "x" top: "q" power_param { scale: 2 } }
        layer { name: "sum" type: "Eltwise" bottom: "g" bottom: "q" top: "y" }
        """,
        engine,
    )
    n.blobs["x"].data[...] = X
    np.testing.assert_allclose(n.forward()["y"], np.maximum(X, 0) + 2 * X, rtol=1e-6)
    n.blobs["y"].diff[...] = 1
    n.backward()
    np.testing.assert_allclose(n.blobs["x"].diff, (X > 0) + 2.0, rtol=1e-6)
    n.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_filter_passes_on_as_many_items_as_are_chosen(tmp_path: Path, engine: str) -> None:
    n = net(
        tmp_path,
        HEAD
        + """
        layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 4 } } }
        layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "f" }
        layer { name: "r" type: "ReLU" bottom: "f" top: "y" }
        """,
        engine,
    )
    n.blobs["x"].data[...] = X
    for chosen in ([1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]):
        n.blobs["s"].data[...] = chosen
        y = n.forward()["y"]
        np.testing.assert_array_equal(y, np.maximum(X, 0)[np.array(chosen) > 0])
        n.blobs["y"].diff[...] = 1
        n.backward()
        expected = (X > 0) * np.array(chosen)[:, None, None]
        np.testing.assert_array_equal(n.blobs["x"].diff, expected)
    n.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_two_losses_with_weights(tmp_path: Path, engine: str) -> None:
    n = net(
        tmp_path,
        """
        layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 4 dim: 3 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
          inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
        layer { name: "a" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "a" loss_weight: 0.5 }
        layer { name: "b" type: "SmoothL1Loss" bottom: "y" bottom: "t" top: "b" }
        """,
        engine,
    )
    n.blobs["x"].data[...] = X[:, :, 0]
    n.blobs["t"].data[...] = X[:, :, 1]
    loss = n.run_forward()
    difference = n.blobs["y"].data - n.blobs["t"].data
    size = np.abs(difference)
    parts = 0.5 * (difference**2).sum() / 8, np.where(size < 1, difference**2 / 2, size - 0.5).sum() / 4
    assert loss == pytest.approx(sum(parts), rel=1e-5)
    n.run_backward()
    expected = (0.5 * difference + np.clip(difference, -1, 1)) / 4
    np.testing.assert_allclose(n.params["ip"][1].diff, expected.sum(0), rtol=1e-4, atol=1e-6)
    n.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_of_classes(tmp_path: Path, engine: str) -> None:
    """Whether an engine computes the loss its own way or not, the weights count."""
    n = net(
        tmp_path,
        """
        force_backward: true
        layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 } } }
        layer { name: "a" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "a"
          loss_param { weight_by_label_freqs: true class_weighting: 1 class_weighting: 3 class_weighting: 0 } }
        """,
        engine,
    )
    n.blobs["x"].data[...] = 0
    n.blobs["t"].data[...] = [1, 2]
    assert n.run_forward() == pytest.approx(3 * np.log(3) / 2, rel=1e-6)
    n.run_backward()
    np.testing.assert_allclose(n.blobs["x"].diff, [[0.5, -1.0, 0.5], [0.0, 0.0, 0.0]], rtol=1e-5)
    n.close()


def test_closing_the_net_finishes_its_output_file(tmp_path: Path) -> None:
    n = net(
        tmp_path,
        HEAD.replace("force_backward: true", "")
        + f"""
        layer {{ name: "s" type: "Input" top: "s" input_param {{ shape {{ dim: 4 }} }} }}
        layer {{ name: "o" type: "HDF5Output" bottom: "x" bottom: "s"
          hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}
        """,
        "numpy",
    )
    n.blobs["x"].data[...] = X
    n.forward()
    n.forward()
    n.close()
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["data"], np.concatenate([X, X]))


@pytest.mark.parametrize("engine", ENGINES)
def test_detections_vary_in_number(tmp_path: Path, engine: str) -> None:
    n = net(
        tmp_path,
        """
        layer { name: "l" type: "Input" top: "loc" input_param { shape { dim: 1 dim: 16 } } }
        layer { name: "c" type: "Input" top: "conf" input_param { shape { dim: 1 dim: 8 } } }
        layer { name: "m" type: "Input" top: "map" input_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } } }
        layer { name: "i" type: "Input" top: "image" input_param { shape { dim: 1 dim: 3 dim: 20 dim: 20 } } }
        layer { name: "p" type: "PriorBox" bottom: "map" bottom: "image" top: "prior" prior_box_param { min_size: 4 } }
        layer { name: "d" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "found"
          detection_output_param { num_classes: 2 confidence_threshold: 0.5 } }
        """,
        engine,
    )
    for count in (1, 4, 0, 2):
        score = np.zeros((4, 2))
        score[:count, 1] = 0.9
        n.blobs["conf"].data[...] = score.reshape(1, 8)
        found = n.forward()["found"]
        assert found.shape == (1, 1, max(1, count), 7)
        assert (found[0, 0, :, 1] == (1 if count else -1)).all()
    n.close()


def test_images_are_read_beside_the_prototxt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.full((2, 2, 3), 7, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.png 3\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    n = net(
        tmp_path,
        'layer { name: "d" type: "ImageData" top: "x" top: "t" image_data_param { source: "list.txt" } }',
        "numpy",
    )
    n.forward()
    assert (n.blobs["x"].data == 7).all()
    assert n.blobs["t"].data.tolist() == [3]
    n.close()
