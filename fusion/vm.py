"""The life of a virtual machine: one table says what may follow what."""

from enum import StrEnum

from fusion.errors import Refused


def vm_id(number: int) -> str:
    """Return the identity of the ``number``-th VM of a datacenter, such as ``i-00000001``."""
    return f"i-{number:08d}"


def vm_number(identity: str) -> int:
    """Return the number in ``identity``. Raises ``ValueError`` where it is no VM identity."""
    digits = identity.removeprefix("i-")
    if len(digits) != 8 or not digits.isdecimal() or digits == identity:
        raise ValueError(f"{identity!r} is no VM identity; one looks like i-00000001")
    return int(digits)


class VmState(StrEnum):
    """Where a VM is in its life."""

    CREATING = "creating"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    REBOOTING = "rebooting"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    HIBERNATING = "hibernating"
    HIBERNATED = "hibernated"
    MIGRATING = "migrating"
    FAULT_RESUMING = "fault-resuming"
    DELETING = "deleting"
    UNKNOWN = "unknown"


class VmAction(StrEnum):
    """What moves a VM from one state to the next: orders first, then what happens by itself."""

    START = "start"
    STOP = "stop"
    FORCE_STOP = "force-stop"
    REBOOT = "reboot"
    FORCE_REBOOT = "force-reboot"
    PAUSE = "pause"
    RESUME = "resume"
    HIBERNATE = "hibernate"
    MIGRATE = "migrate"
    DELETE = "delete"

    CREATED = "created"
    BOOTED = "booted"
    HALTED = "halted"
    SETTLED = "settled"  # a pause, resume, hibernation or migration is over
    FAILED = "failed"  # the order under way did not succeed
    CRASHED = "crashed"  # the guest died under the VM
    LOST = "lost"  # its host no longer reports


S, A = VmState, VmAction

TRANSITIONS: dict[VmState, dict[VmAction, VmState]] = {
    S.CREATING: {A.CREATED: S.STOPPED, A.FAILED: S.DELETING},
    S.STOPPED: {A.START: S.STARTING, A.DELETE: S.DELETING},
    S.STARTING: {
        A.BOOTED: S.RUNNING,
        A.FAILED: S.STOPPED,
        A.FORCE_STOP: S.STOPPING,
        A.HALTED: S.STOPPED,
        A.LOST: S.UNKNOWN,
    },
    S.RUNNING: {
        A.STOP: S.STOPPING,
        A.FORCE_STOP: S.STOPPING,
        A.REBOOT: S.REBOOTING,
        A.FORCE_REBOOT: S.REBOOTING,
        A.PAUSE: S.PAUSING,
        A.HIBERNATE: S.HIBERNATING,
        A.MIGRATE: S.MIGRATING,
        A.CRASHED: S.FAULT_RESUMING,
        A.HALTED: S.STOPPED,
        A.LOST: S.UNKNOWN,
    },
    S.STOPPING: {
        A.HALTED: S.STOPPED,
        A.FORCE_STOP: S.STOPPING,
        A.FAILED: S.RUNNING,
        A.LOST: S.UNKNOWN,
    },
    S.REBOOTING: {
        A.BOOTED: S.RUNNING,
        A.FORCE_STOP: S.STOPPING,
        A.FAILED: S.RUNNING,
        A.HALTED: S.STOPPED,
        A.LOST: S.UNKNOWN,
    },
    S.PAUSING: {A.SETTLED: S.PAUSED, A.FAILED: S.RUNNING, A.HALTED: S.STOPPED, A.LOST: S.UNKNOWN},
    S.PAUSED: {
        A.RESUME: S.RESUMING,
        A.FORCE_STOP: S.STOPPING,
        A.HALTED: S.STOPPED,
        A.LOST: S.UNKNOWN,
    },
    S.RESUMING: {A.SETTLED: S.RUNNING, A.FAILED: S.PAUSED, A.HALTED: S.STOPPED, A.LOST: S.UNKNOWN},
    S.HIBERNATING: {
        A.SETTLED: S.HIBERNATED,
        A.FAILED: S.RUNNING,
        A.HALTED: S.STOPPED,
        A.LOST: S.UNKNOWN,
    },
    S.HIBERNATED: {A.START: S.STARTING, A.DELETE: S.DELETING},
    S.MIGRATING: {
        A.SETTLED: S.RUNNING,
        A.FAILED: S.RUNNING,
        A.HALTED: S.STOPPED,
        A.LOST: S.UNKNOWN,
    },
    S.FAULT_RESUMING: {
        A.BOOTED: S.RUNNING,
        A.FORCE_STOP: S.STOPPING,
        A.FAILED: S.STOPPED,
        A.HALTED: S.STOPPED,
        A.LOST: S.UNKNOWN,
    },
    S.DELETING: {A.FAILED: S.STOPPED},
    # Only its host's next report, or the knowledge that the host lost it, ends ignorance.
    S.UNKNOWN: {A.HALTED: S.STOPPED},
}

#: What an operator can order today, for the hint of a refusal.
ORDERS = (
    A.START,
    A.STOP,
    A.FORCE_STOP,
    A.REBOOT,
    A.FORCE_REBOOT,
    A.PAUSE,
    A.RESUME,
    A.MIGRATE,
    A.DELETE,
)

#: States in which a host holds memory for the VM.
ON_HOST = frozenset(S) - {S.CREATING, S.STOPPED, S.HIBERNATED, S.DELETING}

#: States in which the guest executes instructions.
EXECUTING = frozenset(
    {S.STARTING, S.RUNNING, S.STOPPING, S.REBOOTING, S.MIGRATING, S.FAULT_RESUMING}
)

#: States that end by themselves.
TRANSIENT = frozenset(
    {
        S.CREATING,
        S.STARTING,
        S.STOPPING,
        S.REBOOTING,
        S.PAUSING,
        S.RESUMING,
        S.HIBERNATING,
        S.MIGRATING,
        S.FAULT_RESUMING,
        S.DELETING,
    }
)


def next_state(vm: str, state: VmState, action: VmAction) -> VmState:
    """Return the state that ``action`` leads to from ``state``.

    Raises ``Refused``, naming ``vm`` and what it would accept, where the table has no such step.
    """
    step = TRANSITIONS[state].get(action)
    if step is not None:
        return step
    possible = [order.value for order in ORDERS if order in TRANSITIONS[state]]
    way_out = f"what it accepts now: {', '.join(possible)}" if possible else "wait until it settles"
    raise Refused(f"VM {vm} is {state}, so {action} is not possible; {way_out}")
