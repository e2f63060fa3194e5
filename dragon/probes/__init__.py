"""Probes: quantities measured along a training run, or of a net as it is, that leave the training as it was.

One file in `measures` for each. `Run` is what a probe gets, `ProbeObserver` measures while a solver trains.
"""

from dragon.probes.observer import ProbeObserver, check_titles, measure
from dragon.probes.probe import AT_END, Probe, setting
from dragon.probes.probe_net import Batch, ProbeNet
from dragon.probes.registry import create, parse, probe_class, probe_names, read, register, settings_of
from dragon.probes.run import Run

__all__ = [
    "AT_END",
    "Batch",
    "Probe",
    "ProbeNet",
    "ProbeObserver",
    "Run",
    "check_titles",
    "create",
    "measure",
    "parse",
    "probe_class",
    "probe_names",
    "read",
    "register",
    "setting",
    "settings_of",
]
