"""What is chosen at the top of dashboards, how queries refer to it, and the marks on panels."""

from __future__ import annotations

from cluster.observe.dashboard import Annotation, Variable
from cluster.observe.panels import Colour

#: Selectors of what is chosen, to stand between braces.
HERE = 'datacenter="$datacenter"'
ON_HOSTS = f'{HERE}, host=~"$host"'
OF_VMS = f'{HERE}, vm_name=~"$vm"'

DATACENTER = Variable(
    "datacenter", "Datacenter", "datacenter", "fusion_vrm_clock_seconds", many=False
)
RACK = Variable("rack", "Rack", "rack", f"fusion_vrm_host_state{{{HERE}}}")
HOST = Variable("host", "Host", "host", f'fusion_vrm_host_state{{{HERE}, rack=~"$rack"}}')
VM = Variable("vm", "VM", "vm_name", f"fusion_vm_state{{{ON_HOSTS}}}")

WITH_HOSTS = (DATACENTER, RACK, HOST)
WITH_VMS = (*WITH_HOSTS, VM)

#: What befell the datacenter, on purpose or not.
FAULTS = (
    Annotation(
        "Experiment",
        f"fusion_experiment_running{{{HERE}}} > 0",
        Colour.BUSY,
        "{{experiment}} runs",
    ),
    Annotation(
        "Host down",
        "max by (datacenter, host)"
        f' (fusion_vrm_host_state{{{HERE}, state=~"disconnected|isolated|faulty"}}) == 1',
        Colour.BAD,
        "{{host}} is down",
    ),
    Annotation(
        "VRM restarted",
        f'ALERTS{{{HERE}, alertname="FusionVrmRestarted", alertstate="firing"}}',
        Colour.WARN,
        "the VRM was started anew",
    ),
)
