"""Averages of one training by several rules: nets whose rule can be followed."""

from __future__ import annotations

import pytest

from dragon.compare.averages import own_rule
from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.proto.upgrade import upgrade_net
from dragon.surgery.model import Model
from dragon.surgery.present import to_present

LAYER = 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }'


@pytest.mark.parametrize("profile", ["dragon-2016", "neopenx"])
def test_those_of_a_dialect_are_followed_after_an_upgrade(profile: str) -> None:
    """The first Dragon averages the standard deviation, and neither dialect reads `average`."""
    net = upgrade_net(parse_text(f'profile: "{profile}" {LAYER}', pb.NetParameter()))
    with pytest.raises(PrototxtError, match=f"of the dialect {profile}, of which no other average can be followed"):
        own_rule(net)
    rule = own_rule(to_present(Model(net)).net)
    assert rule["rule"] == (pb.LATEST if profile == "dragon-2016" else pb.CAFFE)
