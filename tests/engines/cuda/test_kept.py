"""What compilers gave is kept under a name that changes with everything that they were given."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.engines.cuda import kept


def test_work_is_done_once_for_each_name_and_its_errors_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "cache_folder", lambda: tmp_path)
    done: list[str] = []

    def work(text: str) -> bytes:
        done.append(text)
        if text == "wrong":
            raise RuntimeError(text)
        return text.encode()

    for text in ("a", "a", "b"):
        assert kept.once(kept.key("options", text), partial(work, text)) == text.encode()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="wrong"):
            kept.once("k", partial(work, "wrong"))
    assert done == ["a", "b", "wrong", "wrong"]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".kept"] * 2


def test_names_differ_where_texts_are_joined_in_another_way() -> None:
    assert kept.key("a", "b") != kept.key("ab") != kept.key("a", "", "b")


def test_another_compiler_has_another_version(tmp_path: Path) -> None:
    program = tmp_path / "compiler"
    program.write_text("1")
    before = kept.version(program)
    program.write_text("22")
    assert kept.version(program) != before
