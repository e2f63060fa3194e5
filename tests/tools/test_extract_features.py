"""`dragon extract-features`: blobs to files of every form, by its own flags and by Caffe's arguments."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.data import LevelDbReader, LmdbReader, decode_batch, encode_datum, write_lmdb
from dragon.files.names import find_item
from dragon.graph.net import Net
from tests.tools.conftest import Dragon

pytestmark = pytest.mark.usefixtures("reference_engine")


def test_extract_features_to_every_form(trained: Path, dragon: Dragon) -> None:
    args = ("extract-features", "--model", "net.prototxt", "--weights", "net.caffemodel", "--batches", "2")
    assert dragon(*args, "--blob", "ip", "--blob", "label", "--out", "f.h5").code == 0
    net = Net("net.prototxt", "net.caffemodel", TEST)
    expected = []
    for _ in range(2):
        net.run_forward()
        expected.append(np.array(net.blobs["ip"].peek()))
    net.close()
    with h5py.File("f.h5") as file:
        np.testing.assert_array_equal(file["ip"][()], np.concatenate(expected))
        assert file["label"].shape == (16,)
    dragon(*args, "--blob", "ip", "--out", "f.npy")
    np.testing.assert_array_equal(np.load("f.npy"), np.concatenate(expected))
    dragon(*args, "--blob", "ip", "--blob", "label", "--out", "f.npz")
    assert sorted(np.load("f.npz").files) == ["ip", "label"]
    assert dragon(*args, "--blob", "ip", "--out", "db").out == "db: ip, 16 rows of 10\n"
    with LmdbReader("db") as reader:
        images, _ = decode_batch(reader.read(16))
    np.testing.assert_array_equal(np.asarray(images)[:, :, 0, 0], np.concatenate(expected))
    assert 'no blob "lable" (did you mean "label"?)' in dragon(*args, "--blob", "lable", "--out", "g.h5").error
    assert "exists already" in dragon(*args, "--blob", "ip", "--out", "db").error
    (trained / "link").symlink_to("nothing")
    assert "exists already" in dragon(*args, "--blob", "ip", "--out", "link").error
    assert "other names folders of a database; .txt is neither" in dragon(*args, "--blob", "ip", "--out", "f.txt").error
    assert not (trained / "f.txt").exists()


def test_extract_features_of_any_names(work: Path, dragon: Dragon) -> None:
    """A blob's name is no path: inc/a beside inc, what looks like a folder, what is a keyword of np.savez."""
    names = ["inc", "inc/a", "inc_a", "..", "/", "file"]
    layers = ['layer { name: "d" type: "DummyData" top: "inc" dummy_data_param { shape { dim: 2 dim: 3 } } }']
    layers += [
        f'layer {{ name: "l{i}" type: "Power" bottom: "inc" top: "{name}" power_param {{ shift: {i} }} }}'
        for i, name in enumerate(names)
        if i
    ]
    layers.append(
        'layer { name: "p" type: "InnerProduct" bottom: "inc" top: "p" inner_product_param { num_output: 1 } }'
    )
    (work / "n.prototxt").write_text("\n".join(layers))
    Net("n.prototxt", TEST).save("n.caffemodel")
    args = ["extract-features", "--model", "n.prototxt", "--weights", "n.caffemodel", "--batches", "1"]
    for name in names:
        args += ["--blob", name]
    for out in ("f.h5", "f.npz", "db"):
        assert dragon(*args, "--out", out).code == 0
    with h5py.File("f.h5") as file, np.load("f.npz") as archive:
        for i, name in enumerate(names):
            np.testing.assert_array_equal(find_item(file, name)[()], np.full((2, 3), i))
            np.testing.assert_array_equal(archive[name], np.full((2, 3), i))
    found = {}
    for path in Path("db").iterdir():
        with LmdbReader(path) as reader:
            found[path.name] = float(np.asarray(decode_batch(reader.read(2))[0]).mean())
    assert found == {"inc": 0, "inc%2Fa": 1, "inc_a": 2, "%2E%2E": 3, "_": 4, "file": 5}
    result = dragon(*args, "--blob", "file.npy", "--out", "g.npz")
    assert result.error == 'g.npz: NumPy does not tell "file.npy" from "file" in a .npz: choose .h5'


def test_extract_features_as_caffe_takes_its_arguments(trained: Path, dragon: Dragon) -> None:
    line = ("extract_features", "net.caffemodel", "net.prototxt", "ip,label", "a,b", "2", "lmdb", "CPU")
    result = dragon(*line)
    assert (result.code, result.out) == (0, "a: ip, 16 rows of 10\nb: label, 16 rows of 1\n")
    with LmdbReader("a") as reader:
        assert len(reader) == 16
    pytest.importorskip("plyvel", reason="plyvel-ci is not installed")
    assert dragon(*line[:4], "c,d", "2", "LEVELDB").code == 0
    level = LevelDbReader("d")
    assert len(level) == 16
    level.close()
    assert "comes CPU or GPU and its number, got TPU" in dragon(*line[:7], "TPU").error
    assert "--gpu 3" in dragon(*line[:4], "e,f", "2", "lmdb", "GPU", "DEVICE_ID=3").error
    assert dragon(*line[:4], "e", "2", "lmdb").code == 0, "one output for all"
    assert "2 times, got 3" in dragon(*line[:4], "g,h,i", "2", "lmdb").error
    assert "names g twice" in dragon(*line[:4], "g,g", "2", "lmdb").error


def test_rows_of_several_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dragon: Dragon) -> None:
    monkeypatch.chdir(tmp_path)
    images = [np.ones((1, 2 + i, 3), np.uint8) for i in range(2)]
    write_lmdb("db", ((str(i).encode(), encode_datum(image, i)) for i, image in enumerate(images)))
    Path("n.prototxt").write_text(
        'layer { name: "d" type: "Data" top: "data" data_param { source: "db" backend: LMDB batch_size: 1 } }'
        'layer { name: "s" type: "Reduction" bottom: "data" top: "sum" }'
    )
    net = Net("n.prototxt", TEST)
    net.save("n.caffemodel")
    net.close()
    args = ("extract-features", "--model", "n.prototxt", "--weights", "n.caffemodel", "--batches", "2")
    result = dragon(*args, "--blob", "data", "--out", "f.h5")
    assert result.code == 2
    assert result.error.startswith('"data" has rows of shape (1, 2, 3) and of (1, 3, 3), since images have sizes of')
    assert dragon(*args, "--blob", "sum", "--out", "f.npy").code == 0
    assert np.load("f.npy").tolist() == [6, 9]
