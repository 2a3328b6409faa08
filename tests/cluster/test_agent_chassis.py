"""The hosts of a process keep step with the clock, and forget only what was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from cluster.agent.chassis import Chassis
from fusion.fleet_view import FleetView
from fusion.spec import Step, VmSpec
from fusion.vm import VmState
from tests.cluster.agent_world import HandClock, host, until, vm


def two_hosts(clock: HandClock) -> Chassis:
    return Chassis([(host("cna-01"), 1), (host("cna-02"), 1)], clock)


def start(chassis: Chassis, number: int, spec: VmSpec, on: str = "cna-01") -> None:
    with chassis.change() as fleet:
        fleet.start(on, number, spec, seed=1)


def stop(chassis: Chassis, number: int, on: str = "cna-01") -> None:
    with chassis.change() as fleet:
        fleet.stop(on, number, force=True)


def test_what_was_told_as_stopped_is_forgotten_where_the_vrm_knows_the_host() -> None:
    chassis = two_hosts(HandClock())
    start(chassis, 1, vm("a"))
    start(chassis, 2, vm("b"))
    start(chassis, 3, vm("c"), on="cna-02")
    stop(chassis, 1)
    stop(chassis, 3, on="cna-02")
    chassis.forget_stopped(chassis.snapshot(), {"cna-01"})
    assert chassis.current_view().vms.names == ("b", "c")


def test_a_vm_started_since_it_was_told_as_stopped_is_kept() -> None:
    chassis = two_hosts(HandClock())
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
    chassis = two_hosts(HandClock())
    start(chassis, 1, vm("a"))
    stop(chassis, 1)
    told = chassis.snapshot()
    chassis.power_off("cna-01")
    chassis.power_on("cna-01", 2)
    chassis.forget_stopped(told, {"cna-01"})
    assert chassis.powered == {"cna-01": 2, "cna-02": 1}
    assert not chassis.current_view().vms.names


def test_a_vm_is_found_by_host_and_number() -> None:
    chassis = two_hosts(HandClock())
    start(chassis, 9, vm("a"))
    start(chassis, 4, vm("b"), on="cna-02")
    assert chassis.vm_name("cna-01", 9) == "a"
    assert chassis.vm_name("cna-02", 4) == "b"
    assert chassis.vm_name("cna-01", 4) == ""


@asynccontextmanager
async def keeping_time(chassis: Chassis, tick_s: float) -> AsyncIterator[None]:
    loop = asyncio.create_task(chassis.keep_time(tick_s))
    await asyncio.sleep(0)
    try:
        yield
        assert not loop.done()
    finally:
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop


async def turn(clock: HandClock, chassis: Chassis, now_s: float) -> FleetView:
    """Turn the clock and return the view published then."""
    before = chassis.view
    clock.turn_to(now_s)
    await until(lambda: chassis.view is not before, f"a view at {now_s} s")
    return chassis.view


def test_each_tick_publishes_a_view_and_a_boot_ends_between_ticks() -> None:
    async def scenario() -> None:
        clock = HandClock()
        chassis = two_hosts(clock)
        async with keeping_time(chassis, tick_s=10.0):
            assert (await turn(clock, chassis, 10.0)).now_s == 10.0
            start(chassis, 1, vm("a", boot_s=3.0))
            assert (await turn(clock, chassis, 13.0)).vms.state_of(0) is VmState.RUNNING
            assert (await turn(clock, chassis, 20.0)).now_s == 20.0
            assert (await turn(clock, chassis, 34.0)).now_s == 34.0  # late
            assert (await turn(clock, chassis, 40.0)).now_s == 40.0

    asyncio.run(scenario())


def test_loads_that_step_all_the_time_do_not_drive_the_model_mad() -> None:
    async def scenario() -> None:
        clock = HandClock()
        chassis = two_hosts(clock)
        levels = tuple((0.01 * step, float(step % 100)) for step in range(2_000))
        start(chassis, 1, replace(vm("restless"), workload=Step(levels)))
        async with keeping_time(chassis, tick_s=1.0):
            assert (await turn(clock, chassis, 0.1)).now_s == 0.1
            quiet = chassis.view
            clock.turn_to(0.15)  # five steps later
            for _ in range(20):
                await asyncio.sleep(0)
            assert chassis.view is quiet
            assert (await turn(clock, chassis, 0.2)).vms.cpu_demand_mhz[0] == 0.2 * 4000

    asyncio.run(scenario())
