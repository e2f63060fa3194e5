"""The version of the package, from its metadata; 0+checkout for one that is not installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("dragon-caffe")
except PackageNotFoundError:
    __version__ = "0+checkout"
