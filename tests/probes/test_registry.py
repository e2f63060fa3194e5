from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from dragon.errors import UsageError
from dragon.probes import AT_END, Probe, create, parse, probe_class, probe_names, read, register, setting, settings_of
from tests.imports import ROOT


def test_each_file_of_measures_is_one_probe_of_its_name() -> None:
    files = {path.stem for path in (ROOT / "dragon/probes/measures").glob("*.py")} - {"__init__"}
    assert files == set(probe_names())


@pytest.mark.parametrize("name", probe_names())
def test_docstrings_say_formula_and_cost(name: str) -> None:
    text = probe_class(name).__doc__ or ""
    first, blank, *rest = text.splitlines()
    assert first.endswith(".")
    assert not blank
    assert "Cost:" in " ".join(rest)
    assert all(field.metadata["what"] for field in settings_of(probe_class(name)).values())


def test_settings_from_text_and_from_yaml_agree() -> None:
    given = parse("gradient_norm:batches=3,every=end,label=g")
    again = read({"gradient_norm": {"batches": 3, "every": "end", "label": "g"}})
    assert vars(given) == vars(again)
    assert (given.every, given.title) == (AT_END, "g")
    assert read("weight_norm").title == "weight_norm"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("weight_nrm", 'unknown probe "weight_nrm" (did you mean "weight_norm"?)'),
        (
            "weight_norm:evry=3",
            'probe "weight_norm": unknown setting "evry" (did you mean "every"?); known: every, label',
        ),
        ("weight_norm:every=0", 'probe "weight_norm": every must be at least 1, or end, got "0"'),
        ({"test_batch": {"every": 0}}, 'probe "test_batch": every must be at least 1, or end, got 0'),
        ("weight_norm:every=x", 'probe "weight_norm": every must be a whole number, got "x"'),
        ("weight_norm:every=1.5", 'probe "weight_norm": every must be a whole number, got "1.5"'),
        ("weight_norm:every=1e999", 'probe "weight_norm": every must be a whole number, got "1e999"'),
        ("weight_norm:every=-1", 'probe "weight_norm": every must be at least 0, got -1'),
        ("weight_norm:every", 'probe "weight_norm": settings are written key=value,..., got "every"'),
        ("weight_norm:every=1,every=2", 'probe "weight_norm": every is given twice'),
        ("weight_norm:every=1e20", 'probe "weight_norm": every must be below 2^53 in size, got "1e20"'),
        ("weight_norm:every=1,2", "probe \"weight_norm\": every must be a whole number, got ['1', '2']"),
        ({"weight_norm": {"every": True}}, 'probe "weight_norm": every must be a whole number, got True'),
        ({"weight_norm": {"every": {}}}, 'probe "weight_norm": every must be a whole number, got {}'),
        ("weight_norm:label=a/b", 'probe "weight_norm": label is made of letters, digits and . + - _, got "a/b"'),
        ({"weight_norm": 3}, "a probe is a name, or a mapping of one name to its settings, got {'weight_norm': 3}"),
        ({}, "a probe is a name, or a mapping of one name to its settings, got {}"),
    ],
)
def test_wrong_entries(entry: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        read(entry)


def test_create_takes_the_defaults() -> None:
    assert create("weight_norm").every == 100


def test_the_page_has_a_row_for_each() -> None:
    page = (ROOT / "docs/probes.md").read_text(encoding="utf-8")
    assert tuple(sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))) == probe_names()


def test_a_probe_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from dragon.probes import registry

    monkeypatch.setattr(registry, "_classes", dict(registry._classes))

    @register("mine")
    @dataclass(kw_only=True, eq=False)
    class Mine(Probe):
        """Something. Cost: none."""

        size: int | None = setting(None, "a size", least=2)

    made = parse("mine:size=3")
    assert isinstance(made, Mine)
    assert (made.size, made.title) == (3, "mine")
    assert "mine" in probe_names()
    with pytest.raises(UsageError, match='probe "mine": size must be at least 2, got 1'):
        parse("mine:size=1")
