from __future__ import annotations

import pytest

from dragon.tools.common.arguments import normalise


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["train", "-solver", "s"], ["train", "--solver", "s"]),
        (["-solver=s_1.prototxt"], ["--solver=s_1.prototxt"]),
        (["--sigint_effect=stop", "-sighup_effect", "none"], ["--sigint-effect=stop", "--sighup-effect", "none"]),
        (["--output", "my_dir", "-gpu", "0"], ["--output", "my_dir", "--gpu", "0"]),
        (["--seed", "-1", "-h"], ["--seed", "-1", "-h"]),
        (["-logtostderr=1", "--alsologtostderr", "-v=2", "train"], ["train"]),
        (["--", "-solver"], ["--", "-solver"]),
    ],
)
def test_spelling(given: list[str], expected: list[str]) -> None:
    assert normalise(given) == (expected, False)


def test_debug_may_stand_anywhere() -> None:
    assert normalise(["train", "-debug", "-solver", "s"]) == (["train", "--solver", "s"], True)
    assert normalise(["train", "--", "--debug"]) == (["train", "--", "--debug"], False)
