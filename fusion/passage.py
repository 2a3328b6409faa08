"""What goes with a VM from one host to another, beside its memory and what its guest knows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Passage:
    """The counters of a VM and what befell it; its workload goes on where it was by itself, being a
    function of the instant and of the VM's seed.
    """

    used_mhz_s: float  # since it was started
    ready_s: float  # vCPU-seconds that it waited for a core since it was started
    added_load: float  # share of vCPUs × MHz that is wanted on top of the workload
    hog_bytes_s: float = 0.0  # of memory that it writes beside its rates
