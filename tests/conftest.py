"""What holds for every test."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_WRITTEN = (".caffemodel", ".solverstate", ".h5", ".prototxt", ".jsonl", ".json", ".csv", ".html", ".png")


def pytest_collection_finish() -> None:
    _leave_out_of_collections()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path:
        _leave_out_of_collections()


def _leave_out_of_collections() -> None:
    """Take all that is there by now out of garbage collections, of which a captured net makes one each.

    There are thousands of tests, and pytest keeps three reports of each that has run.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_is_left_in_the_repository() -> Iterator[None]:
    """A test writes to folders of its own: a snapshot in the root of the repository would be committed by mistake."""
    before = _files()
    yield
    left = _files() - before
    assert not left, f"left in {ROOT} by this test or one beside it: {', '.join(sorted(left))}"


def _files() -> set[str]:
    return {name for name in os.listdir(ROOT) if name.endswith(_WRITTEN)}  # twice for each test, so no paths
