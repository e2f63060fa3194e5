"""Finds mpi4py, with one line that says what is missing."""

from __future__ import annotations

import importlib
from typing import Any

from dragon.errors import UsageError, one_line
from dragon.extras import install_command

__all__ = ["mpi_module"]


def mpi_module(what: str) -> Any:
    """The module mpi4py.MPI. what: what needs it. Raises UsageError without mpi4py or an MPI library."""
    try:
        return importlib.import_module("mpi4py.MPI")
    except ImportError:
        raise UsageError(f"{what} needs a package: {install_command('mpi')}") from None
    except RuntimeError as error:  # mpi4py without an MPI library
        raise UsageError(f"{what} needs an MPI library, such as pip install mpich: {one_line(str(error))}") from None
