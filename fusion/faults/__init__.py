"""Faults: their statistics (``plan``), and schedules of them drawn from a seed (``drawing``)."""

from fusion.faults.drawing import draw
from fusion.faults.plan import FaultPlan, random_plan
from fusion.faults.records import from_records, to_records
from fusion.faults.schedule import Fault, FaultKind, Schedule

__all__ = [
    "Fault",
    "FaultKind",
    "FaultPlan",
    "Schedule",
    "draw",
    "from_records",
    "random_plan",
    "to_records",
]
