"""The probes of a run, from dragon.probes, as observers of its solver."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from dragon.compare.config import ProbeSetting
from dragon.errors import DragonError, UsageError

__all__ = ["Probes", "check_probes", "make_probes"]

_PACKAGE = "dragon.probes"


class Probes(Protocol):
    """An observer of a solver that measures. It is resumed by `load_state`."""

    def series(self) -> dict[str, tuple[list[int], list[float]]]:
        """What was measured: iterations and values by name, such as "probe/weight_norm/conv1"."""
        ...

    def state(self) -> Any:
        """Everything measured so far, for JSON."""
        ...

    def load_state(self, state: Any) -> None:
        """Go on from what `state` returned."""
        ...


def make_probes(settings: Sequence[dict[str, Any]]) -> Any:
    """The observer that runs probes, each given as {"name": .., and its fields}. Raises UsageError for a wrong one."""
    if find_spec(_PACKAGE) is None:
        raise UsageError("this version of Dragon has no probes")
    return import_module(_PACKAGE).make_observer(settings)


def check_probes(probes: Sequence[ProbeSetting]) -> None:
    """Raise UsageError, at its line, for a probe that does not exist or a wrong setting."""
    for probe in probes:
        try:
            make_probes([{"name": probe.name, **probe.settings}])
        except DragonError as error:
            probe.section.fail(f'probe "{probe.name}": {error}', probe.name)
