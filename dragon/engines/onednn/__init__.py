"""The fast CPU engine: oneDNN primitives prepared once and run through the library's C interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon.errors import EngineError

if TYPE_CHECKING:
    from dragon.engines.base import Executor, Options
    from dragon.net import Net

__all__ = ["OneDNNExecutor"]


def OneDNNExecutor(net: Net, options: Options) -> Executor:
    """The executor of a net on this engine; EngineError until the planner over these primitives exists."""
    raise EngineError("the oneDNN engine has its primitives but no planner yet")
