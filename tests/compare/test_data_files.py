"""What is in the files that layers read is in a run's key, and where they lie is not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from PIL import Image

from dragon.compare import compare
from dragon.compare.data_files import file_digest, forget_files, list_digest
from dragon.compare.plan import Run, make_plan
from dragon.compare.reading import read_experiment
from dragon.compare.training import is_small
from dragon.compare.tuning import plan_tuning
from dragon.errors import DataError
from dragon.proto.definition import Definition
from dragon.solver.solver import Solver
from tests.compare.test_compare import Silent

HDF5 = """
layer { name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "LIST" batch_size: 5 } }
"""
IMAGES = """
layer { name: "data" type: "ImageData" top: "data" top: "label"
  image_data_param { source: "LIST" root_folder: "images/" batch_size: 2 } }
"""
REST = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 4 test_iter: 1 test_interval: 2'


def experiment(folder: Path, net: str) -> Path:
    (folder / "net.prototxt").write_text(net)
    (folder / "solver.prototxt").write_text(SOLVER)
    path = folder / "mine.yaml"
    path.write_text("solver: solver.prototxt\nvariants: [{name: plain}]\n")
    return path


def run_of(path: Path) -> Run:
    return make_plan(read_experiment(path), "numpy", "fp32").first("plain")


def write_rows(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file["data"] = rng.normal(size=(10, 4)).astype(np.float32)
        file["label"] = rng.integers(0, 3, 10).astype(np.float32)


def hdf5_lists(folder: Path) -> Path:
    for seed, name in enumerate(("a.h5", "my b.h5")):
        write_rows(folder / name, seed)
    (folder / "list.txt").write_text(f"{folder}/a.h5\n{folder}/my b.h5\n")
    return experiment(folder, HDF5.replace("LIST", f"{folder}/list.txt") + REST)


def image_lists(folder: Path) -> Path:
    (folder / "images").mkdir()
    for k, name in enumerate(("one.png", "2")):
        Image.fromarray(np.full((4, 4, 3), k, np.uint8)).save(folder / "images" / name, "png")
    (folder / "list.txt").write_text("one.png 0\n2 1\n")
    return experiment(
        folder, IMAGES.replace("LIST", f"{folder}/list.txt").replace("images/", f"{folder}/images/") + REST
    )


MAKERS = {"HDF5Data": hdf5_lists, "ImageData": image_lists}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_copy_of_listed_data_has_the_key_of_the_original(make: Callable[[Path], Path], tmp_path: Path) -> None:
    keys = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        keys.append(run_of(make(tmp_path / name)).id)
    assert keys[0] == keys[1]


CHANGES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "rows": (hdf5_lists, lambda folder: write_rows(folder / "my b.h5", 7)),
    "order": (hdf5_lists, lambda folder: (folder / "list.txt").write_text(f"{folder}/my b.h5\n{folder}/a.h5\n")),
    "label": (image_lists, lambda folder: (folder / "list.txt").write_text("one.png 0\n2 2\n")),
    "picture": (image_lists, lambda folder: shutil.copy(folder / "images" / "one.png", folder / "images" / "2")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_in_listed_data_changes_the_key(name: str, tmp_path: Path) -> None:
    make, change = CHANGES[name]
    path = make(tmp_path)
    before = run_of(path).id
    assert run_of(path).id == before
    change(tmp_path)
    assert run_of(path).id != before


def test_beyond_a_size_times_stand_for_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.compare.data_files._MOST_BYTES", 10)
    path = image_lists(tmp_path)
    before = run_of(path).id
    picture = tmp_path / "images" / "one.png"
    os.utime(picture, ns=(1, 1))
    assert run_of(path).id != before


def test_a_folder_has_the_digest_of_what_is_in_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "x").mkdir(parents=True)
        (tmp_path / name / "x" / "1").write_text("one")
    (tmp_path / "b" / "lock.mdb").write_text("of readers")
    assert list_digest(str(tmp_path / "a"), "") == list_digest(str(tmp_path / "b"), "")
    (tmp_path / "b" / "x" / "1").write_text("two")
    forget_files()
    assert list_digest(str(tmp_path / "a"), "") != list_digest(str(tmp_path / "b"), "")


def test_a_line_of_many_words_is_read(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(" ".join(["word"] * 3000) + "\n" + "3 " * 3000)
    assert len(list_digest(str(tmp_path / "list.txt"), "")) == 64


def test_what_is_no_list_counts_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "matrix").write_bytes(bytes(range(256)))
    assert list_digest(str(tmp_path / "matrix"), "") == file_digest(str(tmp_path / "matrix"))
    assert list_digest(str(tmp_path / "gone"), "") == str(tmp_path / "gone"), "the layer reports it later"


def test_the_code_of_a_python_layer_is_in_the_key(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    net = tmp_path / "plain.prototxt"
    layer = 'layer { name: "p" type: "Python" bottom: "ip" python_param { module: "mine.own" layer: "L" } }'
    net.write_text(net.read_text() + layer)
    (tmp_path / "mine").mkdir()
    keys = [run_of(comparison).id]
    for code in ("a = 1", "a = 2"):
        (tmp_path / "mine" / "own.py").write_text(code)
        keys.append(run_of(comparison).id)
    assert len(set(keys)) == 3


def test_files_beside_the_net_are_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    path = hdf5_lists(tmp_path / "sub")
    net = tmp_path / "sub" / "net.prototxt"
    net.write_text(net.read_text().replace(f"{tmp_path}/sub/list.txt", "list.txt"))
    monkeypatch.chdir(tmp_path)
    layer = run_of(path).solver.train_net_param.layer[0]
    assert Path(layer.hdf5_data_param.source) == tmp_path / "sub" / "list.txt"


def beside_the_net(folder: Path, kind: str) -> Path:
    """An experiment whose net, list and listed files lie in `folder`; the net and the list name them from there."""
    path = MAKERS[kind](folder)
    for file in (folder / "net.prototxt", folder / "list.txt"):
        file.write_text(file.read_text().replace(f"{folder}/", ""))
    return path


@pytest.mark.usefixtures("workers_here")
@pytest.mark.parametrize("kind", MAKERS)
def test_names_in_a_list_beside_the_net_are_found_as_in_training(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder: by the workers, of runs and of measurements, and for the keys."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "elsewhere").mkdir()
    path = beside_the_net(tmp_path / "sub", kind)
    path.write_text(
        "solver: solver.prototxt\nvariants: [{name: plain}, {name: same}]\nequal: [plain, same]\nbudget: 60 s\n"
        "cost: {seconds: 0.01, settings: {usual: {}}}\ntest_on: [test, train]\n"
    )
    monkeypatch.setattr("dragon.compare.measurements.PAIR_S", 0.0)
    monkeypatch.setattr("dragon.compare.measurements.SPEED_S", 0.05)
    monkeypatch.chdir(tmp_path / "elsewhere")
    Solver(str(tmp_path / "sub" / "solver.prototxt"), engine="numpy", seed=1, verbose=False).close()
    run = run_of(path)
    assert is_small(Definition(run.solver.train_net_param, folder=Path(str(run.net_folder))))
    report = compare(path, "out", engine="numpy", jobs=1, display=Silent())
    cells = json.loads(report.with_name("results.json").read_text())["cells"]
    assert [cell["diverged"] for cell in cells] == [0, 0]
    _, change = CHANGES["rows" if kind == "HDF5Data" else "picture"]
    change(tmp_path / "sub")
    assert run_of(path).id != run.id


def test_the_code_of_a_python_layer_beside_the_net_is_in_the_key(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    net = tmp_path / "plain.prototxt"
    net.write_text(
        net.read_text() + 'layer { name: "p" type: "Python" bottom: "ip" python_param { module: "my_own" layer: "L" } }'
    )
    keys = set()
    for code in ("a = 1", "a = 2"):
        (tmp_path / "my_own.py").write_text(code)
        keys.add(run_of(comparison).id)
    assert len(keys) == 2


def test_a_record_that_is_written_later_changes_the_key(comparison: Path, synthetic: Path, tmp_path: Path) -> None:
    """The digest that dataset.json has is then an old one."""
    data = tmp_path / "copy"
    shutil.copytree(synthetic, data)
    comparison.write_text(comparison.read_text().replace(str(synthetic), str(data)))
    before = run_of(comparison).id
    with lmdb.open(str(data / "synthetic_train_lmdb"), map_size=1 << 24) as env, env.begin(write=True) as transaction:
        key, value = next(iter(transaction.cursor()))
        transaction.put(key, value[:-9] + bytes([value[-9] ^ 1]) + value[-8:])
    assert run_of(comparison).id != before


def test_a_test_has_as_many_batches_as_its_own_data(comparison: Path) -> None:
    """Wherever the layer of the test set stands in the net: 60 images to test with, 200 to train with."""
    net = comparison.with_name("plain.prototxt")
    head, train, test, rest = net.read_text().split("layer { name", 3)
    comparison.write_text(
        comparison.read_text().replace("name: A", "test_batches: 100\ntest_on: [test, train]\nname: A")
    )
    for order in ((train, test), (test, train)):
        net.write_text("layer { name".join([head, *order, rest]))
        assert list(run_of(comparison).solver.test_iter) == [3, 10]


def test_a_missing_list_is_one_line(tmp_path: Path) -> None:
    path = experiment(tmp_path, HDF5.replace("LIST", "gone.txt") + REST)
    assert len(run_of(path).id) == 20, "the layer says so when it is made"
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace("HDF5Data", "Data").replace("hdf5_data_param", "data_param"))
    with pytest.raises(DataError, match=r'"gone\.txt" does not exist'):
        run_of(path)


def test_a_net_that_reads_other_data_takes_no_folder_of_data(tmp_path: Path, synthetic: Path) -> None:
    """It would be tuned on its test data."""
    path = hdf5_lists(tmp_path)
    text = path.read_text()
    path.write_text(f"{text}dataset: {synthetic}\n")
    with pytest.raises(DataError, match=r'variant "plain": layer "data" \(HDF5Data\) reads none of the data folder'):
        run_of(path)


def test_tuning_needs_tests_of_the_validation_images(comparison: Path, synthetic: Path, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    hdf5_lists(tmp_path / "rows")
    net = comparison.with_name("plain.prototxt")
    head, train, _, rest = net.read_text().split("layer { name", 3)
    own = HDF5.replace("LIST", f"{tmp_path}/rows/list.txt").replace("hdf5_data", "include { phase: TEST } hdf5_data")
    net.write_text("layer { name".join([head, train, rest]) + own)
    (tmp_path / "data").symlink_to(synthetic)
    (tmp_path / "data_val").mkdir()
    for name, part in (("train", "train"), ("test", "val")):
        (tmp_path / "data_val" / f"synthetic_{part}_lmdb").symlink_to(synthetic / f"synthetic_{name}_lmdb")
    tune = "tune: {over: {base_lr: [0.01, 0.1]}}"
    comparison.write_text(f"solver: solver.prototxt\ndataset: {tmp_path}/data\nvariants: [{{name: plain}}]\n{tune}\n")
    experiment = read_experiment(comparison)
    assert experiment.tune is not None
    with pytest.raises(
        DataError, match=r"\(HDF5Data\) reads none of .*; tuning needs tests with its validation images"
    ):
        plan_tuning(experiment, experiment.tune, "numpy", "fp32", None)
