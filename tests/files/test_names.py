"""Any text is a name of a layer or blob; none is a path, in HDF5 files and as a file name."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragon.files.names import file_names, find_item, links, mark, named_groups

SETS = [
    ["conv1", "ip"],
    ["inc/a", "inc/b"],
    ["inc/a", "inc"],
    ["a/x", "a", "a/x/y", "a%2Fx", "a%2Fx%"],
    [".", "..", "", "/", "//", "%", "%%", "%2E", "a/", "/a", "a//b", "a/./b", "a/../b", "../a"],
    ["0", "a/0", "0/a", "0/0"],
    ["é/日本", "é", " ", "\n", "a\tb", "a\0b", "\0"],
    ["x" * 5000, "x" * 5000 + "/y", "/" * 300],
]
names = st.lists(st.text(alphabet="ab/.%\0é2EF", max_size=6), unique=True, max_size=8)


def stored(path: Path, wanted: list[str]) -> None:
    """Groups of these names in a file, each with a dataset that says which."""
    link_of = links(wanted)
    with h5py.File(path, "w") as file:
        for i, name in enumerate(wanted):
            group = file.create_group(link_of[name])
            mark(group, name, link_of[name])
            group.create_dataset("0", data=i)


@pytest.mark.parametrize("wanted", SETS)
def test_groups_of_any_names_are_found_again(wanted: list[str], tmp_path: Path) -> None:
    stored(tmp_path / "a.h5", wanted)
    with h5py.File(tmp_path / "a.h5") as file:
        found = {name: int(group["0"][()]) for name, group in named_groups(file) if "0" in group and name in wanted}
        assert found == {name: i for i, name in enumerate(wanted)}
        assert [int(find_item(file, name)["0"][()]) for name in wanted] == list(range(len(wanted)))
        assert find_item(file, "not there") is None


@settings(deadline=None, max_examples=60)
@given(wanted=names)
def test_links_are_distinct_and_lead_back(wanted: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("links")
    stored(folder / "a.h5", wanted)
    with h5py.File(folder / "a.h5") as file:
        found = [name for name, group in named_groups(file) if isinstance(group.get("0"), h5py.Dataset)]
    assert sorted(found) == sorted(wanted)


def test_names_that_caffe_can_write_are_written_as_by_caffe() -> None:
    assert links(["conv", "inc/a", "inc/b/c"]) == {"conv": "conv", "inc/a": "inc/a", "inc/b/c": "inc/b/c"}
    assert links(["inc/a", "inc"]) == {"inc": "inc", "inc/a": "inc%2Fa"}


def test_a_circle_of_groups_ends(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("data/a")
        group["back"] = file["data"]
        group["again"] = group
        assert [name for name, _ in named_groups(file["data"])] == ["a", "a/back"]


@pytest.mark.parametrize("wanted", SETS)
def test_file_names_stay_in_their_folder(wanted: list[str], tmp_path: Path) -> None:
    name_of = file_names(wanted)
    assert set(name_of) == set(wanted)
    for name in wanted:
        (tmp_path / name_of[name]).write_text(name, newline="")
    found = {path.name: path.read_bytes().decode() for path in tmp_path.iterdir()}
    assert found == {name_of[name]: name for name in wanted}


def test_a_slash_becomes_an_underscore_where_that_is_free() -> None:
    assert file_names(["inc/a", "b"]) == {"inc/a": "inc_a", "b": "b"}
    assert file_names(["inc/a", "inc_a"]) == {"inc/a": "inc%2Fa", "inc_a": "inc_a"}
