"""What operators write: a YAML file, validated as a whole and expanded to ``fusion.spec``."""

from cluster.datacenter_file.checks import MIN_HEARTBEAT_WALL_S, check_speed
from cluster.datacenter_file.loader import load, scenarios
from cluster.datacenter_file.mistakes import DatacenterFileError

__all__ = ["MIN_HEARTBEAT_WALL_S", "DatacenterFileError", "check_speed", "load", "scenarios"]
