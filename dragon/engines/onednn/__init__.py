"""The fast CPU engine: oneDNN primitives prepared once and run through the library's C interface."""

from __future__ import annotations

from dragon.engines.onednn.executor import OneDNNExecutor

__all__ = ["OneDNNExecutor"]
