"""The constants of settings for nets written in Python: `from dragon import params as P; P.Pooling.MAX`.

See dragon.pycaffe.net_spec.
"""

from __future__ import annotations

from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name[:1].isupper():
        from dragon.pycaffe.net_spec import params

        return getattr(params, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from dragon.pycaffe.net_spec import params

    return dir(params)
