"""The band of states of every host, which several dashboards show."""

from __future__ import annotations

from cluster.observe.panels import Colour, States, Unit, state_queries
from cluster.observe.variables import ON_HOSTS
from fusion.host import HostState

_COLOURS = {
    HostState.POWERED_OFF: Colour.IDLE,
    HostState.BOOTING: Colour.BUSY,
    HostState.INITIALISING: Colour.BUSY,
    HostState.NORMAL: Colour.GOOD,
    HostState.MAINTENANCE: Colour.IDLE,
    HostState.DISCONNECTED: Colour.WARN,
    HostState.ISOLATED: Colour.WARN,
    HostState.FAULTY: Colour.BAD,
}


def host_states(width: int) -> States:
    """Return the panel, ``width`` columns wide."""
    numbers = {state.value: number for number, state in enumerate(_COLOURS)}
    return States(
        "States of hosts",
        "The state of every chosen host over time, as the VRM sees it: also while it is silent.",
        (state_queries("fusion_vrm_host_state", ON_HOSTS, ("host",), numbers),),
        Unit.STATE,
        width=width,
        states=tuple((state.value, colour) for state, colour in _COLOURS.items()),
    )
