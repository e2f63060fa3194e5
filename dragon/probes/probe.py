"""Probe: the base of everything that is measured along a training run, or of a net as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from dragon.errors import UsageError

if TYPE_CHECKING:
    from dragon.probes.run import Run

__all__ = ["AT_END", "Probe", "setting"]

AT_END = 0  # the value of `every` that means: only when the training has ended


def setting(default: Any, what: str, least: float | None = None, most: float | None = None) -> Any:
    """A field of a probe that a user may set. what: its meaning, for `dragon probe --list`; least, most: its range."""
    return field(default=default, metadata={"what": what, "least": least, "most": most})


@dataclass(kw_only=True, eq=False)
class Probe:
    """A quantity that is measured at iteration 0, after every `every` updates, and at the end of a run.

    The docstring of a subclass says what it measures, by which formula, in which units, from which source, and what it
    costs. Its settings are fields made by `setting`. A probe may read everything that `run` offers and change none of
    the solver: no blob, no random stream, no position in data. So training gives the same bits with and without it.
    """

    name: ClassVar[str] = ""  # set by `register`

    every: int = setting(100, "measure after every so many updates; end: only at the end", least=AT_END)
    label: str = setting("", "the name in results, where a probe is used twice; its own by default")

    def check(self) -> None:
        """Raise UsageError (see `wrong`) for settings that contradict each other; called once they are read."""

    def start(self, run: Run) -> None:
        """Called before the first iteration, or before the first one after a resume and `load_state`."""

    def before_measure(self, run: Run) -> None:
        """Called one update before `measure`, where there is one."""

    def after_iteration(self, run: Run) -> None:
        """Called after each update, before `measure`. Each call costs time, so most probes leave it out."""

    def measure(self, run: Run) -> Mapping[str, float]:
        """The values after `run.iteration` updates, by key. Keys are parts of names, such as conv1 or conv1/bias."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what the probe holds; may be called twice."""

    def state(self) -> dict[str, Any]:
        """What a snapshot needs besides the series, so that a resumed run gives the same values; for JSON."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; called before `start`. Raises WeightsError for a damaged state."""

    @property
    def title(self) -> str:
        """The name in results: the label if there is one."""
        return self.label or self.name

    def check_learns(self, learned: Sequence[object]) -> None:
        """Raise UsageError where `learned`, what training changes, is empty."""
        if not learned:
            raise self.wrong("nothing learns in this net: every lr_mult is 0, or it has no weights")

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name the probe in an error of what a user asked of it."""
        try:
            yield
        except UsageError as error:
            if not error.message.startswith("probe "):
                error.task = error.task or f'probe "{self.title}"'
            raise

    def wrong(self, message: str) -> UsageError:
        """The error for a setting that cannot be."""
        return UsageError(f'probe "{self.name}": {message}')
