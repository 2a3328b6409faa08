"""The hosts of a process keep step with the clock, and forget only what was told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from cluster.agent.chassis import Chassis
from cluster.clock import Clock
from cluster.simulated.fabric import Fabric
from cluster.simulated.process import Process
from cluster.simulated.stores import Disk
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from fusion import seeds
from fusion.fleet_view import FleetView
from fusion.spec import Step, VmSpec
from fusion.vm import VmState
from tests.cluster.agent_world import host, vm
from tests.cluster.stopped_clock import StoppedClock
from tests.cluster.virtual_time import in_virtual_time, virtual_loop


def two_hosts(clock: Clock, tick_s: float = 1.0) -> Chassis:
    return Chassis([(host("cna-01"), 1), (host("cna-02"), 1)], tick_s=tick_s, clock=clock)


def start(chassis: Chassis, number: int, spec: VmSpec, on: str = "cna-01") -> None:
    with chassis.change() as fleet:
        fleet.start(on, number, spec, seed=1)


def stop(chassis: Chassis, number: int, on: str = "cna-01") -> None:
    with chassis.change() as fleet:
        fleet.stop(on, number, force=True)


def test_what_was_told_as_stopped_is_forgotten_where_the_vrm_knows_the_host() -> None:
    chassis = two_hosts(StoppedClock())
    start(chassis, 1, vm("a"))
    start(chassis, 2, vm("b"))
    start(chassis, 3, vm("c"), on="cna-02")
    stop(chassis, 1)
    stop(chassis, 3, on="cna-02")
    chassis.forget_stopped(chassis.snapshot(), {"cna-01"})
    assert chassis.current_view().vms.names == ("b", "c")


def test_a_vm_started_since_it_was_told_as_stopped_is_kept() -> None:
    chassis = two_hosts(StoppedClock())
    start(chassis, 1, vm("a"))
    stop(chassis, 1)
    told = chassis.snapshot()
    start(chassis, 1, vm("a"))
    chassis.forget_stopped(told, {"cna-01"})
    assert chassis.current_view().vms.names == ("a",)
    # Stopped once more, it looks as it was told; but nobody has heard of that stop.
    stop(chassis, 1)
    chassis.forget_stopped(told, {"cna-01"})
    assert chassis.current_view().vms.names == ("a",)


def test_a_host_switched_meanwhile_has_nothing_to_forget() -> None:
    chassis = two_hosts(StoppedClock())
    start(chassis, 1, vm("a"))
    stop(chassis, 1)
    told = chassis.snapshot()
    chassis.power_off("cna-01")
    chassis.power_on("cna-01", 2)
    chassis.forget_stopped(told, {"cna-01"})
    assert chassis.powered == {"cna-01": 2, "cna-02": 1}
    assert not chassis.current_view().vms.names


def test_a_vm_is_found_by_host_and_number() -> None:
    chassis = two_hosts(StoppedClock())
    start(chassis, 9, vm("a"))
    start(chassis, 4, vm("b"), on="cna-02")
    assert chassis.vm_name("cna-01", 9) == "a"
    assert chassis.vm_name("cna-02", 4) == "b"
    assert chassis.vm_name("cna-01", 4) == ""


class KeepsTime:
    """A process that does nothing but keep the time of two hosts; ``views`` are all of them."""

    def __init__(self, tick_s: float) -> None:
        loop = virtual_loop()
        wires = Wires(loop, seeds.generator(1, "network"), Quality())
        self.process = Process("chassis-1", Fabric(loop, wires, Trace()), Disk())
        self.chassis = two_hosts(self.process.clock, tick_s)
        self.views: list[FleetView] = []
        self.chassis.followers.append(self.views.append)

    async def run(self, serving: Callable[[], None]) -> None:
        serving()
        await self.chassis.keep_time()

    async def at(self, now_s: float) -> FleetView:
        """Return the view that is there at ``now_s``."""
        await self.process.clock.sleep(now_s - self.process.clock.now())
        return self.chassis.view


@asynccontextmanager
async def keeping_time(tick_s: float) -> AsyncIterator[KeepsTime]:
    hosts = KeepsTime(tick_s)
    await hosts.process.start(lambda _: hosts)
    yield hosts
    hosts.process.kill()


def test_each_tick_publishes_a_view_and_a_boot_ends_between_ticks() -> None:
    async def scenario() -> None:
        async with keeping_time(tick_s=10.0) as hosts:
            assert (await hosts.at(10.5)).now_s == 10.0
            start(hosts.chassis, 1, vm("a", boot_s=3.0))
            await hosts.at(13.4)
            assert hosts.chassis.current_view().vms.state_of(0) is VmState.STARTING
            assert (await hosts.at(13.6)).vms.state_of(0) is VmState.RUNNING
            assert (await hosts.at(20.5)).now_s == 20.0
            hosts.process.hang()
            assert (await hosts.at(34.0)).now_s == 20.0
            hosts.process.wake()
            assert (await hosts.at(34.5)).now_s == 34.0  # late
            assert (await hosts.at(40.5)).now_s == 40.0

    in_virtual_time(scenario())


def test_loads_that_step_all_the_time_do_not_drive_the_model_mad() -> None:
    async def scenario() -> None:
        async with keeping_time(tick_s=1.0) as hosts:
            levels = tuple((0.01 * step, float(step % 100)) for step in range(2_000))
            start(hosts.chassis, 1, replace(vm("restless"), workload=Step(levels)))
            quiet = await hosts.at(0.101)
            assert quiet.now_s == pytest.approx(0.1)
            assert await hosts.at(0.151) is quiet  # five steps later
            assert (await hosts.at(0.201)).vms.cpu_demand_mhz[0] == 0.2 * 4000
            await hosts.at(10.05)
            assert len(hosts.views) <= 10 + 100, "ticks, and tenths of a second, of 1,000 steps"

    in_virtual_time(scenario())
