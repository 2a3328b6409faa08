"""The blast radius: whom faults may strike by the plan, and who was seen to suffer."""

from __future__ import annotations

from cluster.chaos.faults import planned_for
from cluster.chaos.file import Loaded
from fusion.errors import NotFound
from fusion.experiment.evidence import BlastRadius, Run
from fusion.experiment.selection import Parties, candidates, struck_by

#: The one state of a host in which it does not suffer.
NORMAL = "normal"

#: A VM of which the VRM does not know how it is, as when it was started anew itself.
UNKNOWN = "unknown"


def planned_radius(loaded: Loaded) -> tuple[str, ...]:
    """Return whom the faults of an experiment may strike, each once, drawn or not."""
    parties = Parties.of(loaded.datacenter)
    found: dict[str, None] = {}
    for fault in planned_for(loaded.experiment, loaded.datacenter):
        try:
            found |= dict.fromkeys(candidates(fault.targets, struck_by(fault.kind), parties))
        except NotFound:  # VMs that are made meanwhile
            continue
    return tuple(found)


def may_be_carried(loaded: Loaded) -> tuple[str, ...]:
    """Return the VMs that may be on hosts of the planned radius: those of the same clusters."""
    planned = set(planned_radius(loaded))
    clusters = {host.cluster for host in loaded.datacenter.hosts if host.name in planned}
    specs = (vm.spec for vm in loaded.datacenter.vms if vm.start)
    return tuple(spec.name for spec in specs if spec.cluster in clusters)


def blast_radius(loaded: Loaded, run: Run) -> BlastRadius:
    """Return the planned radius, and the hosts that were not normal, the VMs that did not run and
    those whose clients went unanswered. Of a VM that is unknown its clients know better.
    """
    served = {client.vm for client in run.clients} - {c.vm for c in run.clients if c.gaps}
    carried = dict.fromkeys(vm for fault in run.faults for vm in fault.vms)
    suffered = [
        fault_target for fault in run.faults if fault.observed for fault_target in fault.targets
    ]
    suffered += [
        span.entity
        for span in run.states
        if span.state != NORMAL and not (span.state == UNKNOWN and span.entity in served)
    ]
    suffered += [recovery.vm for recovery in run.recoveries]
    suffered += [client.vm for client in run.clients if client.gaps]
    return BlastRadius(planned_radius(loaded), tuple(dict.fromkeys(suffered)), tuple(carried))
