"""Numbers, metrics and selections of runs as a reader sees them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = [
    "absolute",
    "difference",
    "figure",
    "is_percent",
    "is_share",
    "level_text",
    "selection",
    "without_folders",
]

_OF_RUNS = (
    "first_at_least",
    "slope",
    "ratio",
    "argmax",
    "argmin",
    "span",
    "largest",
)  # takes whose result is not in the series' unit
_PATH = re.compile(r"""(?<![\w.:/\\~])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\:;,'"<>|]+[/\\])+[^\s/\\:;,'"<>|]*""")
_DEEPEST = 20  # metrics of metrics


def is_percent(name: str) -> bool:
    """Whether an output of this name is shown in percent: an accuracy."""
    return "acc" in name.lower()


def is_share(metric: str, definitions: Mapping[str, Mapping[str, Any]] | None = None, depth: int = 0) -> bool:
    """Whether a metric is a share of 1, shown in percent. definitions: the `metrics` of the experiment."""
    definition = (definitions or {}).get(metric)
    if definition is None or depth > _DEEPEST:
        return is_percent(metric)
    if definition.get("take") in _OF_RUNS:
        return False
    if "quotient" in definition:
        return False
    if "series" in definition:
        return is_percent(str(definition["series"]))
    parts = definition.get("minus") or [definition.get("of", metric)]
    return all(is_share(str(part), definitions, depth + 1) for part in parts)


def figure(value: float) -> str:
    """A number with about three significant digits."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinite"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    if abs(value) >= 100 or math.isclose(value, round(value), rel_tol=1e-12):
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def absolute(value: float, share: bool, decimals: int = 1) -> str:
    """A value of a metric: a share in percent."""
    return f"{100 * value:.{decimals}f} %" if share else figure(value)


def difference(value: float, share: bool) -> str:
    """A difference of two values without its sign or unit: of shares in percentage points."""
    return f"{abs(100 * value):.1f}" if share else figure(abs(value))


def selection(of: Mapping[str, Any]) -> str:
    """The runs that a contrast's `of` or `against` selects, such as `bn at base_lr 0.01, batch_size 8`."""
    levels = ", ".join(f"{k} {level_text(v)}" for k, v in of.items() if k != "variant")
    name = str(of.get("variant", "all variants"))
    return f"{name} at {levels}" if levels else name


def level_text(value: Any) -> str:
    """A level of a factor."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_folders(value: Any) -> Any:
    """Text, or texts in lists and mappings, in which an absolute path is its part from `models` on, or `…/NAME`.

    A report may be published: it says which files were used, not where they lay on a machine.
    """
    if isinstance(value, str):
        return _PATH.sub(_short, value)
    if isinstance(value, Mapping):
        return {key: without_folders(one) for key, one in value.items()}
    return [without_folders(one) for one in value] if isinstance(value, list) else value


def _short(match: re.Match[str]) -> str:
    parts = [part for part in re.split(r"[/\\]", match[0]) if part]
    return "/".join(parts[parts.index("models") :]) if "models" in parts else f"…/{parts[-1]}"
