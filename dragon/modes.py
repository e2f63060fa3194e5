"""The settings that scripts make once for all nets to come: engine, device, seed. Existing nets keep theirs."""

from __future__ import annotations

from dragon import engines
from dragon.engines.base import Options
from dragon.rng import set_default_seed

__all__ = ["set_device", "set_engine", "set_mode_cpu", "set_mode_gpu", "set_random_seed"]


def set_mode_cpu() -> None:
    """New nets run on the CPU: the engine that DRAGON_ENGINE names, or the best there is."""
    engines.set_default_engine(None)


def set_mode_gpu() -> None:
    """New nets run on the GPU. EngineError comes when such a net is made where there is none."""
    engines.set_default_engine("cuda")


def set_engine(name: str) -> None:
    """New nets run on this engine: auto, numpy, onednn or cuda. EngineError for another name."""
    engines.set_default_engine(name)


def set_device(device: int) -> None:
    """The GPU of new nets."""
    Options.default_device = device


def set_random_seed(seed: int) -> None:
    """The seed of new nets that are not given one."""
    set_default_seed(seed)
