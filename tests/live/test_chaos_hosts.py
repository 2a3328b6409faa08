"""Faults of hosts that stay up, and of their power, without a datacenter."""

# The generated service names the methods.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.chaos.live.injector import LiveInjector
from cluster.live.fault_book import WrittenFault
from cluster.live.host_faults import HostFaults
from cluster.live.network import LiveNetwork
from cluster.live.process_table import look_up, myself, parent
from cluster.live.run_state import Process, RunState
from cluster.network import Plane
from cluster.rpc.errors import unary
from cluster.rpc.v1 import agent_pb2, agent_pb2_grpc, power_pb2, power_pb2_grpc
from fusion.errors import Refused
from fusion.faults.schedule import Fault, FaultKind, Offset, Stolen
from tests.live.launched import free_address


class Hosts:
    """Hosts that are on, with what befell them, in order."""

    def __init__(self, **powered: int) -> None:
        self.powered: Mapping[str, int] = powered
        self.befell: list[tuple[Any, ...]] = []

    def steal_cpu(self, host: str, percent: float) -> None:
        self.befell.append(("steal", host, percent))

    def set_clock(self, host: str, ahead_s: float) -> None:
        self.befell.append(("clock", host, ahead_s))


def slow(name: str, percent: float, *hosts: str) -> WrittenFault:
    fault = Fault(FaultKind.SLOW_HOST, 0.0, 9.0, hosts, Stolen(percent=percent))
    return WrittenFault(name, fault, None)


def wrong(name: str, offset_s: float, *hosts: str) -> WrittenFault:
    fault = Fault(FaultKind.CLOCK_OFFSET, 0.0, 9.0, hosts, Offset(offset_s=offset_s))
    return WrittenFault(name, fault, None)


def test_what_is_stolen_adds_up_and_is_given_back() -> None:
    hosts = Hosts(a=1, b=1)
    faults, one, two = HostFaults(hosts), slow("f-1", 20, "a"), slow("f-2", 30, "a", "c")
    for in_force in ([one], [one, two], [one, two], [two], []):
        assert faults.suffer(in_force) == in_force
    assert hosts.befell == [("steal", "a", percent) for percent in (20, 50, 30, 0)]


def test_a_new_incarnation_is_as_slow() -> None:
    hosts = Hosts(a=1)
    faults, fault = HostFaults(hosts), slow("f-1", 20, "a")
    faults.suffer([fault])
    hosts.powered = {}
    assert faults.suffer([fault]) == []  # nobody is there to feel it
    hosts.powered = {"a": 2}
    assert faults.suffer([fault]) == [fault]
    assert hosts.befell == [("steal", "a", 20)] * 2


def test_a_clock_is_set_and_set_right_also_while_the_host_is_off() -> None:
    hosts = Hosts(a=1, b=1)
    faults, fault = HostFaults(hosts), wrong("f-1", -5, "a")
    assert faults.suffer([fault]) == [fault]
    hosts.powered = {"b": 1}
    faults.suffer([])
    faults.suffer([])
    assert hosts.befell == [("clock", "a", -5), ("clock", "a", 0)]


def test_faults_of_other_hosts_are_not_felt() -> None:
    hosts = Hosts(a=1)
    assert HostFaults(hosts).suffer([slow("f-1", 20, "b"), wrong("f-2", 5, "b")]) == []
    assert hosts.befell == []


class Machine(power_pb2_grpc.PowerServicer, agent_pb2_grpc.AgentServicer):
    """Power control, and the agents of hosts that have power: incarnations by name."""

    def __init__(self) -> None:
        self.on = {"cna-01": 1, "cna-02": 1}
        self.last = dict(self.on)
        self.orders: list[str] = []

    def register(self, server: Any) -> None:
        power_pb2_grpc.add_PowerServicer_to_server(self, server)
        agent_pb2_grpc.add_AgentServicer_to_server(self, server)

    @unary
    async def On(self, request: Any, context: Any) -> power_pb2.PowerReply:
        if request.host not in self.on:
            self.last[request.host] += 1
            self.on[request.host] = self.last[request.host]
        return self._did("on", request.host)

    @unary
    async def Off(self, request: Any, context: Any) -> power_pb2.PowerReply:
        self.on.pop(request.host, None)
        return self._did("off", request.host)

    @unary
    async def Reset(self, request: Any, context: Any) -> power_pb2.PowerReply:
        self.last[request.host] += 1
        self.on[request.host] = self.last[request.host]
        return self._did("reset", request.host)

    def _did(self, what: str, host: str) -> power_pb2.PowerReply:
        self.orders.append(f"{what} {host}")
        return power_pb2.PowerReply(incarnation=self.last[host])

    @unary
    async def ListHosts(self, request: Any, context: Any) -> agent_pb2.ListHostsReply:
        hosts = [
            agent_pb2.ListHostsReply.Host(name=name, incarnation=number)
            for name, number in self.on.items()
        ]
        return agent_pb2.ListHostsReply(hosts=hosts)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunState:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    where = free_address()
    state = RunState(
        datacenter="small",
        folder=str(tmp_path / "run"),
        launcher=myself("launcher"),
        phase="up",
        addresses=dict.fromkeys(("cna-01", "cna-02", "bmc"), where),
    )
    state.save()
    return state


def with_machine(
    run: RunState, play: Callable[[LiveInjector, Machine], Awaitable[None]]
) -> Machine:
    async def session() -> Machine:
        network = LiveNetwork(run.addresses.__getitem__)
        machine = Machine()  # type: ignore[abstract]
        server = await network.serve("bmc", machine.register, Plane.BMC)
        try:
            await play(LiveInjector(run, network), machine)
        finally:
            await server.stop()
            await network.close()
        return machine

    return asyncio.run(session())


def test_a_host_is_powered_off_in_good_order_until_it_is_healed(run: RunState) -> None:
    off = Fault(FaultKind.POWER_OFF, 0.0, 30.0, ("cna-01",))
    crash = replace(off, kind=FaultKind.HOST_CRASH)

    async def play(injector: LiveInjector, machine: Machine) -> None:
        name, other = await injector.inject(off), await injector.inject(crash)
        health = await injector.health(name)
        assert (health.acting, health.detail) == (True, "cna-01 without power")
        await injector.heal(name)
        assert "cna-01" not in machine.on  # by the other fault
        await injector.heal(other)
        assert machine.on == {"cna-01": 2, "cna-02": 1}

    machine = with_machine(run, play)
    assert machine.orders == ["off cna-01", "off cna-01", "on cna-01"]


def test_a_reboot_is_one_order_and_leaves_nothing_to_undo(run: RunState) -> None:
    reboot = Fault(FaultKind.REBOOT, 0.0, 0.0, ("cna-01", "cna-02"))

    async def play(injector: LiveInjector, machine: Machine) -> None:
        name = await injector.inject(reboot)
        health = await injector.health(name)
        assert (health.acting, health.detail) == (True, "cna-01, cna-02 rebooted")
        await injector.heal(name)
        machine.on.pop("cna-02")
        with pytest.raises(Refused, match="cna-02 has no power, and cannot be rebooted"):
            await injector.inject(reboot)
        assert injector.under_way() == []

    machine = with_machine(run, play)
    assert sorted(machine.orders) == ["reset cna-01", "reset cna-02"]


def test_what_nobody_can_feel_here_is_refused(run: RunState) -> None:
    stolen = Fault(FaultKind.SLOW_HOST, 0.0, 9.0, ("cna-01",), Stolen(percent=50))
    node = Fault(FaultKind.NODE_LOSS, 0.0, 9.0, ("cna-01",))

    async def play(injector: LiveInjector, machine: Machine) -> None:
        with pytest.raises(Refused, match="cna-01 has no living process on this machine"):
            await injector.inject(stolen)
        with pytest.raises(Refused, match="launch it on a cluster of several with 'fusion up --r"):
            await injector.inject(node)
        replace(run, ray_address="10.0.0.1:6379").save()
        with pytest.raises(Refused, match="cna-01 is on no Ray node of this machine"):
            await injector.inject(node)
        assert injector.under_way() == []

    with_machine(run, play)


def test_a_parent_is_known_by_its_program() -> None:
    me, above = myself("test"), look_up(os.getppid())
    assert above is not None
    program = Path(above.command.partition(" ")[0]).name
    assert parent(me, program) == Process(above.pid, above.started, program)
    assert parent(me, "raylet") is None
    assert parent(replace(me, started="another"), program) is None
