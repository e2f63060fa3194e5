from __future__ import annotations

import pytest

from tests.tools.conftest import Dragon


def test_help_of_all_and_of_one(dragon: Dragon) -> None:
    assert dragon("help").out == dragon("--help").out
    assert dragon("help", "train").out == dragon("train", "--help").out
    assert dragon("help", "bn", "insert").out == dragon("bn", "insert", "--help").out
    assert dragon("help", "convert_imageset").out == dragon("convert-imageset", "--help").out
    assert dragon("help", "device_query").out == dragon("device", "--help").out


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["trian"], 'unknown command "trian" (did you mean "train"?)'),
        (["bn", "insrt"], 'dragon bn: unknown command "insrt" (did you mean "insert"?)'),
        (["qqq"], 'unknown command "qqq"; `dragon --help` lists them'),
        (["train", "x"], "`dragon train` has no commands of its own, got x"),
    ],
)
def test_an_unknown_name(dragon: Dragon, names: list[str], message: str) -> None:
    result = dragon("help", *names)
    assert (result.code, result.error) == (2, message)


@pytest.mark.parametrize(
    "name",
    [
        "run", "classify", "detect", "convert-imageset", "convert-annoset", "compute-image-mean",
        "extract-features", "upgrade", "draw", "parse-log", "plot", "lint", "merge", "split", "fold",
        "recalibrate", "train", "test", "time", "summarize", "compare", "data", "layers", "device", "demo",
        "caffe-names", "help", "show-data",
    ],
)  # fmt: skip
def test_every_help_has_an_example(dragon: Dragon, name: str) -> None:
    result = dragon(name, "--help")
    assert result.code == 0
    assert f"Example: dragon {name} " in " ".join(result.out.split())
