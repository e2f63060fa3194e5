"""Engine, device, phase and seed of the nets that a script makes from now on; existing nets keep theirs."""

from __future__ import annotations

from dragon import engines
from dragon.bases.layer import TEST, TRAIN
from dragon.engines.base import Options
from dragon.rng import set_default_seed

__all__ = ["set_device", "set_engine", "set_mode_cpu", "set_mode_gpu", "set_phase_test", "set_phase_train"]
__all__ += ["set_random_seed"]


def set_mode_cpu() -> None:
    """Let new nets run on the CPU, with the engine that DRAGON_ENGINE names, or the best one available."""
    engines.set_default_engine(None)


def set_mode_gpu() -> None:
    """Let new nets run on the GPU. Without one, making a net raises EngineError."""
    engines.set_default_engine("cuda")


def set_engine(name: str) -> None:
    """Let new nets run on an engine: auto, numpy, onednn or cuda. Raises EngineError for another name."""
    engines.set_default_engine(name)


def set_device(device: int) -> None:
    """Let new nets of the CUDA engine run on the GPU with this number."""
    Options.default_device = device


def set_phase_train() -> None:
    """Let new nets that are not given a phase be for training, as in pycaffe before 2015."""
    _set_phase(TRAIN)


def set_phase_test() -> None:
    """Let new nets that are not given a phase be for testing, as they are unless their definition says otherwise."""
    _set_phase(TEST)


def _set_phase(phase: int) -> None:
    from dragon.graph.net import Net

    Net.default_phase = phase


def set_random_seed(seed: int) -> None:
    """Let new nets without a seed of their own use this one."""
    set_default_seed(seed)
