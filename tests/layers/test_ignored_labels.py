"""NaN and infinity at ignored labels on the reference."""

from __future__ import annotations

import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.engines.ignored_labels import KINDS, check


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_at_ignored_labels_does_not_count(kind: str) -> None:
    check(kind, lambda text: dragon.Net(parse_text(text, pb.NetParameter()), dragon.TRAIN, engine="numpy"))
