"""The layer types, one file for each.

`from dragon import layers as L; L.Convolution(bottom, num_output=8)` adds a layer to a net that is defined in Python,
see dragon.pycaffe.net_spec.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name[:1].isupper():
        from dragon.pycaffe.net_spec import layer_function

        return layer_function(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from dragon.bases.registry import layer_types

    return layer_types()
