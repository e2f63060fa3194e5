"""Loading of files of a package, such as those of `layers/`, which register what they define: one of them, or all."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from dragon.errors import DragonError, LayerFileError

__all__ = ["load_file_of", "load_files"]


def load_files(package: ModuleType) -> None:
    """Import every module of a package. Raises LayerFileError, with the file, where one cannot be imported."""
    for module in pkgutil.iter_modules(package.__path__):
        _load(package, module.name)


def load_file_of(package: ModuleType, name: str) -> None:
    """Import the module of a package that is called like `name` but for case and underscores: re_lu.py for ReLU.

    Does nothing where there is none. Raises LayerFileError as `load_files`.
    """
    module = _modules(package).get(name.lower())
    if module is not None:
        _load(package, module)


@cache
def _modules(package: ModuleType) -> dict[str, str]:
    """The names of the modules of a package, by the same without underscores."""
    return {module.name.replace("_", ""): module.name for module in pkgutil.iter_modules(package.__path__)}


def _load(package: ModuleType, module: str) -> None:
    try:
        importlib.import_module(f"{package.__name__}.{module}")
    except (DragonError, MemoryError):
        raise
    except Exception as error:
        file = f"{package.__name__.removeprefix('dragon.').replace('.', '/')}/{module}.py"
        raise LayerFileError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
