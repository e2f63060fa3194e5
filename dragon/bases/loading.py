"""Loading of all files of a package, such as those of `layers/`, which register what they define."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from dragon.errors import DragonError, LayerFileError

__all__ = ["load_files"]


def load_files(package: ModuleType) -> None:
    """Import every module of a package. Raises LayerFileError, with the file, where one cannot be imported."""
    for module in pkgutil.iter_modules(package.__path__):
        try:
            importlib.import_module(f"{package.__name__}.{module.name}")
        except (DragonError, MemoryError):
            raise
        except Exception as error:
            file = f"{package.__name__.removeprefix('dragon.').replace('.', '/')}/{module.name}.py"
            raise LayerFileError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
