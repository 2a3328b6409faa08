"""Power of hosts as processes, with processes that are only pretended."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cluster.live.layout import Chassis
from cluster.live.network import LiveNetwork
from cluster.live.power import LivePower
from cluster.live.power_supply import Incarnations, PowerService, PowerSupply, Running
from cluster.network import Plane
from fusion.errors import FusionError, NotFound, Refused
from fusion.spec import HostSpec
from tests.live.launched import free_address


def host(name: str) -> HostSpec:
    return HostSpec(name, "c", "r", 1, 4, 2000.0, 8 << 30)


CHASSIS = tuple(Chassis(name, (host(name),), 0, 0, packed=False) for name in ("a", "b"))


@dataclass
class Pretended:
    """A process that exists in this list only."""

    hosts: tuple[tuple[HostSpec, int], ...]
    died: Callable[[], None]
    killed: bool = False

    async def kill(self) -> None:
        await asyncio.sleep(0)
        self.killed = True
        self.died()


@dataclass
class Workshop:
    """Starts pretended processes; ``broken`` says why it cannot."""

    started: list[Pretended] = field(default_factory=list)
    broken: str = ""
    held: asyncio.Event | None = None

    async def start(
        self,
        chassis: Chassis,
        hosts: tuple[tuple[HostSpec, int], ...],
        died: Callable[[], None],
    ) -> Running:
        if self.held is not None:
            await self.held.wait()
        if self.broken:
            raise FusionError(self.broken)
        self.started.append(Pretended(hosts, died))
        return self.started[-1]


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def supply(workshop: Workshop) -> PowerSupply:
    return supply_with(workshop, sqlite3.connect(":memory:"))


def supply_with(workshop: Workshop, store: sqlite3.Connection) -> PowerSupply:
    network = LiveNetwork(lambda name: f"nowhere for {name}")
    return PowerSupply(CHASSIS, workshop.start, network, Incarnations(store))


def test_on_starts_one_process_and_repeats_its_answer(
    supply: PowerSupply, workshop: Workshop
) -> None:
    async def twice_at_once() -> list[int]:
        return list(await asyncio.gather(supply.on("a"), supply.on("a")))

    assert asyncio.run(twice_at_once()) == [1, 1]
    assert [process.hosts for process in workshop.started] == [((host("a"), 1),)]


def test_off_ends_the_process_and_tells_what_ended(supply: PowerSupply, workshop: Workshop) -> None:
    async def play() -> list[int]:
        return [await supply.off("a"), await supply.on("a"), await supply.off("a")]

    assert asyncio.run(play()) == [0, 1, 1]
    assert workshop.started[0].killed
    assert supply.deaths == []  # it was no accident


def test_every_power_on_is_a_new_incarnation_also_after_a_restart(workshop: Workshop) -> None:
    store = sqlite3.connect(":memory:")
    supply = supply_with(workshop, store)

    async def play() -> list[int]:
        return [await supply.on("a"), await supply.reset("a"), await supply.on("b")]

    assert asyncio.run(play()) == [1, 2, 1]
    assert asyncio.run(supply_with(workshop, store).on("a")) == 3


def test_a_death_is_noted_and_the_host_can_come_back(
    supply: PowerSupply, workshop: Workshop
) -> None:
    asyncio.run(supply.on("a"))
    workshop.started[0].died()
    assert supply.deaths == ["a"]
    assert asyncio.run(supply.on("a")) == 2


def test_word_of_an_old_death_does_not_touch_the_new_process(
    supply: PowerSupply, workshop: Workshop
) -> None:
    async def play() -> int:
        await supply.on("a")
        await supply.reset("a")
        workshop.started[0].died()
        return await supply.on("a")

    assert asyncio.run(play()) == 2
    assert supply.deaths == []


def test_a_host_that_does_not_start_says_why(supply: PowerSupply, workshop: Workshop) -> None:
    workshop.broken = "the port is taken"
    with pytest.raises(FusionError, match="the port is taken"):
        asyncio.run(supply.on("a"))
    assert supply.failures == ["host a cannot be started: the port is taken"]
    workshop.broken = ""
    assert asyncio.run(supply.on("a")) == 2


def test_unknown_hosts_and_orders_after_the_end_are_refused(supply: PowerSupply) -> None:
    with pytest.raises(NotFound, match="no host 'c'"):
        asyncio.run(supply.on("c"))
    supply.close()
    with pytest.raises(Refused, match="shut down"):
        asyncio.run(supply.on("a"))


def test_over_the_wire_an_order_goes_on_when_its_caller_gives_up(
    supply: PowerSupply, workshop: Workshop
) -> None:
    async def play() -> int:
        workshop.held = asyncio.Event()
        network = LiveNetwork({"bmc": free_address()}.__getitem__)
        server = await network.serve("bmc", PowerService(supply).register, Plane.BMC)
        with pytest.raises(FusionError, match="deadline exceeded"):
            await LivePower(network, timeout_s=0.2).on("a")
        workshop.held.set()
        incarnation = await LivePower(network).on("a")
        with pytest.raises(NotFound, match="no host 'c'"):
            await LivePower(network).off("c")
        await server.stop()
        await network.close()
        return incarnation

    assert asyncio.run(play()) == 1
    assert len(workshop.started) == 1
