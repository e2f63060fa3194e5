"""The probes of an experiment, checked, and made for a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dragon.compare.config import ProbeSetting
from dragon.errors import UsageError
from dragon.probes import ProbeObserver, create

__all__ = ["check_probes", "make_probes", "probe_titles"]


def make_probes(probes: Sequence[Mapping[str, Any]]) -> ProbeObserver:
    """The observer of probes, each given as {"name": .., "settings": {..}}. Raises UsageError for a wrong one."""
    return ProbeObserver([create(probe["name"], probe["settings"]) for probe in probes])


def check_probes(probes: Sequence[ProbeSetting]) -> None:
    """Raise UsageError, at its line, for a probe that does not exist or a wrong setting."""
    made = []
    for probe in probes:
        try:
            made.append(create(probe.name, probe.settings))
            ProbeObserver(made)  # refuses two of one title
        except UsageError as error:
            probe.section.fail(str(error), probe.name)


def probe_titles(probes: Sequence[ProbeSetting]) -> list[str]:
    """The names of the probes in series."""
    return [create(probe.name, probe.settings).title for probe in probes]
