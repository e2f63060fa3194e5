from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dragon.errors import DragonError
from dragon.files.names import links, mark
from tests.layers.helpers import One

SIZES = [5, 3]
X = np.random.default_rng(1).standard_normal((8, 2, 3)).astype(np.float32)


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    start = 0
    for i, n in enumerate(SIZES):
        with h5py.File(tmp_path / f"{i}.h5", "w") as file:
            file["data"] = X[start : start + n]
            file["label"] = np.arange(start, start + n)
        start += n
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{tmp_path}/{i}.h5\n" for i in range(len(SIZES))))
    return path


def make(listing: Path, setting: str = "", tops: str = "data label", seed: int = 3, more: str = "") -> One:
    named = " ".join(f'top: "{name}"' for name in tops.split())
    size = "" if "batch_size" in setting else "batch_size: 3"
    text = f'type: "HDF5Data" {named} hdf5_data_param {{ source: "{listing}" {size} {setting} }} {more}'
    return One(text, n_top=len(tops.split()), seed=seed)


def labels(one: One, batches: int) -> list[int]:
    found: list[int] = []
    for _ in range(batches):
        data = one.forward()
        rows = one.top[1].data.astype(int).tolist()
        np.testing.assert_array_equal(data, X[rows])
        found += rows
    return found


def test_batches_cross_files_and_epochs(listing: Path) -> None:
    assert labels(make(listing), 6) == [i % 8 for i in range(18)]


def test_shuffled_epochs_are_whole_and_differ(listing: Path) -> None:
    found = labels(make(listing, "shuffle: true"), 16)
    epochs = [found[i : i + 8] for i in range(0, 48, 8)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    # both files come first now and then, and rows change places
    assert {tuple(sorted(epoch[:3])) == (5, 6, 7) for epoch in epochs} == {True, False}
    assert len({tuple(epoch) for epoch in epochs}) > 2


def test_resume_is_exact(listing: Path) -> None:
    one = make(listing, "shuffle: true")
    labels(one, 5)
    other = make(listing, "shuffle: true")
    other.layer.load_state(one.layer.state())
    assert labels(other, 9) == labels(one, 9)


def test_batch_larger_than_the_data(listing: Path) -> None:
    assert labels(make(listing, "batch_size: 20"), 1) == [i % 8 for i in range(20)]


@pytest.mark.parametrize(
    ("content", "tops", "setting", "message"),
    [
        (None, "data lable", "", r"0\.h5 has no dataset \"lable\", it has \['data', 'label'\]"),
        ("", "data", "", "list of HDF5 files .* is empty"),
        ("nowhere.h5", "data", "", r'HDF5 file "nowhere\.h5" does not exist'),
        ("LIST", "data", "", r"list\.txt: not an HDF5 file"),
        (None, "data", "batch_size: 0", "needs a batch_size of at least 1"),
    ],
)
def test_messages(listing: Path, content: str | None, tops: str, setting: str, message: str) -> None:
    if content is not None:
        listing.write_text(content.replace("LIST", str(listing)))
    with pytest.raises(DragonError, match=rf'layer "one" \(HDF5Data\): .*{message}'):
        make(listing, setting, tops)


def test_a_group_is_named(listing: Path) -> None:
    with h5py.File(listing.parent / "0.h5", "a") as file:
        file["group/inner"] = X[:5]
    with pytest.raises(DragonError, match=r"0\.h5: \"group\" is a group of \['inner'\], expected a dataset"):
        make(listing, tops="data group")


def test_has_no_transformation(listing: Path) -> None:
    with pytest.raises(DragonError, match="cannot transform its data"):
        make(listing, more="transform_param { scale: 2 }")


def test_rows_that_do_not_match(listing: Path) -> None:
    with h5py.File(listing.parent / "0.h5", "a") as file:
        del file["label"]
        file["label"] = np.arange(4)
    with pytest.raises(DragonError, match=r"same number of rows, at least one, got \{'data': 5, 'label': 4\}"):
        make(listing)


@pytest.mark.parametrize("name", ["inc/a", "inc", "a//b", ".", "%"])
def test_tops_of_any_name(name: str, listing: Path) -> None:
    for i in range(len(SIZES)):
        with h5py.File(listing.parent / f"{i}.h5", "a") as file:
            link_of = links({"inc", name} if name == "inc/a" else [name])
            mark(file.create_dataset(link_of[name], data=file["label"][()]), name, link_of[name])
    found = make(listing, tops=name).forward()
    np.testing.assert_array_equal(found, [0, 1, 2])


@pytest.mark.parametrize("how", ["external", "link", "virtual"])
def test_values_of_other_files_are_not_read(how: str, listing: Path) -> None:
    secret = listing.parent / "secret"
    secret.write_bytes(b"1234" * 8)
    with h5py.File(listing.parent / "0.h5", "a") as file:
        del file["data"]
        if how == "external":
            file.create_dataset("data", (5,), "f4", external=[(str(secret), 0, 20)])
        elif how == "link":
            file["data"] = h5py.ExternalLink(str(listing.parent / "1.h5"), "/data")
        else:
            layout = h5py.VirtualLayout((5,), "f4")
            layout[:3] = h5py.VirtualSource(str(listing.parent / "1.h5"), "label", (3,))
            file.create_virtual_dataset("data", layout)
    with pytest.raises(DragonError, match=r"0\.h5: .*data.* (lie in another file|another file|virtual dataset)"):
        make(listing)


def test_several_datasets_that_unpack_to_too_much(listing: Path) -> None:
    with h5py.File(listing.parent / "0.h5", "a") as file:
        for i in range(40):
            file.create_dataset(f"bomb{i}", (5, 1 << 20), "f4", chunks=(5, 1 << 16), compression="gzip")
    with pytest.raises(DragonError, match="in a small file"):
        make(listing, tops=" ".join(f"bomb{i}" for i in range(40)))


def test_complex_numbers_are_refused(listing: Path) -> None:
    with h5py.File(listing.parent / "0.h5", "a") as file:
        file["z"] = np.ones(5, np.complex64)
    with pytest.raises(DragonError, match="/z holds complex numbers, expected real numbers"):
        make(listing, tops="z")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"epoch": 0, "file": 2, "row": 0}, "the snapshot is at file 2, there are 2"),
        ({"epoch": 0, "file": 1}, "the snapshot holds no row"),
        ({"epoch": 0, "file": 1, "row": 3}, "the snapshot is at row 3 of file 1, which has 3"),
    ],
)
def test_a_position_that_is_not_there(state: dict[str, int | float | bytes], message: str, listing: Path) -> None:
    one = make(listing)
    with pytest.raises(DragonError, match=message):
        one.layer.load_state(state)
