"""Loading of files of a package, such as those of `layers/`, which register what they define: one of them, or all."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Container
from functools import cache
from types import ModuleType

from dragon.errors import DragonError, LayerFileError

__all__ = ["Files", "load_files"]


class Files:
    """The files of a package that fill a table as they are imported, loaded when an entry is asked for.

    package: imports the package itself. table: the entries that are registered so far, by name.
    """

    def __init__(self, package: Callable[[], ModuleType], table: Container[str]) -> None:
        self._package, self._table = package, table
        self._complete = False
        self._found: set[str] = set()  # entries whose file has been loaded to its end

    def load(self) -> None:
        """Load all files, once."""
        if not self._complete:
            load_files(self._package())
            self._complete = True

    def load_file(self, name: str) -> None:
        """Load the file that has the name of an entry, but for case and underscores, if there is one."""
        if not self._complete:
            _load_file_of(self._package(), name)

    def load_for(self, name: str) -> None:
        """Load the file that has the name of an entry; all files, if that does not register it."""
        if name in self._found or self._complete:
            return
        _load_file_of(self._package(), name)  # waits where another thread is loading it
        if name not in self._table:
            self.load()
        self._found.add(name)


def load_files(package: ModuleType) -> None:
    """Import every module of a package. Raises LayerFileError, with the file, where one cannot be imported."""
    for module in pkgutil.iter_modules(package.__path__):
        _load(package, module.name)


def _load_file_of(package: ModuleType, name: str) -> None:
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
