"""Every setting of the forks' layers is followed, or an error in one line, or has no effect and the schema says so."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import PIL.Image
import pytest
from google.protobuf import text_format

from dragon.data import encode_datum, write_lmdb
from dragon.data.detection.annotations import Object
from dragon.data.detection.voc import voc_xml
from dragon.data.source import open_source
from dragon.proto import dragon_pb2 as pb
from dragon.proto.comments import message_comments
from tests.data.detection.helpers import write_scenes
from tests.layers.fork_fields import MORE, PROBES
from tests.layers.fork_fields.probe import Probe, leaves, outcome, same
from tests.layers.test_region_loss import LABELS, TREE

CASES = [(probe, path) for probe in PROBES for path in probe.fields]
KINDS = sorted({probe.kind for probe in PROBES})


Outcomes = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def plain_outcomes() -> Outcomes:
    """What each probe gives without a change, filled by the first test that asks."""
    return {}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of the layers, with the files that settings name."""
    folder = tmp_path_factory.mktemp("fork_fields")
    for name, names in (("labels", "abcd"), ("others", "efgh")):
        items = "".join(f'item {{ name: "{letter}" label: {k} }}\n' for k, letter in enumerate(names))
        (folder / f"{name}.prototxt").write_text(items)
    (folder / "labels_voc.prototxt").write_text('item { name: "cat" label: 5 } item { name: "dog" label: 6 }')
    (folder / "sizes.txt").write_text("one 40 50\ntwo 60 40\n")
    (folder / "more.txt").write_text("one 80 50\nthree 60 40\n")
    (folder / "tiny.txt").write_text("one 4 5\ntwo 6 4\n")
    (folder / "nine.tree").write_text("".join(f"n{i:08} {parent}\n" for i, parent in enumerate(TREE)))
    (folder / "nine.map").write_text("\n".join(map(str, LABELS)))
    write_scenes(folder / "scenes")
    write_scenes(folder / "lmdb")
    datum = pb.Datum.FromString(encode_datum(np.zeros((3, 4, 4), np.uint8), 1))
    write_lmdb(folder / "plain", [(b"0", pb.AnnotatedDatum(datum=datum).SerializeToString())])
    _write_voc(folder / "voc")
    _write_regions(folder)
    return folder


def _write_regions(folder: Path) -> None:
    rng = np.random.default_rng(5)
    with closing(open_source(folder / "lmdb", pb.DataParameter.LMDB)) as source:
        keys = [source.key(i).decode() for i in range(len(source))]
    for file_name, names in (("regions", ["0", "1"]), ("others", ["0", "1"]), ("records", keys)):
        with h5py.File(folder / f"{file_name}.h5", "w") as file:
            for name in names:
                corner = rng.uniform(0, 15, (60, 2))
                file[name] = np.concatenate([corner, corner + rng.uniform(2, 14, (60, 2))], axis=1)


def _write_voc(folder: Path) -> None:
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(3)
    for i, objects in enumerate(([("cat", (3, 4, 12, 15))], [("dog", (2, 2, 20, 20)), ("cat", (1, 1, 9, 9))])):
        PIL.Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)).save(folder / f"JPEGImages/{i}.png")
        made = [Object(kind, box, kind == "cat" and i == 1) for kind, box in objects]
        (folder / f"Annotations/{i}.xml").write_bytes(voc_xml(f"{i}.png", 30, 24, made))
    (folder / "ImageSets/Main/trainval.txt").write_text("0\n1\n")
    (folder / "ImageSets/Main/test.txt").write_text("1\n")


@pytest.fixture(autouse=True)
def _in_folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)


@pytest.mark.parametrize(("probe", "path"), CASES, ids=[f"{probe.kind}-{path}" for probe, path in CASES])
def test_a_setting(
    probe: Probe, path: str, files: Path, plain_outcomes: Outcomes, caplog: pytest.LogCaptureFixture
) -> None:
    text, name = probe.fields[path], path.rpartition(".")[2]
    if id(probe) not in plain_outcomes:
        plain_outcomes[id(probe)] = outcome(probe, probe.param(), files)
    plain = plain_outcomes[id(probe)]
    assert "error" not in plain, plain["error"]
    if text[0] in "!~":
        with caplog.at_level(logging.WARNING, "dragon"):
            found = outcome(probe, probe.param(path, text[2:]), files)
        if text[0] == "!":
            assert "error" in found
            said = found["error"]
            assert "\n" not in said
            assert f'layer "one" ({probe.kind})' in said
            assert name in said
        else:
            assert same(found, plain)
            assert f'layer "one" ({probe.kind})' in caplog.text
        return
    first, second = (probe.param(path, value) for value in text.removeprefix("= ").split(" | "))
    assert first != second
    one, other = (outcome(probe, param, files) for param in (first, second))
    if text.startswith("= "):
        assert "error" not in one, one["error"]
        assert same(one, other)
    else:
        assert not same(one, other)
        assert "error" not in one or "error" not in other, f"{one} {other}"
    assert f"{name}: " in text_format.MessageToString(second) or f"{name} {{" in text_format.MessageToString(second)


@pytest.mark.parametrize("kind", KINDS)
def test_no_setting_is_forgotten(kind: str) -> None:
    known = {path for probe in PROBES if probe.kind == kind for path in probe.fields}
    assert known == {path for path, _ in leaves(kind, MORE.get(kind, ()))}


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_says_what_has_no_effect(kind: str) -> None:
    """And what is not offered; of settings that another form of the layer follows nothing is asked."""
    texts: dict[str, list[str]] = {}
    for probe in PROBES:
        if probe.kind == kind:
            for path, text in probe.fields.items():
                texts.setdefault(path, []).append(text)
    for path, field in leaves(kind, MORE.get(kind, ())):
        comment = message_comments(field.containing_type.name).fields.get(field.name, "")
        assert comment, f"{path} has no comment"
        if all(text.startswith("= ") for text in texts[path]):
            assert "without" in comment or "for" in comment or "beam search" in comment, f"{path}: {comment}"
