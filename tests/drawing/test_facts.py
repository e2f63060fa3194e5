"""Shapes of nets whose data is there, is missing, or is given on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.drawing import facts_of
from dragon.errors import UsageError
from dragon.models.facts import read_facts
from dragon.proto import dragon_pb2 as pb
from tests.drawing.nets import MODELS, NET, net_of, zoo


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory from which no data is found."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("elsewhere")
def test_missing_data_has_the_shape_of_the_crop_or_of_the_deployed_net() -> None:
    facts, remark = facts_of(zoo("googlenet"), pb.TEST, folder=MODELS / "googlenet")
    assert facts["conv1/7x7_s2"].shapes == ((50, 64, 112, 112),)
    assert remark == "the data cannot be read: shapes are for data 50x3x224x224 (its crop)"
    facts, remark = facts_of(zoo("lenet"), pb.TRAIN, folder=MODELS / "lenet")
    assert facts["conv1"].shapes == ((64, 20, 24, 24),)
    assert "as in deploy.prototxt" in remark
    assert sum(f.learned for f in facts.values()) == read_facts("lenet").params
    facts, remark = facts_of(zoo("lenet"), pb.TRAIN)
    assert not facts
    assert remark.startswith("shapes are left out: ")


@pytest.mark.usefixtures("elsewhere")
def test_shapes_that_are_given() -> None:
    facts, remark = facts_of(zoo("lenet"), pb.TRAIN, {"data": (2, 1, 32, 32)})
    assert facts["conv1"].shapes == ((2, 20, 28, 28),)
    assert facts["mnist"].shapes == ((2, 1, 32, 32), (2,))
    assert remark == ""
    assert facts_of(zoo("lenet"), pb.TRAIN, {"": (2, 1, 32, 32)})[0] == facts
    with pytest.raises(UsageError, match=r'no data layer gives a blob "dat" \(did you mean "data"\?\)'):
        facts_of(zoo("lenet"), pb.TRAIN, {"dat": (1, 1, 28, 28)})


def test_statistics_are_not_learned() -> None:
    facts, _ = facts_of(net_of(), pb.TEST)
    assert (facts["bn"].learned, facts["bn"].statistics) == (0, 9)
    assert facts["c"].multiply_adds == 180 * 2 * 4 * 2


def test_a_net_that_cannot_be_made_has_no_shapes() -> None:
    facts, remark = facts_of(net_of(NET.replace('bottom: "data" top: "c"', 'bottom: "dta" top: "c"')), pb.TEST)
    assert not facts
    assert 'unknown bottom "dta"' in remark
