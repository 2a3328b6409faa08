"""Network faults over real connections: what calls come to, beside the simulated world."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cluster.live.fault_book import FaultBook, WrittenFault
from cluster.live.fault_watch import FaultWatch
from cluster.live.links import Links
from cluster.live.network import Faults, LiveNetwork
from cluster.live.process_table import myself
from cluster.live.run_state import Process
from cluster.live.way import Way
from cluster.network import Plane
from cluster.simulated.clock import SimulatedClock
from cluster.simulated.fabric import Fabric
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.trace import Trace
from cluster.simulated.wires import Quality, Wires
from fusion import seeds
from fusion.errors import NotFound
from fusion.faults.schedule import Cut, Direction, Fault, FaultKind, Flap, Impaired, Narrow, OfLinks
from tests.cluster.virtual_time import in_virtual_time, virtual_loop
from tests.live.launched import free_address
from tests.simulated.calls import CASES
from tests.simulated.stage import Stage, call, outcome

BOTH, OUT, IN = Direction.BOTH, Direction.OUT, Direction.IN
PEERS = ("peer",)


@dataclass(frozen=True)
class Case:
    """A call under a fault; ``heals``: it begins while the fault lasts and ends behind it."""

    fault: OfLinks
    orders: tuple[bytes, ...] = (b"one",)
    kind: str = "unary_unary"
    limit_s: float | None = None
    heals: bool = False
    arrives: int = 1  # how often the handler gets it


def cut(direction: Direction, *planes: str) -> Cut:
    return Cut(peers=PEERS, direction=direction, planes=planes or ("management",))


def lossy(direction: Direction) -> Impaired:
    return Impaired(peers=PEERS, direction=direction, loss=1.0)


LATE = Impaired(peers=PEERS, latency_s=0.02, jitter_s=0.001)
DOUBLE = Impaired(peers=PEERS, duplication=1.0)
NARROW = Narrow(peers=PEERS, bandwidth_bps=1e5)
NEARLY_NOTHING = Narrow(peers=PEERS, bandwidth_bps=100.0)

UNDER_FAULTS = {
    "cut": Case(cut(BOTH), limit_s=0.3, arrives=0),
    "cut on the way there": Case(cut(OUT), limit_s=0.3, arrives=0),
    "cut on the way back": Case(cut(IN), limit_s=2.0),
    "mended": Case(cut(BOTH), heals=True),
    "mended on the way back": Case(cut(IN), heals=True),
    "another plane": Case(cut(BOTH, "storage", "migration")),
    "lost": Case(lossy(OUT), limit_s=0.3, arrives=0),
    "answer lost": Case(lossy(IN), limit_s=2.0),
    "stream lost": Case(lossy(OUT), (b"one",), "unary_stream", limit_s=0.3, arrives=0),
    "stream of both lost": Case(lossy(OUT), (b"one",), "stream_stream", limit_s=0.3, arrives=0),
    "end of a stream lost": Case(lossy(IN), (b"one", b"two"), "unary_stream", 1.0, arrives=2),
    "late": Case(LATE),
    "late and refused": Case(LATE, (b"abort",)),
    "late and failed": Case(LATE, (b"raise",)),
    "twice": Case(DOUBLE, arrives=2),
    "twice and refused": Case(DOUBLE, (b"abort",), arrives=2),
    "late answers": Case(LATE, (b"one", b"two", b"three"), "unary_stream", arrives=3),
    "late both ways": Case(LATE, (b"one", b"two"), "stream_stream", arrives=2),
    "narrow": Case(NARROW),
    "narrow and refused": Case(NARROW, (b"abort",)),
    "narrow and too late": Case(NEARLY_NOTHING, limit_s=0.3, arrives=0),
    "narrow answers": Case(NARROW, (b"one", b"two", b"three"), "unary_stream", arrives=3),
    "answers held": Case(cut(IN), (b"one", b"two"), "unary_stream", heals=True, arrives=2),
    "an abort held": Case(cut(IN), (b"one", b"abort"), "unary_stream", heals=True, arrives=2),
}


async def play(stage: Stage, case: Case, heal: Callable[[], None]) -> object:
    await stage.serve()
    try:
        calling = call(stage, case.kind, *case.orders, timeout=case.limit_s)
        ending = asyncio.ensure_future(outcome(calling))
        if case.heals:
            await asyncio.sleep(0.1)
            assert not ending.done()
            heal()
        seen = await ending
        while len(stage.log) < case.arrives:  # noqa: ASYNC110 - in both worlds
            await asyncio.sleep(0.002)
        return seen, sorted(stage.log)
    finally:
        await stage.stop()


def links_under(*faults: OfLinks) -> Links:
    links = Links("client", lambda name: {name}, 1.0, seeds.generator(1, "links"))
    links.suffer([written(fault) for fault in faults])
    return links


def written(parameters: OfLinks, *targets: str) -> WrittenFault:
    fault = Fault(FaultKind.PARTITION, 0.0, 0.0, targets or ("client",), parameters)
    return WrittenFault("fault-1", fault, None)


async def over_tcp(tmp_path: Path, case: Case) -> object:
    address = free_address()
    links = links_under(case.fault)
    client = LiveNetwork(lambda _: address, faults=faults_of(links, tmp_path))
    try:
        stage = Stage(client, LiveNetwork(lambda _: address), "peer", "stranger")

        def heal() -> None:
            links.suffer([])

        return await play(stage, case, heal)
    finally:
        await client.close()


def faults_of(links: Links, folder: Path) -> Faults:
    return Faults(links, FaultWatch(FaultBook(folder), "client"))


@contextmanager
def in_memory() -> Iterator[tuple[VirtualLoop, Wires, Stage]]:
    loop = VirtualLoop()  # type: ignore[abstract]
    wires = Wires(loop, seeds.generator(1, "network"), Quality())
    fabric = Fabric(loop, wires, Trace())
    stage = Stage(SimulatedNetwork(fabric, "client"), SimulatedNetwork(fabric, "peer"), "peer", "x")
    try:
        yield loop, wires, stage
    finally:
        loop.bury(loop.world)
        loop.drain()
        loop.close()


def simulated(case: Case) -> object:
    ways = {OUT: [("client", "peer")], IN: [("peer", "client")]}
    ways[BOTH] = ways[OUT] + ways[IN]
    fault = case.fault
    links = [(*way, Plane(plane)) for way in ways[fault.direction] for plane in fault.planes]
    with in_memory() as (loop, wires, stage):
        for link in links:
            if isinstance(fault, Cut):
                wires.cut(*link)
            elif isinstance(fault, Narrow):
                wires.shape(*link, Quality(bandwidth_bps=fault.bandwidth_bps))
            elif isinstance(fault, Impaired):
                quality = Quality(
                    latency_s=fault.latency_s, loss=fault.loss, duplication=fault.duplication
                )
                wires.shape(*link, quality)

        def heal() -> None:
            for link in links:
                wires.mend(*link)

        return loop.run_until_complete(play(stage, case, heal))


@pytest.mark.parametrize("name", UNDER_FAULTS)
def test_calls_under_faults_come_to_the_same_in_both_worlds(name: str, tmp_path: Path) -> None:
    case = UNDER_FAULTS[name]
    expected = simulated(case)
    assert asyncio.run(over_tcp(tmp_path, case)) == expected


@pytest.mark.parametrize(
    "name", [name for name in CASES if "unary_stream" in name or "stream_stream" in name]
)
def test_streams_over_a_calm_link_are_as_they_were(name: str, tmp_path: Path) -> None:
    async def plain(faults: Faults | None) -> object:
        addresses = {"peer": free_address(), "stranger": free_address()}
        client = LiveNetwork(addresses.__getitem__, faults=faults)
        stage = Stage(client, LiveNetwork(addresses.__getitem__), "peer", "stranger", 2.0)
        await stage.serve()
        try:
            return await CASES[name](stage)
        finally:
            await stage.stop()
            await client.close()

    async def both() -> tuple[object, object]:
        return await asyncio.gather(plain(faults_of(links_under(), tmp_path)), plain(None))

    linked, unlinked = asyncio.run(both())
    assert linked == unlinked


def test_each_side_sees_its_own_directions() -> None:
    def sides(name: str, other: str, *faults: WrittenFault) -> tuple[bool, bool]:
        links = Links(name, lambda name: {name}, 1.0, seeds.generator(1, "links"))
        link = links.link(other, Plane.STORAGE)
        links.suffer(faults)
        assert links.link("somebody", Plane.STORAGE).calm
        return link.out.calm, link.back.calm

    to_array = written(Cut(peers=("san",), direction=OUT), "cna-01", "cna-02")
    assert sides("cna-01", "san", to_array) == (False, True)
    assert sides("san", "cna-02", to_array) == (True, False)
    assert sides("cna-03", "san", to_array) == (True, True)
    management = written(Cut(peers=("san",), planes=("management",)), "cna-01")
    assert sides("cna-01", "san", management) == (True, True)


def test_messages_of_one_way_share_its_bandwidth_whatever_becomes_of_it() -> None:
    async def scenario() -> list[float]:
        clock = SimulatedClock(virtual_loop())
        way = Way(seeds.generator(1, "links"), clock)
        way.suffer(cut=False, effects=(), bandwidth_bps=8000.0)
        assert not way.calm

        async def arrival_s(size_bytes: int) -> float:
            await way.pass_over(size_bytes)
            return clock.now()

        arrivals = asyncio.gather(*map(arrival_s, (1000, 1000, 4000, 10_000)))
        await clock.sleep(8.0)
        way.suffer(cut=False, effects=(), bandwidth_bps=math.inf)
        assert way.calm
        return await arrivals

    # Two are through while four share it, the others as soon as there is bandwidth again.
    assert in_virtual_time(scenario()) == pytest.approx([4.0, 4.0, 8.0, 8.0])


def test_a_link_flaps_by_itself_and_is_whole_behind_the_fault() -> None:
    async def scenario() -> None:
        links = Links("client", lambda name: {name}, 1.0, seeds.generator(1, "links"))
        way = links.link("peer", Plane.STORAGE).out
        flap = Flap(peers=PEERS, planes=("storage",), down_s=0.02, up_s=0.02)
        links.suffer([replace(written(flap), began=time.time())])
        async with asyncio.timeout(30):
            for _ in range(2):
                while way.calm:  # noqa: ASYNC110 - what turns tells nobody
                    await asyncio.sleep(0.001)
                await way.until_open()
        links.suffer([])
        assert way.calm

    asyncio.run(scenario())


def test_hosts_of_one_process_share_its_links() -> None:
    processes = {name: {"chassis-0", "cna-01", "cna-02"} for name in ("cna-01", "chassis-0")}

    def sharing(name: str) -> set[str]:
        if name == "gone":
            raise NotFound(name)
        return processes.get(name, {name})

    links = Links("chassis-0", sharing, 1.0, seeds.generator(1, "links"))
    assert links.suffer([written(Cut(peers=("vrm", "gone")), "cna-01")])
    assert not links.link("vrm", Plane.MANAGEMENT).calm
    vrm = Links("vrm", sharing, 1.0, seeds.generator(1, "links"))
    vrm.suffer([written(Cut(peers=("vrm",)), "cna-01")])
    assert not vrm.link("cna-02", Plane.MANAGEMENT).calm


def test_what_is_written_down_is_felt_until_it_is_over(tmp_path: Path) -> None:
    book = FaultBook(tmp_path)
    links = Links("client", lambda name: {name}, 1.0, seeds.generator(1, "links"))
    link = links.link("peer", Plane.STORAGE)
    watch = FaultWatch(book, "client")
    watch.follow(links.suffer)

    def calm() -> bool:
        watch.look()
        return link.calm

    assert calm()
    fault = written(Cut(peers=PEERS)).fault
    lasting = book.write(fault, myself("test"), (), 0.0)
    assert not calm()
    assert book.felt_by(lasting.name) == {"client"}
    book.strike_out(lasting.name)
    assert calm()
    assert book.felt_by(lasting.name) == frozenset()
    orphan = book.write(fault, Process(myself("test").pid, "another", "gone"), (), 0.0)
    assert orphan.name != lasting.name
    assert calm()  # its owner is gone
    book.write(fault, None, (), 1e-9)
    assert calm()  # its time is over
