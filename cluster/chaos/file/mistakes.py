"""Mistakes in an experiment file, each one sentence that starts with its place."""

from __future__ import annotations

from cluster.datacenter_file.mistakes import DatacenterFileError


class ExperimentFileError(DatacenterFileError):
    """An experiment file that cannot work as written; ``str`` gives one mistake a line."""
