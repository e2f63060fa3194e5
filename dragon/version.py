"""The version of the package, from its metadata; 0+checkout for one that is not installed.

It is looked up when it is asked for: the library that reads metadata takes longer to load than a small net.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("dragon-caffe")
    except PackageNotFoundError:
        found = "0+checkout"
    globals()[name] = found
    return found
