"""Finds mpi4py, with one line that says what is missing."""

from __future__ import annotations

import importlib
from typing import Any

from dragon.errors import UsageError, one_line
from dragon.extras import install_command

__all__ = ["library_missing", "mpi_module", "package_missing"]


def mpi_module(what: str) -> Any:
    """The module mpi4py.MPI. what: what needs it. Raises UsageError without mpi4py or an MPI library."""
    try:
        return importlib.import_module("mpi4py.MPI")
    except ImportError:
        raise package_missing(what) from None
    except RuntimeError as error:  # mpi4py without an MPI library
        raise library_missing(what, str(error)) from None


def package_missing(what: str) -> UsageError:
    """The error where mpi4py is not installed."""
    return UsageError(f"{what} needs a package: {install_command('mpi')}")


def library_missing(what: str, why: str) -> UsageError:
    """The error where mpi4py finds no MPI library. why: what it says."""
    return UsageError(f"{what} needs an MPI library, such as pip install mpich: {one_line(why)}")
