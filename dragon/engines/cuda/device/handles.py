"""Handles of NVIDIA's libraries, which are destroyed together with the object that holds them."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["destroy_with"]


def destroy_with(owner: object, destroy: Callable[..., Any], *handles: Any) -> None:
    """Call `destroy(*handles)` when `owner` is dropped; not at the end of the process, nor in one forked from it."""
    pid = os.getpid()

    def call() -> None:
        if os.getpid() == pid:
            destroy(*handles)

    weakref.finalize(owner, call).atexit = False
