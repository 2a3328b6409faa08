"""Best fit: the host whose free memory the VM uses up most, so that others stay empty."""

import numpy as np

from fusion.policy.placement import Decision, HostsSnapshot, PlacementRequest, fitting


class BestFit:
    def place(self, request: PlacementRequest, hosts: HostsSnapshot) -> Decision:
        fits = fitting(request, hosts)
        if not fits.any():
            return Decision(None)
        left = hosts.memory_free_bytes - request.memory_bytes
        return Decision(hosts.names[int(np.argmin(np.where(fits, left, np.inf)))])
