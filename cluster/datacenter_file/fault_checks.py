"""What must hold between the values of ``faults:``."""

from __future__ import annotations

from cluster.datacenter_file.fault_schema import Faults, UniformTime
from cluster.datacenter_file.plan import Mistakes
from fusion.units import format_duration


def check_faults(faults: Faults, mistakes: Mistakes) -> None:
    """Add to ``mistakes`` whatever does not hold between the values of ``faults``."""
    for kind in Faults.model_fields:
        fault = getattr(faults, kind)
        for key in ("after", "lasts"):
            time = getattr(fault, key, None)
            if isinstance(time, UniformTime) and time.high <= time.low:
                mistakes.add(
                    f"faults.{kind}.{key}.high",
                    f"{format_duration(time.high)} is not above the low of "
                    f"{format_duration(time.low)}; write more, or exchange the two",
                )
    lossy = faults.lossy_link
    if lossy is not None and not (lossy.loss or lossy.duplication):
        mistakes.add("faults.lossy_link.loss", "missing; write a loss or a duplication, or both")
    slow = faults.slow_link
    if slow is not None and not (slow.latency or slow.jitter):
        mistakes.add("faults.slow_link.latency", "0s slows nothing; write for example 200ms")
