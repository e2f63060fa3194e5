"""Weights of HDF5 and .caffemodel files: names are data, files are checked as a whole, nothing else is read."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import dragon
from dragon.errors import WeightsError
from dragon.files import weights
from dragon.files.stored_weights import read_weights
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, parse_text
from dragon.proto.wire import BYTES, encode_key, encode_varint
from dragon.surgery.model import read_model
from tests.helpers import weights_of

NAMES = [
    ["inc/a", "inc/b"],
    ["a/x", "a"],
    [".", "..", "/", "//a", "a/", "%2F"],
    ["0", "a/0", "a"],
    ["schöne/日本", "x" * 3000],
]


def net_of(names: list[str], seed: int = 1, size: int = 3, shared: bool = False) -> dragon.Net:
    """Inner products of these names, one after the other."""
    param = pb.NetParameter(name="named")
    parse_text('layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }', param)
    for name in names:
        layer = param.layer.add(name=name, type="InnerProduct", bottom=["data"], top=[f"top of {name}"])
        layer.inner_product_param.num_output = size
        layer.inner_product_param.weight_filler.type = "gaussian"
        layer.inner_product_param.bias_filler.type = "gaussian"
        if shared:
            layer.param.add(name="w")
    return dragon.Net(param, phase=dragon.TEST, engine="numpy", seed=seed)


def same(a: dragon.Net, b: dragon.Net) -> bool:
    first, second = weights_of(a), weights_of(b)
    return all(np.array_equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("ending", ["caffemodel", "caffemodel.h5"])
@pytest.mark.parametrize("names", NAMES)
def test_weights_of_layers_of_any_name_are_read_back(names: list[str], ending: str, tmp_path: Path) -> None:
    net = net_of(names)
    net.save(tmp_path / f"w.{ending}", write_diff=True)
    fresh = net_of(names, seed=2)
    assert not same(net, fresh)
    fresh.copy_from(tmp_path / f"w.{ending}")
    assert same(net, fresh)


def test_a_solver_with_such_names_goes_on_from_its_snapshot(tmp_path: Path) -> None:
    text = """
    layer { name: "d" type: "DummyData" top: "d" top: "t" dummy_data_param {
      shape { dim: 2 dim: 3 } shape { dim: 2 dim: 2 } data_filler { type: "gaussian" } } }
    layer { name: "a/x" type: "InnerProduct" bottom: "d" top: "m" inner_product_param { num_output: 3
      weight_filler { type: "xavier" } } }
    layer { name: "a" type: "InnerProduct" bottom: "m" top: "o" inner_product_param { num_output: 2
      weight_filler { type: "xavier" } } }
    layer { name: "l" type: "EuclideanLoss" bottom: "o" bottom: "t" top: "l" }"""

    def solver() -> dragon.Solver:
        param = pb.SolverParameter(
            base_lr=0.1, momentum=0.9, lr_policy="fixed", random_seed=3, snapshot_format=pb.SolverParameter.HDF5
        )
        param.snapshot_prefix = str(tmp_path / "s")
        parse_text(text, param.net_param)
        return dragon.get_solver(param, engine="numpy")

    whole, resumed = solver(), solver()
    whole.step(2)
    state = whole.snapshot()
    whole.step(2)
    resumed.restore(state)
    resumed.step(2)
    assert same(whole.net, resumed.net)


def test_layers_whose_blobs_all_belong_to_others_lack_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = net_of(["a", "b"], shared=True)
    for name in ("a", "b"):
        net.param.layer[net.layer_index(name)].param.add(name="bias")
    net = dragon.Net(net.param, phase=dragon.TEST, engine="numpy", seed=1)
    net.save(tmp_path / "w.h5")
    fresh = dragon.Net(net.param, phase=dragon.TEST, engine="numpy", seed=2)
    fresh.copy_from(tmp_path / "w.h5")
    assert same(net, fresh)
    assert not caplog.text


def test_a_file_of_caffe_with_nested_groups(tmp_path: Path) -> None:
    """Caffe makes a group for every layer, also without blobs, and writes shared blobs with their owner alone."""
    net = net_of(["inc", "inc/a"], shared=True)
    weight = np.arange(9, dtype=np.float32).reshape(3, 3)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for name in ("data", "inc", "inc/a", "top/loss"):
            file.create_group(f"data/{name}")
        file["data/inc/0"], file["data/inc/1"], file["data/inc/a/1"] = weight, [1.0, 2, 3], [4.0, 5, 6]
    net.copy_from(tmp_path / "w.h5")
    np.testing.assert_array_equal(net.params["inc"][0].peek(), weight)
    np.testing.assert_array_equal(net.params["inc/a"][0].peek(), weight)
    np.testing.assert_array_equal(net.params["inc"][1].peek(), [1, 2, 3])
    np.testing.assert_array_equal(net.params["inc/a"][1].peek(), [4, 5, 6])
    message = (
        r'layer "inc/a" .* has 2 parameter blobs, the file has 1 of shapes \(3,\); blob 0 is missing: in the net that '
        r'wrote the file it belongs to another layer; share it here as well, .* as in param { name: "NAME" }'
    )
    with pytest.raises(WeightsError, match=message):
        net_of(["inc", "inc/a"]).copy_from(tmp_path / "w.h5")  # not shared there, so it lacks a blob


def of_caffe(path: Path, blobs: dict[str, list[float]]) -> Path:
    """An HDF5 file of blobs of these names, LAYER/INDEX."""
    with h5py.File(path, "w") as file:
        for name, values in blobs.items():
            file[f"data/{name}"] = np.array(values, np.float32)
    return path


def test_a_blob_that_the_first_of_its_layers_lacks(tmp_path: Path) -> None:
    """As where the layers come in another order; Caffe refuses the file too."""
    path = of_caffe(tmp_path / "w.h5", {"a/1": [1, 2, 3], "b/1": [1, 2, 3]})
    with h5py.File(path, "a") as file:
        file["data/b/0"] = np.ones((3, 3), np.float32)
    message = (
        r'layer "a" \(InnerProduct\) has 2 parameter blobs, the file has 1 of shapes \(3,\); blob 0 is missing: '
        r'layer "b" shares it as param "w", and a file of Caffe has it for the first of the layers that share it'
    )
    with pytest.raises(WeightsError, match=message):
        net_of(["a", "b"], shared=True).copy_from(path)


@pytest.mark.parametrize("index", [0, 1])
def test_surgery_takes_a_shared_blob_from_its_first_layer(tmp_path: Path, index: int) -> None:
    net = net_of(["a", "b"])
    for layer in net.param.layer:
        if layer.type == "InnerProduct":
            del layer.param[:]
            for i in range(2):
                layer.param.add(name="shared" if i == index else "")
    (tmp_path / "net.prototxt").write_text(format_text(net.param))
    path = tmp_path / "w.h5"
    values = {0: np.arange(9, dtype=np.float32).reshape(3, 3), 1: np.array([1, 2, 3], np.float32)}
    with h5py.File(path, "w") as file:
        for i, value in values.items():
            file[f"data/a/{i}"] = value
        file[f"data/b/{1 - index}"] = 10 * values[1 - index]
    arrays = read_model(tmp_path / "net.prototxt", path).arrays
    np.testing.assert_array_equal(arrays["b"][index], values[index])
    np.testing.assert_array_equal(arrays["b"][1 - index], 10 * values[1 - index])
    dragon.Net(tmp_path / "net.prototxt", phase=dragon.TEST, weights=path)  # as a net takes it


def test_surgery_takes_all_blobs_of_a_layer_from_another(tmp_path: Path) -> None:
    """As of the second tower of a siamese net, whose group is empty."""
    net = net_of(["a", "b"])
    for layer in net.param.layer:
        if layer.type == "InnerProduct":
            layer.param.extend([pb.ParamSpec(name="w"), pb.ParamSpec(name="bias")])
    (tmp_path / "net.prototxt").write_text(format_text(net.param))
    path = of_caffe(tmp_path / "w.h5", {"a/0": list(range(9)), "a/1": [1, 2, 3]})
    with h5py.File(path, "a") as file:
        file["data"].create_group("b")
        file["data"].create_group("relu")
    read = read_model(tmp_path / "net.prototxt", path).arrays
    assert list(read) == ["a", "b"]
    for own, shared in zip(read["a"], read["b"], strict=True):
        np.testing.assert_array_equal(own, shared)
    other = of_caffe(tmp_path / "other.h5", {"c/0": [1]})
    with h5py.File(other, "a") as file:
        file["data"].create_group("a")  # of a net in which it has no blobs
    np.testing.assert_array_equal(read_model(tmp_path / "net.prototxt", f"{path},{other}").arrays["a"][1], [1, 2, 3])


def test_surgery_names_a_blob_that_no_layer_has(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(format_text(net_of(["a", "b"]).param))
    path = of_caffe(tmp_path / "w.h5", {"b/1": [1, 2, 3]})
    with pytest.raises(WeightsError, match=r'w\.h5: layer "b" has a blob too few; blob 0 is missing: in the net that'):
        read_model(tmp_path / "net.prototxt", path)
    with pytest.raises(
        WeightsError, match='layer "b" lacks blob 0, which it shares with another layer: files of Caffe'
    ):
        list(read_weights(path))


def test_ours_loads_where_caffe_would_read_it(tmp_path: Path) -> None:
    """Caffe looks at every link below "data": a layer's group has no more links than the layer has blobs."""
    net = net_of(["inc", "inc/a", "b"])
    net.save(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        counts = {name: len(group) for name, group in file["data"].items()}
    assert counts == {"inc": 2, "b": 2, "inc%2Fa": 2}


# -- refused as a whole -------------------------------------------------------------------------------------------
def spoil(path: Path, what: str) -> None:
    """An HDF5 weights file whose first layers are sound and whose last one is not."""
    with h5py.File(path, "r+") as file:
        group = file["data/z"]
        del group["0"]
        match what:
            case "shape":
                group["0"] = np.ones((7, 3))
            case "text":
                group["0"] = np.full((3, 3), b"abc")
            case "strings":
                group.create_dataset("0", (3, 3), h5py.string_dtype())
            case "many strings":
                group.create_dataset("0", (10**12,), h5py.string_dtype())
            case "complex":
                group["0"] = np.ones((3, 3), np.complex64)
            case "empty":
                group["0"] = h5py.Empty("f4")
            case "group":
                group.create_group("0")
            case "external":
                (path.parent / "secret").write_bytes(b"1234" * 9)
                group.create_dataset("0", (3, 3), "f4", external=[(str(path.parent / "secret"), 0, 36)])
            case "virtual":
                layout = h5py.VirtualLayout((3, 3), "f4")
                layout[...] = h5py.VirtualSource(str(path.parent / "other.h5"), "x", (3, 3))
                group.create_virtual_dataset("0", layout)
            case "link":
                group["0"] = h5py.ExternalLink(str(path.parent / "other.h5"), "/x")
            case "soft":
                file["way"] = h5py.ExternalLink(str(path.parent / "other.h5"), "/")
                group["0"] = h5py.SoftLink("/way/x")
            case "huge":
                group.create_dataset("0", (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip")
            case "chunk":
                group.create_dataset("0", (3, 3), "f4", maxshape=(None, None), chunks=(1 << 14, 1 << 14))
            case "packed":
                dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                dcpl.set_chunk((3, 3))
                dcpl.set_deflate(9)
                dcpl.set_deflate(9)
                space = h5py.h5s.create_simple((3, 3))
                h5py.h5d.create(group.id, b"0", h5py.h5t.IEEE_F32LE, space, dcpl)
            case "damaged chunk":
                group.create_dataset("0", data=np.ones((3, 3), np.float32), chunks=(3, 3), fletcher32=True)
                file.flush()
                at = group["0"].id.get_chunk_info(0).byte_offset
                file.close()
                content = bytearray(path.read_bytes())
                content[at] ^= 1
                path.write_bytes(content)


KINDS: dict[str, str] = {
    "shape": r'layer "z" .* expected shape \(3, 3\), the file has \(7, 3\)',
    "text": "/data/z/0 holds text, expected real numbers",
    "strings": "/data/z/0 holds text or references",
    "many strings": "/data/z/0 holds text or references",
    "complex": "/data/z/0 holds complex numbers",
    "empty": "/data/z/0 holds no values",
    "group": 'layer "z" .* has 2 parameter blobs, the file has 1',
    "external": 'the values of "0" lie in another file: these are not read',
    "virtual": '"0" is a virtual dataset',
    "link": '"0" is a link to another file',
    "soft": '"way" is a link to another file',
    "huge": "dataset /data/z/0 of shape .* in a small file",
    "chunk": "dataset /data/z/0 of shape .* in a small file",
    "packed": '"0" is packed by 2 filters',
    "damaged chunk": "damaged",
}


@pytest.mark.parametrize("what", KINDS)
def test_what_is_refused_leaves_the_net_as_it_was(what: str, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    net_of(["a", "z"]).save(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones((3, 3), np.float32)
    spoil(path, what)
    net, before = net_of(["a", "z"], seed=2), net_of(["a", "z"], seed=2)
    tracemalloc.start()
    with pytest.raises(WeightsError, match=KINDS[what]) as caught:
        net.copy_from(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert same(net, before)


def test_a_caffemodel_whose_last_layer_does_not_fit_leaves_the_net_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    net_of(["a", "z"]).save(path)
    param = pb.NetParameter.FromString(path.read_bytes())
    param.layer[-1].blobs[0].shape.dim[:] = [9, 1]
    path.write_bytes(param.SerializeToString())
    net, before = net_of(["a", "z"], seed=2), net_of(["a", "z"], seed=2)
    with pytest.raises(WeightsError, match=r"expected shape \(3, 3\), the file has \(9, 1\)"):
        net.copy_from(path)
    assert same(net, before)


def test_the_second_of_two_files_is_checked_before_the_first_is_copied(tmp_path: Path) -> None:
    net_of(["a"]).save(tmp_path / "a.caffemodel")
    net_of(["z"], size=5).save(tmp_path / "z.caffemodel.h5")
    net, before = net_of(["a", "z"], seed=2), net_of(["a", "z"], seed=2)
    with pytest.raises(WeightsError, match=r"z\.caffemodel\.h5: layer \"z\""):
        net.copy_from(f"{tmp_path}/a.caffemodel,{tmp_path}/z.caffemodel.h5")
    assert same(net, before)


@pytest.mark.parametrize("ending", ["caffemodel", "caffemodel.h5", "safetensors"])
@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_is_changed_between_check_and_copy(
    ending: str, replaced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / f"w.{ending}", tmp_path / f"other.{ending}"
    net_of(["a"]).save(path)
    net_of(["a"], seed=9).save(other)
    checked = weights._checked

    def change(*given: Any) -> list[str]:
        found = checked(*given)
        if replaced:
            os.replace(other, path)
        else:
            path.write_bytes(other.read_bytes())
        return found

    monkeypatch.setattr(weights, "_checked", change)
    with pytest.raises(WeightsError, match=r"w\..*: was changed while it was loaded"):
        net_of(["a"], seed=2).copy_from(path)


def test_layers_that_the_net_has_not_are_not_read(tmp_path: Path) -> None:
    """A file of 77 kB can unpack to gigabytes."""
    net_of(["a"]).save(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        for i in range(40):
            file.create_dataset(f"data/bomb{i}/0", (1 << 23,), "f4", chunks=(1 << 20,), compression="gzip")
    net = net_of(["a"], seed=2)
    tracemalloc.start()
    net.copy_from(tmp_path / "w.h5")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    assert same(net, net_of(["a"]))


def test_a_name_behind_its_blobs(tmp_path: Path) -> None:
    """Fields of a message may stand in any order, and the last name counts."""
    net = net_of(["a", "z"])
    net.save(tmp_path / "w.caffemodel")
    param = pb.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    content = b""
    for layer in param.layer:
        name = pb.LayerParameter(name=layer.name)
        layer.name = "wrong"
        body = layer.SerializeToString() + name.SerializeToString()
        content += encode_key(100, BYTES) + encode_varint(len(body)) + body
    (tmp_path / "w.caffemodel").write_bytes(content)
    fresh = net_of(["a", "z"], seed=2)
    fresh.copy_from(tmp_path / "w.caffemodel")
    assert same(net, fresh)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
@pytest.mark.parametrize("name", ["w.caffemodel", "w.h5"])
def test_special_files_are_refused_at_once(name: str, make: Any, tmp_path: Path) -> None:
    make(tmp_path / name)
    with pytest.raises(WeightsError, match=r"expected weights, this is a (pipe|folder)"):
        net_of(["a"]).copy_from(tmp_path / name)
    with pytest.raises(WeightsError, match="expected weights, this is a device"):
        net_of(["a"]).copy_from("/dev/zero")


def test_a_path_with_a_comma_that_exists_is_one_path(tmp_path: Path) -> None:
    net, other = net_of(["a"]), net_of(["z"])
    net.save(tmp_path / "one,two.caffemodel")
    other.save(tmp_path / "z.caffemodel")
    fresh = net_of(["a", "z"], seed=2)
    fresh.copy_from(f"{tmp_path}/one,two.caffemodel,{tmp_path}/z.caffemodel")
    assert (fresh.params["a"][0].peek() == net.params["a"][0].peek()).all()
    assert (fresh.params["z"][0].peek() == other.params["z"][0].peek()).all()
