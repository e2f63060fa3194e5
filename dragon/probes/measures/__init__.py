"""The probes: one file for each, loaded when the first one is asked for (see dragon.probes.registry)."""
