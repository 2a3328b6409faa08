"""Faults as they happen in a simulated world."""

from cluster.simulated.chaos.chaos import Chaos

__all__ = ["Chaos"]
