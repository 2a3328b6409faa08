"""Experiment files: read, checked, and made into experiments."""

from cluster.chaos.file.loader import Loaded, experiments, load
from cluster.chaos.file.mistakes import ExperimentFileError

__all__ = ["ExperimentFileError", "Loaded", "experiments", "load"]
