"""Experiments and faults in the live world: real processes, real connections."""
