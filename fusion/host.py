"""The life of a physical host: one table says what may follow what."""

from enum import StrEnum

from fusion.errors import Refused


class HostState(StrEnum):
    """Where a host is in its life, as the VRM sees it."""

    POWERED_OFF = "powered-off"
    BOOTING = "booting"
    INITIALISING = "initialising"
    NORMAL = "normal"
    MAINTENANCE = "maintenance"
    DISCONNECTED = "disconnected"
    ISOLATED = "isolated"
    FAULTY = "faulty"


class HostEvent(StrEnum):
    """What moves a host from one state to the next."""

    POWERED_ON = "powered-on"
    POWERED_OFF = "powered-off"
    REGISTERED = "registered"  # its agent made itself known
    READY = "ready"  # the VRM has taken over what the agent said
    ENTERED_MAINTENANCE = "entered-maintenance"
    LEFT_MAINTENANCE = "left-maintenance"
    FELL_SILENT = "fell-silent"
    ISOLATED = "isolated"
    FAILED = "failed"


S, E = HostState, HostEvent

TRANSITIONS: dict[HostState, dict[HostEvent, HostState]] = {
    S.POWERED_OFF: {E.POWERED_ON: S.BOOTING, E.REGISTERED: S.INITIALISING},
    S.BOOTING: {
        E.REGISTERED: S.INITIALISING,
        E.FELL_SILENT: S.DISCONNECTED,
        E.POWERED_OFF: S.POWERED_OFF,
        E.FAILED: S.FAULTY,
    },
    S.INITIALISING: {
        E.REGISTERED: S.INITIALISING,
        E.READY: S.NORMAL,
        E.FELL_SILENT: S.DISCONNECTED,
        E.POWERED_OFF: S.POWERED_OFF,
        E.FAILED: S.FAULTY,
    },
    S.NORMAL: {
        E.REGISTERED: S.INITIALISING,
        E.ENTERED_MAINTENANCE: S.MAINTENANCE,
        E.FELL_SILENT: S.DISCONNECTED,
        E.ISOLATED: S.ISOLATED,
        E.FAILED: S.FAULTY,
        E.POWERED_OFF: S.POWERED_OFF,
    },
    S.MAINTENANCE: {
        E.REGISTERED: S.MAINTENANCE,
        E.LEFT_MAINTENANCE: S.NORMAL,
        E.FELL_SILENT: S.DISCONNECTED,
        E.FAILED: S.FAULTY,
        E.POWERED_OFF: S.POWERED_OFF,
    },
    S.DISCONNECTED: {
        E.REGISTERED: S.INITIALISING,
        E.READY: S.NORMAL,
        E.ISOLATED: S.ISOLATED,
        E.FAILED: S.FAULTY,
        E.POWERED_ON: S.BOOTING,
        E.POWERED_OFF: S.POWERED_OFF,
    },
    S.ISOLATED: {
        E.REGISTERED: S.INITIALISING,
        E.READY: S.NORMAL,
        E.FAILED: S.FAULTY,
        E.POWERED_ON: S.BOOTING,
        E.POWERED_OFF: S.POWERED_OFF,
    },
    S.FAULTY: {
        E.REGISTERED: S.INITIALISING,
        E.POWERED_ON: S.BOOTING,
        E.POWERED_OFF: S.POWERED_OFF,
    },
}


def next_state(host: str, state: HostState, event: HostEvent) -> HostState:
    """Return the state that ``event`` leads to from ``state``; raises ``Refused`` where none."""
    step = TRANSITIONS[state].get(event)
    if step is None:
        raise Refused(f"host {host} is {state}, where {event} is not possible")
    return step
