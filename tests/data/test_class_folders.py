"""Images in a folder for each class: reading them, training on them, converting and naming the classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import dragon
from dragon.data.class_folders import class_names, read_class_folders
from dragon.data.images import read_image_list
from dragon.errors import DataError
from dragon.proto.text import parse_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Classes b, a and C with 1, 2 and 1 images; the grey of an image is its number times 10."""
    files = ["b/1.png", "a/deep/3.PNG", "a/2.png", "C/4.png"]
    for name in files:
        path = tmp_path / "im" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((4, 5, 3), 10 * int(path.stem), np.uint8)).save(path)
    (tmp_path / "im/a/notes.txt").write_text("no image")
    (tmp_path / "im/.hidden").mkdir()
    (tmp_path / "im/readme.md").write_text("beside the classes")
    return tmp_path / "im"


def test_classes_and_files_are_sorted(folder: Path) -> None:
    assert read_class_folders(str(folder)) == (
        ["C", "a", "b"],
        [("C/4.png", 0), ("a/2.png", 1), ("a/deep/3.PNG", 1), ("b/1.png", 2)],
    )


@pytest.mark.parametrize("place", ["im/classes.txt", "classes.txt"])
def test_a_list_of_classes_decides_the_labels(folder: Path, place: str) -> None:
    (folder.parent / place).write_text("a\nzebra\nb\nC\n")
    names, images = read_class_folders(str(folder))
    assert names == ["a", "zebra", "b", "C"]
    assert dict(images) == {"C/4.png": 3, "a/2.png": 0, "a/deep/3.PNG": 0, "b/1.png": 2}


def test_mistakes_are_one_line(folder: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_class_folders(str(folder / "nothing"))
    with pytest.raises(DataError, match="this is a folder, and it has no folder for a class in it"):
        read_class_folders(str(folder / "b"))
    with pytest.raises(DataError, match='is a folder, so root_folder "x/" has no meaning'):
        read_image_list(str(folder), "x/")
    (folder / "classes.txt").write_text("a\nbb\nC\n")
    with pytest.raises(DataError, match=r'class "b" is not in its classes.txt'):
        read_class_folders(str(folder))
    (folder / "classes.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r'classes.txt:3: class "a" is there twice'):
        read_class_folders(str(folder))
    (folder / "classes.txt").unlink()
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match='class "empty" has no image'):
        read_class_folders(str(folder))


NET = """
layer { name: "data" type: "ImageData" top: "data" top: "label"
  image_data_param { source: "%s" batch_size: 3 %s } }
"""


def batches(folder: Path, settings: str, count: int) -> list[list[tuple[int, int]]]:
    """(grey, label) of the images of some batches."""
    text = NET % (folder, settings)
    with dragon.Net(parse_text(text, dragon.proto.dragon_pb2.NetParameter()), dragon.TRAIN, seed=3) as net:
        found = []
        for _ in range(count):
            out = net.forward()
            found.append([(int(x[0, 0, 0]), int(y)) for x, y in zip(out["data"], out["label"], strict=True)])
    return found


def test_image_data_reads_a_folder(folder: Path) -> None:
    assert batches(folder, "", 2) == [[(40, 0), (20, 1), (30, 1)], [(10, 2), (40, 0), (20, 1)]]
    shuffled = batches(folder, "shuffle: true", 4)
    flat = [pair for batch in shuffled for pair in batch]
    every = [(10, 2), (20, 1), (30, 1), (40, 0)]
    assert [sorted(flat[k : k + 4]) for k in (0, 4, 8)] == [every] * 3
    assert shuffled == batches(folder, "shuffle: true", 4)


def test_a_resumed_training_reads_the_same_images(folder: Path, tmp_path: Path) -> None:
    def solver() -> dragon.Solver:
        param = dragon.proto.dragon_pb2.SolverParameter(
            base_lr=0.1, lr_policy="fixed", snapshot_prefix=str(tmp_path / "s"), random_seed=1
        )
        text = NET % (folder, "shuffle: true") + (
            'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }'
            'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
        )
        parse_text(text, param.net_param)
        return dragon.get_solver(param)

    with solver() as first, solver() as second:
        first.step(3)
        state = first.snapshot()
        first.step(4)
        second.restore(state)
        second.step(4)
        assert first.losses == second.losses
        np.testing.assert_array_equal(first.net.blobs["data"].peek(), second.net.blobs["data"].peek())


def test_a_line_break_in_a_name(tmp_path: Path) -> None:
    (tmp_path / "a\nb").mkdir()
    with pytest.raises(DataError, match=r'the class "a\\nb" has a line break in its name'):
        class_names(str(tmp_path))
