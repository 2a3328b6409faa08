"""The invariants of the design, checked at the end of every instant of a simulated run.

``Watch`` checks them; each has a file of its own, and its line in ``watch.INVARIANTS``.
"""

from cluster.simulated.invariants.convergence import settling_s
from cluster.simulated.invariants.violation import Violation
from cluster.simulated.invariants.watch import Watch

__all__ = ["Violation", "Watch", "settling_s"]
