"""Random texts of older forms are brought to the present one; DRAGON_TEXTS=5000 for more."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dragon.proto import dragon_pb2 as pb
from dragon.proto.layer_names import name_layers
from dragon.proto.text import parse_text, read_net_source
from dragon.proto.upgrade import needs_upgrade
from tests.proto.random_texts import RandomText

TEXTS, PARTS = int(os.environ.get("DRAGON_TEXTS", "60")), 4


def upgraded(text: str, folder: Path) -> tuple[pb.NetParameter, str]:
    """What a text says, and the text in the present form."""
    path = folder / "net.prototxt"
    path.write_bytes(text.encode())
    definition, source = read_net_source(path)
    new = source.upgrade(definition.message)
    assert new is not None
    return definition.message, new


@pytest.mark.parametrize("part", range(PARTS))
def test_upgrade_of_random_texts(part: int, tmp_path: Path) -> None:
    for seed in range(part, TEXTS, PARTS):
        old = RandomText(seed)
        meant, new = upgraded(old.text, tmp_path)
        found = parse_text(new, pb.NetParameter())
        assert not needs_upgrade(found), seed
        assert name_layers(found) == name_layers(meant), seed
        assert upgraded(new, tmp_path)[1] == new, f"{seed}: a second upgrade changes nothing"
        kept = [int(number) for number in re.findall(r"# keep (\d+)", new)]
        assert len(set(kept)) == len(kept), seed
        outside = re.sub(r"(?s)(input_shape|param|image_data_param)\s*[{<].*?[}>]", "", old.text)
        assert set(kept) >= {int(number) for number in re.findall(r"# keep (\d+)", outside)}, seed
        lines = new.split("\r\n" if "\r\n" in old.text else "\n")
        assert all(line.strip() and not re.search("[\r\n]", line) for line in lines[:-1]), f"{seed}: blank line"
        assert not [line for line in lines if line != line.rstrip() and line not in old.text], f"{seed}: a space"
