"""What the datacenter consists of: clusters, hosts and VMs; memory backed by the store."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from cluster.rpc import convert
from cluster.rpc.v1 import common_pb2, vrm_pb2
from cluster.vrm.figures import NOWHERE, HostFigures, VmFigures
from cluster.vrm.records import Desired, Host, Vm
from cluster.vrm.store import Store
from cluster.vrm.usage import Usage
from fusion.errors import NotFound
from fusion.host import HostEvent, HostState
from fusion.host import next_state as next_host_state
from fusion.spec import (
    Admission,
    AdmissionKind,
    ClusterSpec,
    Datacenter,
    HostSpec,
    IsolationResponse,
    Placement,
    StorageFault,
    VmSpec,
)
from fusion.vm import ON_HOST, VmState, vm_number


class Inventory:
    """All clusters, hosts and VMs. What must survive a crash is written before it is returned."""

    def __init__(
        self, store: Store, clusters: Sequence[ClusterSpec], hosts: Sequence[HostSpec]
    ) -> None:
        self._store = store
        self.clusters = {cluster.name: cluster for cluster in clusters}
        self.hosts = [Host(row, spec) for row, spec in enumerate(hosts)]
        self._host_of = {host.name: host for host in self.hosts}
        self.host_figures = HostFigures(hosts)
        self.vms: dict[int, Vm] = {}
        self._vm_of: dict[str, Vm] = {}
        self.vm_figures = VmFigures()
        self.usage = Usage(len(hosts))
        #: Rises whenever a host or VM came, went or changed.
        self.revision = 0

    @staticmethod
    def open(store: Store, datacenter: Datacenter) -> Inventory:
        """Return what the store holds; a new store is first filled from ``datacenter``.

        Hosts that were on are disconnected, others powered off, and VMs on hosts unknown, until
        agents register.
        """
        if not store.read("SELECT 1 FROM clusters LIMIT 1"):
            _fill(store, datacenter)
        clusters = [_cluster(*row) for row in store.read(_ALL_CLUSTERS)]
        hosts = store.read(_ALL_HOSTS)
        specs = [convert.host_from_message(common_pb2.HostSpec.FromString(row[0])) for row in hosts]
        inventory = Inventory(store, clusters, specs)
        for host, row in zip(inventory.hosts, hosts, strict=True):
            inventory._load_host(host, row)
        inventory._load_vms(store.read(_ALL_VMS))
        return inventory

    def _load_host(self, host: Host, row: tuple[Any, ...]) -> None:
        _, host.incarnation, host.address, host.metrics_url, host.pid, *wanted, host.ended = row
        host.switched_off, host.maintenance = map(bool, wanted)
        if host.incarnation > host.ended:
            self._set_host_state(host, HostState.DISCONNECTED)

    def _load_vms(self, rows: Sequence[tuple[Any, ...]]) -> None:
        vms = [self._loaded(row) for row in rows]
        self.vms = {vm.number: vm for vm in vms}
        self._vm_of = {vm.name: vm for vm in vms}
        numbers = [vm.number for vm in vms]
        self.vm_figures.set_all(numbers, [vm.state for vm in vms], [vm.epoch for vm in vms])
        self.usage.reach_vm(max(numbers, default=0))
        held = [(vm.host.row, vm) for vm in vms if vm.host is not None]
        host_rows = [row for row, _ in held]
        self.vm_figures.host_row[[vm.number for _, vm in held]] = host_rows
        self.host_figures.commit_all(host_rows, [vm.spec for _, vm in held])
        self.revision += len(vms)

    def _loaded(self, row: tuple[Any, ...]) -> Vm:
        number, spec, group, desired, host, epoch, cpu_unsure, creating, reserved = row
        state = VmState.UNKNOWN if host else VmState.STOPPED
        return Vm(
            number=number,
            spec=convert.vm_from_bytes(spec),
            group=group,
            desired=Desired(desired),
            state=VmState.CREATING if creating else state,
            host=self._host_of[host] if host else None,
            epoch=epoch,
            epoch_reserved=reserved,
            cpu_unsure=bool(cpu_unsure),
        )

    # Looking things up

    def host(self, name: str) -> Host:
        """Return the host ``name``. Raises ``NotFound``, suggesting the closest name."""
        host = self._host_of.get(name)
        if host is None:
            raise _no_such("host", name, self._host_of, "fusion host list")
        return host

    def known_host(self, name: str) -> Host | None:
        return self._host_of.get(name)

    def cluster(self, name: str) -> ClusterSpec:
        """Return the cluster ``name``. Raises ``NotFound``, suggesting the closest name."""
        cluster = self.clusters.get(name)
        if cluster is None:
            raise _no_such("cluster", name, self.clusters, "fusion cluster list")
        return cluster

    def vm(self, name_or_id: str) -> Vm:
        """Return a VM by name or identity. Raises ``NotFound``, suggesting the closest name."""
        vm = self.known_vm(name_or_id)
        if vm is None:
            raise _no_such("VM", name_or_id, self._vm_of, "fusion vm list")
        return vm

    def known_vm(self, name_or_id: str) -> Vm | None:
        """Return a VM by name or identity, if there is one; nothing is suggested."""
        vm = self._vm_of.get(name_or_id)
        if vm is not None:
            return vm
        try:
            return self.vms.get(vm_number(name_or_id))
        except ValueError:
            return None

    def vm_named(self, name: str) -> Vm | None:
        return self._vm_of.get(name)

    def hosts_of(self, cluster: str) -> list[Host]:
        return [host for host in self.hosts if host.spec.cluster == cluster]

    def vms_on(self, host: Host) -> list[Vm]:
        """Return the VMs that ``host`` holds or may hold, by number."""
        numbers = (self.vm_figures.host_row == host.row).nonzero()[0]
        return [self.vms[number] for number in numbers.tolist()]

    # Hosts

    def move_host(self, host: Host, event: HostEvent) -> None:
        """Apply ``event`` by the table of host states. Raises ``Refused``."""
        self._set_host_state(host, next_host_state(host.name, host.state, event))

    def _set_host_state(self, host: Host, state: HostState) -> None:
        host.state = state
        self.host_figures.state[host.row] = convert.HOST_STATES[state]
        self._changed(host)

    def set_incarnation(self, host: Host, incarnation: int) -> None:
        """The host came on anew; its agent has yet to be heard in this incarnation."""
        self._store.write(
            "UPDATE hosts SET incarnation = ?, address = '' WHERE name = ?",
            (incarnation, host.name),
        )
        host.incarnation, host.address = incarnation, ""
        host.session = host.sequence = 0
        self._changed(host)

    def end_incarnation(self, host: Host, incarnation: int) -> None:
        """The power of the host was cut: nothing of this or an earlier incarnation counts."""
        self._store.write(
            "UPDATE hosts SET incarnation = ?, ended = ? WHERE name = ?",
            (incarnation, incarnation, host.name),
        )
        host.incarnation = host.ended = incarnation
        host.session = host.sequence = 0
        self._changed(host)

    def switch(self, host: Host, *, off: bool) -> None:
        """Remember whether the host is wanted off."""
        if host.switched_off != off:
            self._store.write("UPDATE hosts SET switched_off = ? WHERE name = ?", (off, host.name))
            host.switched_off = off

    def maintain(self, host: Host, *, maintenance: bool) -> None:
        """Remember whether the host is wanted out of use."""
        if host.maintenance != maintenance:
            self._store.write(
                "UPDATE hosts SET maintenance = ? WHERE name = ?", (maintenance, host.name)
            )
            host.maintenance = maintenance

    def set_endpoint(self, host: Host, address: str, metrics_url: str, pid: int) -> None:
        self._store.write(
            "UPDATE hosts SET address = ?, metrics_url = ?, pid = ? WHERE name = ?",
            (address, metrics_url, pid, host.name),
        )
        host.address, host.metrics_url, host.pid = address, metrics_url, pid

    # VMs

    def create(self, specs: Sequence[tuple[VmSpec, str]]) -> list[Vm]:
        """Add VMs, each with its group, in one commit: stopped, or creating those with volumes."""
        with self._store.transaction():
            last = self._store.raise_counter("vm", by=len(specs))
            first = last - len(specs) + 1
            vms = [
                Vm(
                    number,
                    spec,
                    group,
                    Desired.STOPPED,
                    VmState.CREATING if spec.volumes else VmState.STOPPED,
                )
                for number, (spec, group) in enumerate(specs, start=first)
            ]
            self._store.write_many(
                "INSERT INTO vms (number, name, spec, vm_group, desired, creating) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        vm.number,
                        vm.name,
                        vm.message.SerializeToString(),
                        vm.group,
                        vm.desired,
                        vm.state is VmState.CREATING,
                    )
                    for vm in vms
                ],
            )
        for vm in vms:
            self._add(vm)
        return vms

    def _add(self, vm: Vm) -> None:
        self.vms[vm.number] = vm
        self._vm_of[vm.name] = vm
        self.vm_figures.reach(vm.number)
        self.usage.reach_vm(vm.number)
        self.vm_figures.set_state(vm.number, vm.state)
        self.vm_figures.epoch[vm.number] = vm.epoch
        self.revision += 1

    def created(self, vm: Vm) -> None:
        """All that belongs to a VM that was creating is there: it is stopped."""
        self._store.write("UPDATE vms SET creating = 0 WHERE number = ?", (vm.number,))
        self.set_state(vm, VmState.STOPPED)

    def delete(self, vm: Vm) -> None:
        self._store.write("DELETE FROM vms WHERE number = ?", (vm.number,))
        del self.vms[vm.number]
        del self._vm_of[vm.name]
        self.vm_figures.remove(vm.number)
        self.usage.remove_vm(vm.number)
        self._changed(vm.host)

    def give(self, vm: Vm, host: Host) -> None:
        """Give a VM to ``host``: its epoch rises, durably, before anything is ordered."""
        self._store.write(
            "UPDATE vms SET host = ?, epoch = ?, cpu_unsure = 0 WHERE number = ?",
            (host.name, vm.next_epoch, vm.number),
        )
        self._set_epoch(vm, vm.next_epoch)
        vm.cpu_unsure = False
        self._put(vm, host)

    def take_back(self, vm: Vm, host: Host) -> None:
        """``host`` was found to hold the copy of a VM that has the current epoch."""
        self._store.write("UPDATE vms SET host = ? WHERE number = ?", (host.name, vm.number))
        self._put(vm, host)

    def bar(self, vm: Vm) -> None:
        """Raise the epoch of a VM, durably: no host has it, and all there were are void."""
        self._store.write("UPDATE vms SET epoch = ? WHERE number = ?", (vm.next_epoch, vm.number))
        self._set_epoch(vm, vm.next_epoch)
        self.revision += 1

    def reserve_epochs(self, vm: Vm) -> tuple[int, int]:
        """Return two epochs above all there were, durably kept for a migration of the VM: that
        which its destination has it at, and a higher one at which its source takes it back.
        """
        there, back = vm.next_epoch, vm.next_epoch + 1
        self._store.write("UPDATE vms SET epoch_reserved = ? WHERE number = ?", (back, vm.number))
        vm.epoch_reserved = back
        return there, back

    def hand_over(self, vm: Vm, host: Host, epoch: int) -> None:
        """The array gave the VM to ``host``, at an epoch that had been reserved."""
        self._store.write(
            "UPDATE vms SET host = ?, epoch = ? WHERE number = ?", (host.name, epoch, vm.number)
        )
        self._set_epoch(vm, epoch)
        if vm.host is host:
            self._changed(host)
        else:
            self._put(vm, host)

    def _set_epoch(self, vm: Vm, epoch: int) -> None:
        vm.epoch = epoch
        self.vm_figures.epoch[vm.number] = epoch

    def expect(self, vm: Vm, host: Host) -> None:
        """``host`` keeps what a VM needs that is on its way there, until it is not any more."""
        self.host_figures.expect(host.row, vm.spec)
        self._changed(host)

    def drop_expected(self, vm: Vm, host: Host) -> None:
        self.host_figures.expect(host.row, vm.spec, times=-1)
        self._changed(host)

    def release(self, vm: Vm) -> None:
        """No host holds the VM any more."""
        if vm.host is None:
            return
        self._store.write("UPDATE vms SET host = '' WHERE number = ?", (vm.number,))
        self.host_figures.commit(vm.host.row, vm.spec, times=-1)
        self._changed(vm.host)
        vm.host = None
        self.vm_figures.host_row[vm.number] = NOWHERE

    def _put(self, vm: Vm, host: Host) -> None:
        if vm.host is not None:
            self.host_figures.commit(vm.host.row, vm.spec, times=-1)
            self._changed(vm.host)
        vm.host = host
        self.vm_figures.host_row[vm.number] = host.row
        self.host_figures.commit(host.row, vm.spec)
        self._changed(host)

    def want(self, vm: Vm, desired: Desired) -> None:
        if vm.desired is not desired:
            self._store.write("UPDATE vms SET desired = ? WHERE number = ?", (desired, vm.number))
            vm.desired = desired

    def configure(self, vm: Vm, spec: VmSpec, *, unsure: bool) -> None:
        """Store a new configuration; ``unsure`` while the VM's host may have another one."""
        self._store.write(
            "UPDATE vms SET spec = ?, cpu_unsure = ? WHERE number = ?",
            (convert.vm_to_message(spec).SerializeToString(), unsure, vm.number),
        )
        if vm.host is not None:
            self.host_figures.commit(vm.host.row, vm.spec, times=-1)
            self.host_figures.commit(vm.host.row, spec)
        vm.configure(spec)
        vm.cpu_unsure = unsure
        self.revision += 1

    def set_state(self, vm: Vm, state: VmState) -> None:
        """The VM is in ``state``: frees its host where that holds nothing for it any more."""
        vm.state = state
        self.vm_figures.set_state(vm.number, state)
        self._changed(vm.host)
        if state not in ON_HOST:
            self.release(vm)
        if state not in ON_HOST or state is VmState.UNKNOWN:
            self.usage.idle_vm(vm.number)
        vm.settle(state)

    def _changed(self, host: Host | None) -> None:
        """``host`` is another, or what it holds; or else something that is on no host."""
        self.revision += 1
        if host is not None:
            host.revision += 1

    # VM groups of the datacenter file

    def deployed(self, group: str) -> bool:
        """Whether the VMs of ``group`` were created, now or before a restart."""
        return bool(self._store.read("SELECT 1 FROM deployed WHERE vm_group = ?", (group,)))

    def create_group(self, group: str, specs: Iterable[VmSpec]) -> list[Vm]:
        """Create all VMs of ``group`` and remember that it was done, in one commit."""
        with self._store.transaction():
            self._store.write("INSERT INTO deployed VALUES (?)", (group,))
            return self.create([(spec, group) for spec in specs])


_ALL_CLUSTERS = "SELECT settings, admission FROM clusters ORDER BY position"
_ALL_HOSTS = (
    "SELECT spec, incarnation, address, metrics_url, pid, switched_off, maintenance, ended "
    "FROM hosts ORDER BY position"
)
_ALL_VMS = (
    "SELECT number, spec, vm_group, desired, host, epoch, cpu_unsure, creating, epoch_reserved "
    "FROM vms ORDER BY number"
)


def _fill(store: Store, datacenter: Datacenter) -> None:
    with store.transaction():
        store.write_many(
            "INSERT INTO clusters VALUES (?, ?, ?)",
            [
                (
                    position,
                    cluster_message(cluster).SerializeToString(),
                    json.dumps(asdict(cluster.admission)),
                )
                for position, cluster in enumerate(datacenter.clusters)
            ],
        )
        store.write_many(
            "INSERT INTO hosts (position, name, spec) VALUES (?, ?, ?)",
            [
                (position, host.name, convert.host_to_message(host).SerializeToString())
                for position, host in enumerate(datacenter.hosts)
            ],
        )


def cluster_message(cluster: ClusterSpec) -> vrm_pb2.Cluster:
    """Return the settings of ``cluster`` as a message, its figures still to be filled in."""
    return vrm_pb2.Cluster(
        name=cluster.name,
        placement=cluster.placement,
        ha=cluster.ha,
        drs=cluster.drs,
        memory_overcommit=cluster.memory_overcommit,
        cpu_baseline=cluster.cpu_baseline,
        admission=admission_words(cluster.admission),
        isolation_response=cluster.isolation_response,
        storage_fault=cluster.storage_fault,
        restarts_per_host=cluster.restarts_per_host,
        migration=convert.migration_to_message(cluster.migration),
    )


def admission_words(admission: Admission) -> str:
    """Return what ``admission`` keeps free for failures."""
    match admission.kind:
        case AdmissionKind.NONE:
            return "none"
        case AdmissionKind.SLOTS:
            hosts = admission.tolerated_hosts
            return f"slots for the failure of {hosts} host{'s' if hosts != 1 else ''}"
        case AdmissionKind.PERCENTAGE:
            return (
                f"{admission.cpu_percent:g} % of CPU and "
                f"{admission.memory_percent:g} % of memory kept free"
            )
        case AdmissionKind.SPARE_HOSTS:
            return f"spare hosts: {', '.join(admission.spare_hosts)}"


def _admission(words: str) -> Admission:
    facts = json.loads(words)
    if not facts:
        return Admission()
    return Admission(
        kind=AdmissionKind(facts["kind"]),
        tolerated_hosts=facts["tolerated_hosts"],
        cpu_percent=facts["cpu_percent"],
        memory_percent=facts["memory_percent"],
        spare_hosts=tuple(facts["spare_hosts"]),
    )


def _cluster(settings: bytes, admission: str) -> ClusterSpec:
    message = vrm_pb2.Cluster.FromString(settings)
    default = ClusterSpec("")  # what an older store does not say
    return ClusterSpec(
        name=message.name,
        placement=Placement(message.placement),
        ha=message.ha,
        drs=message.drs,
        memory_overcommit=message.memory_overcommit,
        cpu_baseline=message.cpu_baseline,
        admission=_admission(admission),
        isolation_response=IsolationResponse(
            message.isolation_response or default.isolation_response
        ),
        storage_fault=StorageFault(message.storage_fault or default.storage_fault),
        restarts_per_host=message.restarts_per_host or default.restarts_per_host,
        migration=convert.migration_from_message(message.migration, default.migration),
    )


def _no_such(what: str, name: str, known: Iterable[str], command: str) -> NotFound:
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {close[0]}?" if close else f"'{command}' shows all"
    return NotFound(f"there is no {what} {name!r}; {hint}")
