"""The hosts and VMs of the inventory, one object each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from cluster.rpc import convert
from cluster.rpc.v1 import common_pb2, registry_pb2
from cluster.vrm.tasks import Task
from fusion.host import HostState
from fusion.spec import HostSpec, VmSpec
from fusion.vm import TRANSIENT, VmAction, VmState, vm_id


class Desired(StrEnum):
    """What the operator wants a VM to be."""

    STOPPED = "stopped"
    RUNNING = "running"


#: Host states in which orders reach the agent.
REACHABLE = frozenset({HostState.NORMAL, HostState.MAINTENANCE})


@dataclass(slots=True, eq=False)
class Host:
    """A physical host.

    ``session`` is that of its last registration, 0 once it is lost: what it says in another one is
    old, and what is ordered in another one is not executed any more. ``sequence`` is that of the
    last it said in this incarnation; what has a lower one is older. ``ended`` is the last
    incarnation whose power was cut: nothing of it or of earlier ones is believed. ``revision``
    rises whenever its state, incarnation or session changed, or what it holds: a VM on it came,
    went or changed.
    """

    row: int
    spec: HostSpec
    state: HostState = HostState.POWERED_OFF
    incarnation: int = 0
    session: int = 0
    sequence: int = 0
    address: str = ""
    metrics_url: str = ""
    pid: int = 0
    storage_less: bool = False  # it says so, or an array hears nothing of it
    switched_off: bool = False  # an operator wants it off
    ended: int = 0
    maintenance: bool = False  # an operator wants it out of use
    revision: int = 0
    message: common_pb2.HostSpec = field(init=False)

    def __post_init__(self) -> None:
        self.message = convert.host_to_message(self.spec)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def reachable(self) -> bool:
        return self.session > 0 and self.state in REACHABLE

    @property
    def withdrawn(self) -> bool:
        """Whether an operator wants no VMs on it."""
        return self.switched_off or self.maintenance


@dataclass(slots=True, eq=False)
class Change:
    """An operation under way on a VM.

    While ``ordering``, an agent may or may not have executed the order: what reports say of the
    VM's state is not taken over. ``answered`` is set when that is past, ``arrival`` with the first
    state that lasts. Where the VM was taken from its host meanwhile, the change is ``void``.
    """

    vm: Vm
    action: VmAction
    before: VmState
    desired_before: Desired
    task: Task
    arrival: asyncio.Future[VmState]
    previous: asyncio.Event | None = None  # the answer to the order that this one supersedes
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    epoch: int = 0  # at which the host of a start has the VM
    takings: int = field(init=False)

    def __post_init__(self) -> None:
        self.takings = self.vm.takings

    @property
    def ordering(self) -> bool:
        return not self.answered.is_set()

    @property
    def void(self) -> bool:
        return self.takings != self.vm.takings


@dataclass(slots=True, eq=False)
class Vm:
    """A virtual machine; ``host`` is the one that holds it, or may hold it.

    ``takings`` counts how often it was taken from a host that was lost, without being asked. While
    it is ``fenced_off``, what is said of it is void: that host's copy may still run, and what
    becomes of the VM is decided by the failover that took it. While it is ``recovering``, a task
    that a restart of the VRM interrupted waits to hear of it, and decides. ``epoch_reserved`` is
    the highest epoch that was promised to hosts for migrations: whoever gets the VM otherwise gets
    it at a higher one.
    """

    number: int
    spec: VmSpec
    group: str
    desired: Desired
    state: VmState
    host: Host | None = None
    epoch: int = 0
    epoch_reserved: int = 0
    cpu_unsure: bool = False  # its host may have other CPU settings than the inventory
    configuring: Task | None = None
    change: Change | None = None
    held: registry_pb2.HoldCause.ValueType = registry_pb2.HOLD_CAUSE_UNSPECIFIED
    takings: int = 0
    fenced_off: bool = False
    failing_over: bool = False
    recovering: bool = False
    settled: asyncio.Future[VmState] | None = None  # the next state that lasts, for who asked
    _message: common_pb2.VmSpec | None = field(default=None, init=False)

    @property
    def message(self) -> common_pb2.VmSpec:
        """Its configuration as a message, made once anybody asks for it."""
        if self._message is None:
            self._message = convert.vm_to_message(self.spec)
        return self._message

    def configure(self, spec: VmSpec) -> None:
        """Have it configured as ``spec``."""
        self.spec, self._message = spec, None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def id(self) -> str:
        return vm_id(self.number)

    @property
    def title(self) -> str:
        """Name and identity, for sentences."""
        return f"{self.spec.name} ({self.id})"

    @property
    def next_epoch(self) -> int:
        """An epoch above all that hosts may have it at."""
        return max(self.epoch, self.epoch_reserved) + 1

    @property
    def frozen(self) -> bool:
        """Whether its host froze it, for the end of a lease."""
        return self.state is VmState.PAUSED and self.held == registry_pb2.HOLD_CAUSE_LEASE

    def settle(self, state: VmState) -> None:
        """Tell who waits for the VM that it is in ``state``, where that lasts."""
        if state in TRANSIENT:
            return
        if self.change is not None and not self.change.arrival.done():
            self.change.arrival.set_result(state)
        if self.settled is not None:
            self.settled.set_result(state)
            self.settled = None

    def next_settled(self) -> asyncio.Future[VmState]:
        """Return what will tell of the next state that lasts, to all who ask."""
        if self.settled is None or self.settled.cancelled():
            self.settled = asyncio.get_running_loop().create_future()
        return self.settled
